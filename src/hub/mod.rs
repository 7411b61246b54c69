//! [`Hub`]: locks, wakers and one task around the protocol.
//!
//! ```text
//! publish → Outbox → EventLog → Board (retention, sessions) → sweep → wake → read
//! ```
//!
//! A publish passes the [`Outbox`], where it may wait on purpose, and the log, which numbers it and hands it
//! back; the [`Board`] puts it in retention and queues its topics. The task in [`dispatch`] marks and wakes
//! their sessions, off the publisher's path; each session reads when it is polled. Nothing is done under a lock
//! that could run foreign code: wakers, hooks and the log are called outside.

mod board;
mod builder;
mod dispatch;
#[cfg(all(test, loom_model))]
mod loom_model;
mod observation;
mod outbox;
mod pledge;
mod receipt;
mod session;
mod signal;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

pub(crate) use board::{Board, Closed, Marked, Read};
pub use board::{SessionInfo, Stats};
pub use builder::Builder;
pub(crate) use builder::{Options, SessionHook};
pub use observation::Observation;
pub(crate) use observation::Seen;
pub(crate) use outbox::{Outbox, Outgoing};
pub use pledge::Pledge;
pub(crate) use pledge::PledgeGuard;
pub use receipt::Receipt;
pub(crate) use session::{Ask, HubSession};
pub use signal::ByeReason;
pub(crate) use signal::Signal;

use crate::event::EventName;
use crate::key::collapse;
use crate::log::{Ack, AppendError, EventLog, Record, RecordKind};
use crate::proto::{Millis, Policies, Start};
use crate::revalidate::{Audience, Entry};
use crate::{
    Channel, Cursor, Fault, Grant, IntoName, NameError, Origin, PublishError, Revalidate, RevalidateLayer,
    SubscribeError, Subscription,
};

/// The heart: what is published here reaches every session that may know. Cheap to clone; works from any
/// handler, task or plain thread. See the [crate docs](crate).
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
}

/// The hub as a log or a pledge holds it: not keeping it alive.
#[derive(Clone)]
pub(crate) struct WeakHub(pub(crate) Weak<Shared>);

impl WeakHub {
    pub(crate) fn upgrade(&self) -> Option<Arc<Shared>> {
        self.0.upgrade()
    }
}

impl std::fmt::Debug for WeakHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hub")
    }
}

pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn now(&self) -> Millis {
        builder::millis(Instant::now().saturating_duration_since(self.0))
    }
}

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) policies: Policies,
    pub(crate) board: Board,
    pub(crate) clock: Clock,
    outbox: parking_lot::Mutex<Outbox>,
    log: Box<dyn EventLog>,
    task: dispatch::Task,
    dispatched: watch::Sender<Cursor>,
}

/// Sessions to wake, hooks to call and dispatch to start, once no lock is held: when it drops.
pub(crate) struct Wakes {
    shared: Arc<Shared>,
    marked: Marked,
}

