//! How a session leaves the hub: as the body of a response, or in process.
//!
//! [`SseBody`] is the encoder of what a session reads; [`Subscription`] hands out the same as [`Event`]s.
//!
//! ```
//! use tower_revalidate::{Grant, Hub, revalidate};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new();
//! let mut sub = hub.subscribe(Grant::user("alice").follow("room:*"))?.follow(("room", 42))?;
//! hub.revalidate("posts.list");
//! assert_eq!(sub.recv().await?, revalidate("posts.list"));
//! # Ok(()) }
//! ```
//!
//! [`Event`]: crate::Event

mod body;
mod own;
mod response;
mod start;
mod subscription;

pub use body::SseBody;
pub(crate) use own::Why;
pub use own::{OwnStream, SendError, StreamError, StreamHandle};
pub(crate) use response::{goodbye, stream, with_headers};
pub(crate) use start::{last, start};
pub use subscription::{RecvError, Subscription};
