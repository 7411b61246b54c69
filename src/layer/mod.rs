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

mod future;
#[allow(clippy::module_inception)]
mod layer;
mod mount;
mod service;

pub use future::RevalidateFuture;
pub use layer::RevalidateLayer;
pub use mount::{Mount, MountFuture, MountLayer};
pub use service::Revalidated;
