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

mod attend;
mod board;
mod builder;
mod core;
mod dispatch;
mod info;
#[cfg(all(test, loom_model))]
mod loom_model;
mod observation;
mod outbox;
mod pledge;
mod publish;
mod receipt;
mod runtimes;
mod session;
mod short;
mod signal;
mod ticket;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use tokio::sync::watch;
use tokio::time::Instant;

use board::Seat;
pub(crate) use board::{Board, Closed, Read};
pub use builder::Builder;
pub(crate) use builder::Options;
pub(crate) use core::{Ended, Marked};
pub use info::{Disconnect, SessionInfo, Stats};
pub use observation::Observation;
pub(crate) use observation::Seen;
pub(crate) use outbox::{Outbox, Outgoing};
pub use pledge::Pledge;
pub(crate) use pledge::PledgeGuard;
pub use publish::ChannelPublisher;
pub use receipt::Receipt;
pub(crate) use session::{Ask, HubSession, Kind, Opened};
pub use signal::ByeReason;
pub(crate) use signal::Signal;
pub(crate) use ticket::{SessionId, Ticket};

use crate::emit::Emits;
use crate::event::Readers;
use crate::log::{EventLog, Record};
use crate::metrics::{Heard, Metrics};
use crate::proto::{Left, Millis, Policies, Start};
use crate::typing::Typists;
use crate::{
    Channel, Cursor, Grant, IntoName, NameError, Presence, Revalidate, RevalidateLayer, SubscribeError,
    Subscription,
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
    pub(crate) emits: Emits,
    outbox: parking_lot::Mutex<Outbox>,
    log: Box<dyn EventLog>,
    task: dispatch::Task,
    dispatched: watch::Sender<Cursor>,
    /// Handlers that want to know of the end of their own streams, by session.
    farewells: parking_lot::Mutex<HashMap<SessionId, Vec<Farewell>>>,
    pub(crate) typists: parking_lot::Mutex<Typists>,
    pub(crate) metrics: Metrics,
}

pub(crate) type Farewell = Box<dyn FnOnce() + Send>;

/// Sessions to wake, hooks to call and dispatch to start, once no lock is held: when it drops.
pub(crate) struct Wakes {
    shared: Arc<Shared>,
    marked: Marked,
    /// The event that was new, for the metrics.
    heard: Option<Heard>,
}

