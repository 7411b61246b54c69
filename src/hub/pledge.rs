//! [`Pledge`]: a promise to publish that survives a handler dropped in its middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::WeakHub;
use crate::Revalidate;

/// Publishes when it is dropped, unless a response carried it away or it was cancelled.
///
/// A client that goes away makes the server drop the handler's future. Dropped after its commit, the handler
/// has changed data and returns no response: the layer sees nothing, and nobody hears. A pledge taken *before*
/// the commit publishes then. A refetch for a commit that did not happen is harmless; cancel the pledge where
/// you know.
///
/// ```
/// use tower_revalidate::{Hub, Revalidate, RevalidateExt};
///
/// # async fn commit() {}
/// async fn create(hub: Hub) -> http::Response<&'static str> {
///     let stale = hub.pledge(Revalidate::key("posts.list"));
///     commit().await; // dropped here or later, it is published
///     http::Response::new("created").revalidate(stale)
/// }
/// ```
#[derive(Debug)]
#[must_use = "a pledge publishes when it is dropped; hold it over the commit"]
pub struct Pledge(Arc<PledgeGuard>);

/// What the pledge and the response that carries it share. The last one that drops it publishes.
#[derive(Debug)]
pub(crate) struct PledgeGuard {
    hub: WeakHub,
    revalidate: Revalidate,
    settled: AtomicBool,
}

impl Pledge {
    pub(crate) fn new(hub: WeakHub, revalidate: Revalidate) -> Self {
        Pledge(Arc::new(PledgeGuard { hub, revalidate, settled: AtomicBool::new(false) }))
    }

    /// Publishes nothing: the commit is known not to have happened.
    pub fn cancel(self) {
        self.0.settle();
        self.0.revalidate.pledges.iter().for_each(|pledge| pledge.settle());
    }
}

impl PledgeGuard {
    /// It arrived: whoever settles it decides what is published.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Ordering::Release);
    }
}

impl Drop for PledgeGuard {
    fn drop(&mut self) {
        if self.settled.load(Ordering::Acquire) {
            return;
        }
        if let Some(hub) = self.hub.upgrade() {
            hub.publish_lenient(std::mem::take(&mut self.revalidate), None);
        }
    }
}

/// Into a response: the layer publishes it with the response; a response that never gets there publishes when
/// it is dropped.
impl From<Pledge> for Revalidate {
    fn from(pledge: Pledge) -> Self {
        let mut revalidate = pledge.0.revalidate.clone();
        revalidate.pledges.push(pledge.0);
        revalidate
    }
}