impl Drop for Wakes {
    fn drop(&mut self) {
        let marked = std::mem::take(&mut self.marked);
        if let Some(done) = marked.dispatched {
            self.shared.tell_dispatched(done);
        }
        self.shared.settle(&marked);
        if marked.queued {
            self.shared.kick();
        }
    }
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        policies: Policies,
        board: Board,
        outbox: Outbox,
        log: Box<dyn EventLog>,
        tip: Cursor,
    ) -> Self {
        Shared {
            options,
            policies,
            board,
            clock: Clock(Instant::now()),
            outbox: parking_lot::Mutex::new(outbox),
            log,
            task: dispatch::Task::default(),
            dispatched: watch::Sender::new(tip),
        }
    }

    pub(crate) fn deliver(self: Arc<Self>, at: Cursor, record: &Record) -> Wakes {
        let marked = self.board.append(at, record, self.clock.now());
        Wakes { shared: self, marked }
    }

    pub(crate) fn trimmed(self: Arc<Self>, up_to: u64) -> Wakes {
        let marked = self.board.trim(up_to);
        Wakes { shared: self, marked }
    }

    pub(crate) fn reset(self: Arc<Self>, tip: Cursor) -> Wakes {
        let marked = self.board.reset(tip);
        Wakes { shared: self, marked }
    }

    /// Wakes the receipts that waited for this. Told by several threads, so that an older place may come later.
    fn tell_dispatched(&self, done: Cursor) {
        self.dispatched.send_if_modified(|known| {
            let is_news = done.epoch != known.epoch || done.offset > known.offset;
            if is_news {
                *known = done;
            }
            is_news
        });
    }

    /// Wakes sessions and tells the hook of those that ended.
    pub(crate) fn settle(&self, marked: &Marked) {
        marked.signals.iter().for_each(|signal| signal.wake());
        marked.ended.iter().for_each(|info| self.closed(info));
    }

    pub(crate) fn opened(&self, info: &SessionInfo) {
        tracing::debug!(session = info.id, identity = info.identity.as_deref(), "session opened");
        self.hook(self.options.on_connect.as_ref(), info);
        if info.hooks.connected() {
            self.hook(self.options.on_disconnect.as_ref(), info);
        }
    }

    pub(crate) fn closed(&self, info: &SessionInfo) {
        tracing::debug!(session = info.id, identity = info.identity.as_deref(), "session closed");
        if info.hooks.closed() {
            self.hook(self.options.on_disconnect.as_ref(), info);
        }
    }

    /// Runs a hook. Its panic is its own.
    fn hook(&self, hook: Option<&SessionHook>, info: &SessionInfo) {
        let Some(hook) = hook else { return };
        if catch_unwind(AssertUnwindSafe(|| hook(info))).is_err() {
            tracing::error!(session = info.id, "a hook panicked");
        }
    }

    /// Publishes what a handler said. It has nobody to tell, so that faults are logged and bounds collapse.
    pub(crate) fn publish_lenient(self: &Arc<Self>, mut revalidate: Revalidate, origin: Option<Origin>) {
        for fault in revalidate.faults.drain(..) {
            self.fault(&fault);
        }
        let limit = self.options.publish_keys;
        for Entry { mut keys, audience, delay } in revalidate.entries {
            let audiences = match audience {
                Audience::Everyone => vec![Audience::Everyone],
                Audience::Scopes(scopes) => {
                    scopes.chunks(limit).map(|scopes| Audience::Scopes(scopes.to_vec())).collect()
                }
            };
            for audience in audiences {
                collapse(&mut keys, limit / audience.topics().max(1));
                self.send(Outgoing::new(audience, keys.clone(), origin), delay);
            }
        }
    }

    fn fault(&self, fault: &Fault) {
        tracing::error!(%fault, "a part of a `Revalidate` was refused");
        let Some(hook) = &self.options.on_fault else { return };
        if catch_unwind(AssertUnwindSafe(|| hook(fault))).is_err() {
            tracing::error!("the fault hook panicked");
        }
    }

    /// Publishes, or says why not.
    fn publish_strict(self: &Arc<Self>, mut revalidate: Revalidate) -> Receipt {
        revalidate.pledges.drain(..).for_each(|pledge| pledge.settle());
        if let Some(fault) = revalidate.faults.into_iter().next() {
            return Receipt::failed(fault);
        }
        let limit = self.options.publish_keys;
        for entry in &mut revalidate.entries {
            collapse(&mut entry.keys, usize::MAX); // without doubles
            let (keys, scopes) = (entry.keys.len(), entry.audience.topics().max(1));
            if keys.saturating_mul(scopes) > limit {
                return Receipt::failed(PublishError::TooMany { keys, scopes, limit });
            }
        }
        let mut told = Vec::new();
        for Entry { keys, audience, delay } in revalidate.entries {
            let mut outgoing = Outgoing::new(audience, keys, None);
            let (tell, hears) = oneshot::channel();
            outgoing.told.push(tell);
            told.push(hears);
            self.send(outgoing, delay);
        }
        self.receipt(told)
    }

    fn receipt(self: &Arc<Self>, told: Vec<oneshot::Receiver<Result<Cursor, PublishError>>>) -> Receipt {
        let hub = WeakHub(Arc::downgrade(self));
        Receipt::waiting(told, self.board.cursor(), self.dispatched.subscribe(), hub)
    }

    /// How long until something that waits is due.
    fn until_due(&self) -> Option<Duration> {
        let due = self.outbox.lock().next_due()?;
        Some(Duration::from_millis(due.saturating_sub(self.clock.now()).max(1)))
    }

    fn publish_message(
        self: &Arc<Self>,
        channel: Result<Channel, NameError>,
        event: &str,
        data: &impl Serialize,
    ) -> Result<Receipt, PublishError> {
        let channel = channel?;
        let event = EventName::parse(event)?;
        let json = serde_json::to_string(data).map_err(|error| PublishError::Serialize(error.to_string()))?;
        let (bytes, limit) = (json.len(), self.options.payload_bytes);
        if bytes > limit {
            return Err(PublishError::TooLarge { bytes, limit });
        }
        if self.options.filter.as_ref().is_some_and(|filter| !filter(&channel, &event.0, &json)) {
            return Err(PublishError::Filtered(channel));
        }
        let data = RawValue::from_string(json).map_err(|error| PublishError::Serialize(error.to_string()))?;
        let (tell, hears) = oneshot::channel();
        if self.options.enabled {
            let record = Record(RecordKind::Message { channel, event: event.0, data });
            let ack = Ack::new(move |result| {
                let _ = tell.send(result.map_err(PublishError::Log));
            });
            self.append(record, ack);
        } else {
            let _ = tell.send(Ok(self.board.cursor()));
        }
        Ok(self.receipt(vec![hears]))
    }

    /// Ends the sessions of a user, on every node.
    fn regrant(self: &Arc<Self>, identity: String) -> Receipt {
        let (tell, hears) = oneshot::channel();
        let ack = Ack::new(move |result| {
            let _ = tell.send(result.map_err(PublishError::Log));
        });
        self.append(Record(RecordKind::Regrant { identity }), ack);
        self.receipt(vec![hears])
    }

    /// Into the outbox, and through it unless it has to wait.
    fn send(self: &Arc<Self>, outgoing: Outgoing, delay: Duration) {
        if outgoing.audience.topics() == 0 || !self.options.enabled {
            return outgoing.tell(&Ok(self.board.cursor()));
        }
        let now = self.clock.now();
        self.flush(now);
        let offered = {
            let mut outbox = self.outbox.lock();
            if delay.is_zero() {
                outbox.offer(outgoing, now)
            } else {
                outbox.delay(outgoing, now.saturating_add(builder::millis(delay))).map(|()| None)
            }
        };
        match offered {
            Ok(Some(outgoing)) => self.hand_on(outgoing),
            Ok(None) => self.kick(),
            Err(outgoing) => {
                tracing::error!("too many revalidations wait; one was refused");
                outgoing.tell(&Err(PublishError::Full));
            }
        }
    }

    /// Hands on what is due. Also called where something is published or opened, so that nothing waits for a
    /// task that does not run.
    pub(crate) fn flush(self: &Arc<Self>, now: Millis) {
        let due = {
            let mut outbox = self.outbox.lock();
            if outbox.is_empty() {
                return;
            }
            outbox.take_due(now)
        };
        due.into_iter().for_each(|outgoing| self.hand_on(outgoing));
    }

    fn hand_on(self: &Arc<Self>, outgoing: Outgoing) {
        let record = Record(RecordKind::Revalidate {
            audience: outgoing.audience.clone(),
            keys: outgoing.keys.clone(),
            origin: outgoing.origin,
        });
        let hub = WeakHub(Arc::downgrade(self));
        let ack = Ack::new(move |result| match result {
            Ok(at) => outgoing.tell(&Ok(at)),
            Err(error @ AppendError::Refused(_)) => {
                tracing::error!(%error, "the log refused a revalidation");
                outgoing.tell(&Err(error.into()));
            }
            // Idempotent, so it is tried again also when it may stand already.
            Err(error) => match hub.upgrade() {
                Some(hub) => hub.take_back(outgoing, error),
                None => outgoing.tell(&Err(error.into())),
            },
        });
        self.append(record, ack);
    }

    /// Hands a record to the log. A log that panics drops the `Ack`, which says that nobody knows.
    fn append(&self, record: Record, ack: Ack) {
        if catch_unwind(AssertUnwindSafe(|| self.log.append(record, ack))).is_err() {
            tracing::error!("the event log panicked");
        }
    }

    fn take_back(self: &Arc<Self>, outgoing: Outgoing, error: AppendError) {
        tracing::warn!(%error, "a revalidation waits for the log");
        let refused = self.outbox.lock().retry(outgoing, self.clock.now());
        match refused {
            Ok(()) => self.kick(),
            Err(outgoing) => {
                tracing::error!(%error, audience = ?outgoing.audience, "too many revalidations wait for the log; one is lost");
                outgoing.tell(&Err(error.into()));
            }
        }
    }
}