impl Drop for Wakes {
    fn drop(&mut self) {
        let marked = std::mem::take(&mut self.marked);
        if let Some(heard) = self.heard {
            self.shared.metrics.heard(heard);
        }
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
            emits: Emits::new(options.emits),
            options,
            policies,
            board,
            clock: Clock(Instant::now()),
            outbox: parking_lot::Mutex::new(outbox),
            log,
            task: dispatch::Task::default(),
            dispatched: watch::Sender::new(tip),
            farewells: parking_lot::Mutex::default(),
            typists: parking_lot::Mutex::default(),
            metrics: Metrics::default(),
        }
    }

    pub(crate) fn deliver(self: Arc<Self>, at: Cursor, record: &Record) -> Wakes {
        let marked = self.board.append(at, record, self.clock.now());
        // Told when it drops: the log may hold a lock here, and who counts is foreign code.
        let heard = marked.is_new.then(|| Heard::of(record));
        Wakes { shared: self, marked, heard }
    }

    pub(crate) fn trimmed(self: Arc<Self>, up_to: u64) -> Wakes {
        let marked = self.board.trim(up_to, self.clock.now());
        Wakes { shared: self, marked, heard: None }
    }

    pub(crate) fn reset(self: Arc<Self>, tip: Cursor) -> Wakes {
        let marked = self.board.reset(tip);
        Wakes { shared: self, marked, heard: None }
    }

    /// Wakes, tells and starts what a change on the board asks for.
    pub(crate) fn act(self: &Arc<Self>, marked: Marked) {
        drop(Wakes { shared: self.clone(), marked, heard: None });
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
    pub(crate) fn settle(self: &Arc<Self>, marked: &Marked) {
        // The leaves first: they have their place in the line before what is woken here lets anyone join again.
        for Left { channel, identity, info } in &marked.left {
            Hub { shared: self.clone() }.observe_leave(channel, identity, info.clone());
        }
        marked.woken.iter().for_each(|ticket| ticket.signal.wake());
        marked.ended.iter().for_each(|(ended, reason)| self.closed(ended, Disconnect::Bye(*reason)));
    }

    pub(crate) fn opened(self: &Arc<Self>, seat: &Seat, info: &SessionInfo) {
        self.metrics.opened();
        tracing::debug!(session = info.id, identity = info.identity.as_deref(), "session opened");
        if let Some(hook) = &self.options.on_connect {
            guarded(Some(seat.id()), || hook(info));
        }
        if let Some(why) = seat.ticket.signal.hooks.connected() {
            self.disconnected(seat, Some(info), why);
        }
    }

    pub(crate) fn closed(self: &Arc<Self>, Ended { seat, info }: &Ended, why: Disconnect) {
        let _entered = seat.ticket.span.enter();
        let identity = seat.ticket.identity.as_deref();
        tracing::debug!(session = seat.id().to_string(), identity, reason = why.as_str(), "session closed");
        if let Some(identity) = identity {
            self.end_typing(identity);
        }
        let due = seat.ticket.signal.hooks.closed(why);
        if due.awaited {
            let waiting = self.farewells.lock().remove(&seat.id()).unwrap_or_default();
            waiting.into_iter().for_each(|farewell| guarded(Some(seat.id()), farewell));
        }
        if due.hook {
            self.disconnected(seat, info.as_ref(), why);
        }
    }

    /// Calls back once the session is over, at once if it is.
    pub(crate) fn await_end(&self, seat: &Seat, farewell: Farewell) {
        let over = {
            let mut farewells = self.farewells.lock();
            if seat.ticket.signal.hooks.await_end() {
                farewells.entry(seat.id()).or_default().push(farewell);
                return;
            }
            farewell
        };
        guarded(Some(seat.id()), over);
    }

    /// Of one that was opened; what never was, is not told of.
    fn disconnected(&self, seat: &Seat, info: Option<&SessionInfo>, why: Disconnect) {
        self.metrics.closed(why);
        if let (Some(hook), Some(info)) = (&self.options.on_disconnect, info) {
            guarded(Some(seat.id()), || hook(info, why));
        }
    }
}

/// Runs a hook of a session, if there is one. Its panic is its own.
pub(crate) fn guarded(session: Option<SessionId>, hook: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(hook)).is_err() {
        tracing::error!(session = session.map(|id| id.to_string()), "a hook panicked");
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
        ChannelPublisher { hub: self, channel: channel.into_name(), to: Readers::All }
    }

    /// Who is present in a channel. See [`presence`](crate::presence).
    ///
    /// # Errors
    /// [`NameError`] when the channel's name is refused.
    pub fn presence(&self, channel: impl IntoName<Channel>) -> Result<Presence<'_>, NameError> {
        Ok(Presence { hub: self, channel: channel.into_name()? })
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
            presence: Vec::new(),
            refused: Vec::new(),
            start: Start::Fresh,
            granted_at: self.cursor(),
            places: Vec::new(),
            kind: Kind::Subscription,
        };
        let session = self.shared.open(ask)?.session;
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
        self.shared.regrant(identity.to_string(), false)
    }

    /// Ends the sessions of this user, on sign-out: as [`regrant`](Self::regrant), and at once the user is present
    /// nowhere, without the grace that a reload has.
    pub fn disconnect_user(&self, identity: impl std::fmt::Display) -> Receipt {
        self.shared.regrant(identity.to_string(), true)
    }

    /// Ends every stream, each with a `retry` of its own, and turns late ones away. Publishing still works.
    pub fn shutdown(&self) {
        let marked = self.shared.board.shut(self.shared.clock.now());
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
