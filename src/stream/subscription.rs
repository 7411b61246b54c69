//! [`Subscription`]: a session in process.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use crate::event::{Gap, Message, Stale};
use crate::hub::{ByeReason, HubSession, Read};
use crate::proto::{Batch, Posted};
use crate::{Channel, Event, Grant, IntoName, SubscribeError};

/// A session in process: for workers, caches, and tests. It hears what a stream with the same grant would.
///
/// It holds no queue in the hub: one that is not read lags, and when it lags beyond retention it hears an
/// [`Event::Gap`]. Dropping it closes the session.
#[derive(Debug)]
pub struct Subscription {
    session: HubSession,
    grant: Grant,
    read: VecDeque<Event>,
    ended: Option<ByeReason>,
}

/// The subscription is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subscription ended: {}", .reason.as_str())]
#[non_exhaustive]
pub struct RecvError {
    /// Why.
    pub reason: ByeReason,
}

impl Subscription {
    pub(crate) fn new(session: HubSession, grant: Grant) -> Self {
        Subscription { session, grant, read: VecDeque::new(), ended: None }
    }

    /// Follows a channel from now on; of a `latest` channel it hears the current value, too. The grant must allow it, as for a stream:
    /// `hub.subscribe(Grant::user("alice").follow("room:*"))?.follow(("room", 42))?`.
    ///
    /// # Errors
    /// [`SubscribeError::Denied`] when the grant does not allow it, [`SubscribeError::Channel`] when the name
    /// is refused.
    pub fn follow(self, channel: impl IntoName<Channel>) -> Result<Self, SubscribeError> {
        let channel = channel.into_name()?;
        match self.session.follow(channel.clone(), &self.grant) {
            Ok(true) => Ok(self),
            Ok(false) => Err(SubscribeError::Denied(channel)),
            Err(closed) => Err(closed.into()),
        }
    }

    /// Is present in a channel, and hears who else is: a message `presence`, then `presence_update`s, as a stream
    /// does. The grant must allow to follow the channel.
    ///
    /// # Errors
    /// As of [`follow`](Self::follow).
    pub fn join(self, channel: impl IntoName<Channel>) -> Result<Self, SubscribeError> {
        let channel = channel.into_name()?;
        match self.session.join(&channel, &self.grant) {
            Ok(true) => Ok(self),
            Ok(false) => Err(SubscribeError::Denied(channel)),
            Err(closed) => Err(closed.into()),
        }
    }

    /// The next event. Cancel-safe: an event is lost only by dropping the subscription.
    ///
    /// # Errors
    /// [`RecvError`] when the subscription is over: the hub was shut down, or the grant changed or expired.
    pub async fn recv(&mut self) -> Result<Event, RecvError> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next event if there is one now. What was published before this call is heard, so that a test can
    /// say that nothing was: `assert_eq!(sub.try_recv()?, None)`.
    ///
    /// # Errors
    /// [`RecvError`] when the subscription is over.
    pub fn try_recv(&mut self) -> Result<Option<Event>, RecvError> {
        self.session.look();
        match self.poll_event(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => event.map(Some),
            Poll::Pending => Ok(None),
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, RecvError>> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Poll::Ready(Ok(event));
            }
            if let Some(reason) = self.ended {
                return Poll::Ready(Err(RecvError { reason }));
            }
            let Subscription { session, read, .. } = self;
            let taken = session.poll_read(cx, |batch: &mut Batch| {
                session.shared().metrics.handed(batch);
                read.extend(events(batch));
            });
            if let Read::Ended(reason, _) = std::task::ready!(taken) {
                self.ended = Some(reason);
            }
        }
    }
}

/// What a batch says, in the order in which a stream would write it.
fn events(batch: &mut Batch) -> impl Iterator<Item = Event> {
    let stale = (!batch.keys.is_empty())
        .then(|| Event::Revalidate(Stale { keys: std::mem::take(&mut batch.keys), origin: batch.origin }));
    let gap = batch.gap.take().map(|gap| Event::Gap(Gap { reason: gap.reason, channels: gap.channels }));
    let message = |posted: &Arc<Posted>| {
        Event::Message(Message {
            channel: posted.channel.clone(),
            event: posted.event.to_string(),
            data: posted.data.clone(),
        })
    };
    let (current, messages) = (batch.current.iter().map(message), batch.messages.iter().map(message));
    stale.into_iter().chain(current).chain(gap).chain(messages)
}

impl Stream for Subscription {
    type Item = Event;

    /// Ends when the subscription is over; [`recv`](Subscription::recv) tells why.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll_event(cx).map(Result::ok)
    }
}