impl Hub {
    /// A hub with the default options, in memory.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn new() -> Self {
        Self::builder().build().expect("the default options are valid")
    }

    /// A hub with other options.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The layer that takes [`Revalidate`] from responses and publishes it. It stands outside of whatever
    /// commits, and outside of every route: in axum it is added last.
    pub fn layer(&self) -> RevalidateLayer {
        RevalidateLayer::new(self.clone())
    }

    /// The service that streams events, to nest under a path.
    pub fn service(&self) -> crate::RealtimeService {
        crate::RealtimeService::new(self.clone())
    }

    /// A layer that answers under a path and passes on the rest, for stacks without a router: inside of the
    /// app's authentication, which is inside of [`layer`](Self::layer).
    pub fn mount_layer(&self, path: &str) -> crate::MountLayer {
        crate::MountLayer::new(self, path)
    }

    /// Publishes what became stale, from anywhere. Refused parts and bounds are errors of the receipt, and
    /// then nothing is published.
    pub fn revalidate(&self, revalidate: impl Into<Revalidate>) -> Receipt {
        self.shared.publish_strict(revalidate.into())
    }

    /// A channel to publish to.
    ///
    /// ```
    /// # let hub = tower_revalidate::Hub::new();
    /// hub.channel(("room", 42)).publish("new_message", &serde_json::json!({"text": "hello"}));
    /// ```
    pub fn channel(&self, channel: impl IntoName<Channel>) -> ChannelPublisher<'_> {
        ChannelPublisher { hub: self, channel: channel.into_name() }
    }

    /// A promise to publish that survives a handler dropped in its middle. See [`Pledge`].
    pub fn pledge(&self, revalidate: impl Into<Revalidate>) -> Pledge {
        Pledge::new(WeakHub(Arc::downgrade(&self.shared)), revalidate.into())
    }

    /// Subscribes in process: for workers, caches and tests. It hears what comes from now on, and the current
    /// values of `latest` channels that it follows.
    ///
    /// # Errors
    /// [`SubscribeError`] when the hub is shut down or full.
    pub fn subscribe(&self, grant: Grant) -> Result<Subscription, SubscribeError> {
        let ask = Ask {
            grant: grant.clone(),
            channels: Vec::new(),
            start: Start::Fresh,
            granted_at: self.cursor(),
            stream: false,
        };
        let (session, _) = self.shared.open(ask)?;
        Ok(Subscription::new(session, grant))
    }

    /// The place after the newest event. Data read *after* this call is at least as new: a page rendered from
    /// it opens its stream here.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.shared.flush(self.shared.clock.now());
        self.shared.board.cursor()
    }

    /// The grant of this user changed: ends the user's sessions. They come back with the new grant, a full gap
    /// and no replay of what came before.
    pub fn regrant(&self, identity: impl std::fmt::Display) -> Receipt {
        self.shared.regrant(identity.to_string())
    }

    /// Ends the sessions of this user, on sign-out. The same event as [`regrant`](Self::regrant).
    pub fn disconnect_user(&self, identity: impl std::fmt::Display) -> Receipt {
        self.shared.regrant(identity.to_string())
    }

    /// Ends every stream, each with a `retry` of its own, and turns late ones away. Publishing still works.
    pub fn shutdown(&self) {
        let marked = self.shared.board.shut();
        self.shared.settle(&marked);
    }

    /// Figures of this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.board.stats()
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A channel to publish to; of [`Hub::channel`].
#[derive(Debug)]
pub struct ChannelPublisher<'a> {
    hub: &'a Hub,
    channel: Result<Channel, NameError>,
}

impl ChannelPublisher<'_> {
    /// Publishes a message. What is refused is an error of the receipt.
    pub fn publish(&self, event: &str, data: &impl Serialize) -> Receipt {
        let published = self.hub.shared.publish_message(self.channel.clone(), event, data);
        published.unwrap_or_else(|error| {
            // The receipt may be dropped.
            tracing::warn!(%error, "a message was refused");
            Receipt::failed(error)
        })
    }
}
