//! [`Receipt`]: what became of a publish.

use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::sync::{oneshot, watch};

use super::WeakHub;
use crate::{Cursor, PublishError};

/// How many events this node's dispatch may be behind when a receipt resolves. Well under the default history
/// of a channel (256), so that a publisher in a loop leaves the sessions time to read.
const BEHIND: u64 = 64;

/// What became of a publish: awaited, it gives the cursor of the event once it is appended and this node's
/// dispatch is at most 64 events behind, or an error; of several audiences, that of the last. It need not be
/// awaited: dropping it changes nothing.
///
/// Awaiting it is the backpressure of a publisher in a loop. It waits for dispatch, not for clients: a session
/// that is not scheduled for as long as it takes to fill a channel's history hears a gap.
///
/// Plain threads call [`wait`](Self::wait).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = tower_revalidate::Hub::new();
/// let cursor = hub.revalidate("posts.list").wait()?;
/// assert_eq!(cursor, hub.cursor());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Receipt(State);

#[derive(Debug)]
enum State {
    Known(Result<Cursor, PublishError>),
    Waiting {
        told: Vec<oneshot::Receiver<Result<Cursor, PublishError>>>,
        /// The tip, where there was nothing to append.
        tip: Cursor,
        dispatched: watch::Receiver<Cursor>,
        hub: WeakHub,
    },
}

impl Receipt {
    pub(crate) fn failed(error: impl Into<PublishError>) -> Self {
        Receipt(State::Known(Err(error.into())))
    }

    pub(crate) fn waiting(
        told: Vec<oneshot::Receiver<Result<Cursor, PublishError>>>,
        tip: Cursor,
        dispatched: watch::Receiver<Cursor>,
        hub: WeakHub,
    ) -> Self {
        Receipt(State::Waiting { told, tip, dispatched, hub })
    }

    /// What is known to be wrong already.
    pub(crate) fn error(&self) -> Option<&PublishError> {
        match &self.0 {
            State::Known(result) => result.as_ref().err(),
            State::Waiting { .. } => None,
        }
    }

    /// What it waits for, to wait for it together with others.
    pub(super) fn into_told(self) -> Vec<oneshot::Receiver<Result<Cursor, PublishError>>> {
        match self.0 {
            State::Known(result) => {
                let (tell, hears) = oneshot::channel();
                let _ = tell.send(result);
                vec![hears]
            }
            State::Waiting { told, .. } => told,
        }
    }

    /// Blocks this thread until it is known. For threads that run no async code: on a runtime's own thread it
    /// would wait for a dispatch that it keeps from running; await the receipt there.
    ///
    /// # Errors
    /// [`PublishError`] when the event does not stand.
    pub fn wait(self) -> Result<Cursor, PublishError> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let hub = match &self.0 {
            State::Known(_) => None,
            State::Waiting { hub, .. } => Some(hub.clone()),
        };
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut known = pin!(self.known());
        loop {
            if let Poll::Ready(result) = known.as_mut().poll(&mut Context::from_waker(&waker)) {
                return result;
            }
            // Without a runtime there is no task that hands on what was held back; this thread does then.
            match hub.as_ref().and_then(WeakHub::upgrade).and_then(|hub| hub.until_due()) {
                Some(time) => std::thread::park_timeout(time),
                None => std::thread::park(),
            }
            if let Some(hub) = hub.as_ref().and_then(WeakHub::upgrade) {
                hub.flush(hub.clock.now());
            }
        }
    }

    async fn known(self) -> Result<Cursor, PublishError> {
        let (told, mut at, mut dispatched) = match self.0 {
            State::Known(result) => return result,
            State::Waiting { told, tip, dispatched, .. } => (told, tip, dispatched),
        };
        for (index, told) in told.into_iter().enumerate() {
            // A sender that went away without a word belonged to a hub that did.
            let cursor = told.await.unwrap_or(Err(PublishError::Log(crate::log::AppendError::Unknown)))?;
            let is_later = index == 0 || cursor.epoch != at.epoch || cursor.offset > at.offset;
            at = if is_later { cursor } else { at };
        }
        let near = |done: &Cursor| done.epoch != at.epoch || done.offset.saturating_add(BEHIND) >= at.offset;
        // An error means that the hub is gone, and with it everybody who could lag.
        let _ = dispatched.wait_for(near).await;
        Ok(at)
    }
}

impl IntoFuture for Receipt {
    type Output = Result<Cursor, PublishError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.known())
    }
}
