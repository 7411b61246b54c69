//! [`RevalidateLayer`]: takes what handlers said from their responses and publishes it.
//!
//! The layer looks at the head of a response only; the body and the error pass as they are, and no response
//! waits for a publish. It publishes on 2xx and 3xx, after the handler is done, and stamps successful GETs with
//! `X-Revalidate-Cursor`, read *before* the handler ran, so that a page can open its stream where its data was
//! read.
//!
//! It must stand outside of whatever commits: a transaction-per-request middleware outside of it would have the
//! news published before the commit.
//!
//! ```
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_revalidate::{Grant, Hub, RevalidateExt, revalidate};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new();
//! let app = ServiceBuilder::new()
//!     .layer(hub.layer())
//!     .service(service_fn(|_: Request<()>| async {
//!         Ok::<_, Infallible>(Response::new(()).revalidate("posts.list"))
//!     }));
//!
//! let mut sub = hub.subscribe(Grant::anonymous())?;
//! app.oneshot(Request::post("/posts").body(())?).await?;
//! assert_eq!(sub.recv().await?, revalidate("posts.list"));
//! # Ok(()) }
//! ```
//!
//! # The header `X-Revalidate`
//!
//! Where the upstream cannot set extensions (a proxied service, CGI, a handler in another language), it may say
//! the same in a response header, with the feature `header` and
//! [`Builder::response_header`](crate::Builder::response_header). It is a List of Structured Fields (RFC 9651,
//! 3.1): each member a key, dotted or as a list of segments; `to` its audience, `delay` in milliseconds.
//!
//! ```text
//! X-Revalidate: posts.list, ("posts" "detail" 42), users.me;to="user:7,role:admin", stats;delay=200
//! ```
//!
//! `()` is the key of everything. Several lines of it are one list, and an empty one is
//! [`Revalidate::nothing`](crate::Revalidate::nothing). The layer takes it out of every response, and publishes
//! it on 2xx and 3xx. All of it or nothing: a line that is malformed, or has a parameter that is not known, is
//! logged there, told to the audit, and is for nobody. (A key that is declared scoped is refused alone.) An upstream that is trusted with this can have
//! every client refetch, as a handler can.

mod future;
#[allow(clippy::module_inception)]
mod layer;
mod mount;
mod service;

pub use future::RevalidateFuture;
pub use layer::RevalidateLayer;
pub use mount::{Mount, MountFuture, MountLayer};
pub use service::Revalidated;
