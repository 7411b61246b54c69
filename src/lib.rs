//! Live queries for tower apps: your handler says what it changed, every open browser that may know refetches.
//!
//! One [`RevalidateLayer`] watches responses: it takes the [`Revalidate`] that a handler set and publishes it on
//! the [`Hub`]. One [`RealtimeService`] serves Server-Sent Events. Both speak `http`, `http-body` and `bytes`
//! only, so that they plug into axum, hyper and every other tower stack.
//!
//! ```no_run
//! use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::get};
//! use tower_revalidate::{Hub, Revalidate};
//!
//! async fn create() -> impl IntoResponse {
//!     (StatusCode::CREATED, Revalidate::key("posts.list"), Json("created")) // feature "axum"
//! }
//!
//! # async fn serve() -> std::io::Result<()> {
//! let hub = Hub::new();
//! let app = Router::new()
//!     .route("/posts", get(async || Json(["…"])).post(create))
//!     .nest_service("/realtime", hub.service())
//!     .layer(hub.layer()); // last: it sees every route
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app)
//!     .with_graceful_shutdown(async move {
//!         tokio::signal::ctrl_c().await.ok();
//!         hub.shutdown();
//!     })
//!     .await
//! # }
//! ```
//!
//! # The words
//!
//! | word | meaning |
//! |---|---|
//! | [`Hub`] | the heart; cheap to clone, publishes from any handler, task or plain thread |
//! | [`Revalidate`] | what a handler says: keys that became stale, and for whom |
//! | [`Change`] | what a handler says of one record that was created, updated or deleted: see [`change`] |
//! | [`QueryKey`] | segments; a prefix of whole segments matches |
//! | [`Scope`] | what a connection *is*: `user:123`. Granted by the server |
//! | [`Channel`] | what a connection *follows*: `room:42`. Asked for by the client, allowed by the server; kept as its [`Policy`] says |
//! | [`Grant`] | identity, scopes, channels that may be followed. From the request's extensions, where your auth middleware put it |
//! | [`Subscription`] | a session in process: for workers, and for your tests |
//! | [`Pledge`] | publishes when a handler is dropped in its middle |
//! | [`ClientEvent`] | what a client emits, and a handler of [`Hub::on`] answers |
//! | [`Receipt`] | what became of a publish |
//! | [`Cursor`] | a place in the one order of events |
//! | [`EventLog`] | that order: in memory, or over a broker |
//!
//! # Where to look
//!
//! - [`guarantees`]: what is promised, what is not, and what a hub holds.
//! - [`browser`]: the client for TanStack Query, SWR, React, htmx and plain pages.
//! - [`neighbours`]: the middleware and the proxies that people use, in which order, and what each does to a stream.
//! - [`layer`], [`service`], [`stream`], [`log`]: the story of each part, with an example that runs.
//! - [`Builder`]: every option with its default.
//!
//! # What a client hears
//!
//! `GET {mount}/events?channels=room:42,announcements` answers `text/event-stream` with the events `hello`,
//! `revalidate`, `message`, `gap` and `bye`. The [`service`] module has the wire, field by field.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `axum`: [`Revalidate`] and [`Change`] as parts of an axum response.
//! - `header`: [`Revalidate`] from the response header `X-Revalidate`, see [`layer`].
//! - `limits`: how often streams may be opened, and events and broadcasts posted, see `Limit`.
//! - `metrics`: what the hub does, counted through the facade of that name, see the module `metrics`.
//! - `test-util`: seeds for everything that is drawn, so that a simulation replays exactly.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod audit;
pub mod change;
mod channel;
mod cursor;
mod emit;
mod error;
mod event;
#[cfg(feature = "header")]
mod header;
mod hub;
mod key;
pub mod layer;
pub mod log;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
mod metrics;
mod name;
pub mod presence;
mod proto;
mod revalidate;
mod scope;
pub mod service;
mod sse;
pub mod stream;
mod sync;
pub mod typing;

#[doc = include_str!("../docs/guarantees.md")]
pub mod guarantees {}
#[doc = include_str!("../docs/browser.md")]
pub mod browser {}

#[doc = include_str!("../docs/neighbours.md")]
pub mod neighbours {}

#[cfg(feature = "limits")]
#[cfg_attr(docsrs, doc(cfg(feature = "limits")))]
pub use access::Limit;
pub use access::{BoxError, ClientAddress, Grant, Pattern, Refusal};
pub use audit::Audit;
#[doc(inline)]
pub use change::{Change, ChangeError, ChangeExt, DataChangeEvent, Operation};
pub use channel::{Channel, Policy};
pub use cursor::{Cursor, CursorError, Epoch};
pub use emit::ClientEvent;
pub use error::{BuildError, PublishError, SubscribeError};
pub use event::{Event, Gap, GapReason, Message, Origin, Stale, message, revalidate};
pub use hub::{
    Builder, ByeReason, ChannelPublisher, Disconnect, Hub, Observation, Pledge, Receipt, SessionInfo, Stats,
};
pub use key::{IntoQueryKey, KeyError, QueryKey};
#[doc(inline)]
pub use layer::{MountLayer, RevalidateLayer};
#[doc(inline)]
pub use log::{AppendError, EventLog};
pub use name::{IntoName, Name, NameError};
#[doc(inline)]
pub use presence::{Presence, PresencePage, PresentUser};
pub use revalidate::{Fault, Revalidate, RevalidateExt};
pub use scope::Scope;
#[doc(inline)]
pub use service::RealtimeService;
pub use sse::Denied;
#[doc(inline)]
pub use stream::{OwnStream, RecvError, SendError, SseBody, StreamError, StreamHandle, Subscription};

/// The README's examples compile and run; one of them needs the feature.
#[cfg(all(doctest, feature = "limits"))]
#[doc = include_str!("../README.md")]
struct Readme;
