#![cfg_attr(docsrs, feature(doc_cfg))]
//! Live queries for tower apps.

mod access;
mod channel;
mod cursor;
mod error;
mod event;
pub mod hub;
mod key;
pub mod layer;
pub mod log;
mod name;
mod proto;
mod revalidate;
mod scope;
pub mod service;
mod sse;
pub mod stream;
mod sync;

pub use access::{BoxError, Grant, Pattern, Refusal};
pub use channel::{Channel, Policy};
pub use cursor::{Cursor, CursorError, Epoch};
pub use error::{BuildError, PublishError, SubscribeError};
pub use event::{Event, Gap, GapReason, Message, Origin, Stale, message, revalidate};
pub use hub::{Builder, ByeReason, ChannelPublisher, Hub, Observation, Pledge, Receipt, SessionInfo, Stats};
pub use key::{IntoQueryKey, KeyError, QueryKey};
pub use layer::{MountLayer, RevalidateLayer};
pub use log::{Ack, AppendError, EventLog, Follower, MemoryLog, Record};
pub use name::{IntoName, Name, NameError};
pub use revalidate::{Fault, Revalidate, RevalidateExt};
pub use scope::Scope;
pub use service::RealtimeService;
pub use stream::{RecvError, SseBody, Subscription};
