//! [`Board`]: retention and sessions under one lock, and who must be woken.
//!
//! No task, no clock, no I/O: what runs concurrently is here, and here loom explores it. An event is appended
//! to retention, its topics are queued, and [`sweep`](Board::sweep) marks their sessions, a few at a time; a
//! session reads when it is polled. Wakers are never called under the lock: methods return whom to wake.

use std::sync::Arc;
use std::task::{Context, Poll};

use serde_json::Value;
use tokio::runtime::Handle;

use super::Stats;
use super::core::{Attending, Core, Ended, Entry, Marked};
use super::session::Kind;
use super::short::Short;
use super::signal::ByeReason;
use super::ticket::{SessionId, Ticket};
use crate::log::Record;
use crate::proto::{
    Batch, Follow, Millis, Names, ReadLimits, Reader, Retention, Session, Start, TopicName, growth, spread_ms,
};
use crate::sync::Mutex;
use crate::{Channel, Cursor};

/// The bounds that the board keeps.
#[derive(Debug, Clone)]
pub(crate) struct BoardOptions {
    pub(crate) sessions: usize,
    pub(crate) subscriptions: usize,
    pub(crate) read: ReadLimits,
    pub(crate) heartbeat: Millis,
    pub(crate) stall_after: Millis,
    /// How long a user whose last session closed is still present.
    pub(crate) grace: Millis,
    /// Whether somebody wants to know what a session followed when it ended.
    pub(crate) describes_ends: bool,
    /// How long a cursor ahead of the tip waits for this node to catch up; none: it does not.
    pub(crate) wait: Option<Millis>,
}
/// A session that wants to open.
pub(crate) struct Opening {
    pub(crate) identity: Option<Arc<str>>,
    pub(crate) follows: Vec<Follow>,
    /// The channels in which it is present.
    pub(crate) presence: Vec<Channel>,
    /// What others may see of the user there.
    pub(crate) attendee: Option<Arc<Value>>,
    pub(crate) start: Start,
    /// The grant was made after this offset.
    pub(crate) granted_at: u64,
    pub(crate) expires_in: Option<Millis>,
    pub(crate) runtime: Option<Handle>,
    pub(crate) kind: Kind,
}

/// Where a session lives on the board.
pub(crate) struct Seat {
    pub(crate) index: u32,
    pub(crate) kind: Kind,
    pub(crate) ticket: Arc<Ticket>,
}

impl Seat {
    /// The name that `hello` gives the session.
    pub(crate) fn id(&self) -> SessionId {
        self.ticket.id(self.index)
    }
}

/// What polling a session gives.
pub(crate) enum Read<T> {
    /// What was made of the batch.
    Batch(T),
    /// It is over, with the `retry` of its own that a shutdown gives.
    Ended(ByeReason, Option<u32>),
}

/// Whose stream is open, and what of.
pub(crate) struct OpenStream {
    pub(crate) identity: Option<Arc<str>>,
    pub(crate) names: Names,
}

/// Why a session did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    Busy,
    Shutdown,
    /// The grant changed while it was being made.
    Grant,
}

pub(crate) struct Board {
    pub(super) core: Mutex<Core>,
    pub(super) options: BoardOptions,
}

impl BoardOptions {
    /// How often sessions are looked after.
    pub(crate) fn tick(&self) -> Millis {
        (self.heartbeat.min(self.stall_after) / 16).clamp(2, 1000)
    }
}

impl Board {
    pub(crate) fn new(retention: Retention, options: BoardOptions, seed: u64) -> Self {
        let core = Core::new(retention, &options, fastrand::Rng::with_seed(seed));
        Board { core: Mutex::new(core), options }
    }

    pub(crate) fn cursor(&self) -> Cursor {
        let core = self.core.lock();
        Cursor { epoch: core.retention.epoch(), offset: core.retention.tip() }
    }

    pub(crate) fn options(&self) -> &BoardOptions {
        &self.options
    }

    pub(crate) fn stats(&self) -> Stats {
        let core = self.core.lock();
        Stats {
            sessions: core.sessions.len(),
            subscriptions: core.subscriptions,
            topics: core.retention.topic_count(),
            retained_bytes: core.retention.bytes(),
            queued_topics: core.queue.len(),
        }
    }

    /// Who has a stream open and what of, of at most `max` places from `from` on; and where to go on.
    pub(crate) fn streams(&self, from: usize, max: usize) -> (Vec<OpenStream>, Option<usize>) {
        let core = self.core.lock();
        let to = from.saturating_add(max).min(core.sessions.capacity());
        let entries = (from..to).filter_map(|index| core.sessions.get(index));
        let streams = entries.filter(|entry| entry.kind.is_stream()).map(|entry| OpenStream {
            identity: entry.ticket.identity.clone(),
            names: entry.session.names(&core.retention),
        });
        (streams.collect(), (to < core.sessions.capacity()).then_some(to))
    }

    /// A random number for a client to wait by, below `bound`.
    pub(crate) fn draw(&self, bound: u64) -> u64 {
        self.core.lock().rng.u64(0..bound.max(1))
    }

    /// Opens a session: it enters its topics' lists first and loads the tip afterwards (PROTOCOL R2).
    pub(crate) fn open(&self, opening: Opening, now: Millis) -> Result<Seat, Closed> {
        let mut core = self.core.lock();
        let core = &mut *core;
        core.now = now;
        if core.shut {
            return Err(Closed::Shutdown);
        }
        let wanted = opening.follows.len() + opening.presence.len() + usize::from(opening.identity.is_some());
        // Those who are present without a session are bounded as those with one: coming and going fast enough is
        // no way around the bound.
        if core.sessions.len() >= self.options.sessions
            || core.subscriptions + wanted > self.options.subscriptions
            || core.attendance.lingering() > self.options.subscriptions
        {
            return Err(Closed::Busy);
        }
        let identity_floor = core.retention.identity_floor(opening.identity.as_deref());
        if opening.identity.is_some() && identity_floor > opening.granted_at {
            return Err(Closed::Grant);
        }
        let mut session = Session::new(wanted);
        let index = core.sessions.vacant_key() as u32;
        let identity = opening.identity.clone().map(|identity| Follow {
            name: TopicName::Identity(identity),
            replay: crate::proto::Replay::Live,
        });
        for follow in opening.follows.iter().chain(identity.as_ref()) {
            core.subscribe(&mut session, index, follow);
        }
        let attending = Attending { identity: opening.identity.as_ref(), info: opening.attendee.as_ref() };
        for channel in &opening.presence {
            core.join(&mut session, index, channel, attending);
        }
        session.start(
            opening.start,
            identity_floor,
            // A handler's own stream does not wait for this node to catch up: its handler sends what there is.
            self.options.wait.filter(|_| opening.kind != Kind::Own).map(|wait| now.saturating_add(wait)),
            &core.retention,
        );
        core.waiting.extend(session.waits_for().map(|cursor| (cursor.offset, index)));
        let ticket = Arc::new(Ticket::new(opening.identity, core.rng.u64(..)));
        let beat = self.beat(&mut core.rng);
        let runtime = core.runtimes.enter(opening.runtime);
        if core.sessions.len() == core.sessions.capacity() {
            core.sessions.reserve_exact(growth(core.sessions.len()));
        }
        core.sessions.insert(Entry {
            session,
            ticket: ticket.clone(),
            runtime,
            kind: opening.kind,
            next_beat: Short::new(now.saturating_add(beat)),
            expires: opening.expires_in.map_or(Short::NEVER, |time| Short::new(now.saturating_add(time))),
            dirty_since: Short::NEVER,
            opened: Short::new(now),
            behind: false,
            asleep_at: Short::ZERO,
        });
        Ok(Seat { index, kind: opening.kind, ticket })
    }

    /// Whether a cursor is one of this hub's: of its epoch, and not ahead of it.
    pub(crate) fn knows(&self, cursor: Cursor) -> bool {
        let tip = self.cursor();
        cursor.epoch == tip.epoch && cursor.offset <= tip.offset
    }

    /// Whether the grant of this user may have changed since then.
    pub(crate) fn regranted_since(&self, identity: &str, cursor: Cursor) -> bool {
        let core = self.core.lock();
        // A grant of another epoch is older than anything that is known.
        let since = if cursor.epoch == core.retention.epoch() { cursor.offset } else { 0 };
        core.retention.identity_floor(Some(identity)) > since
    }

    /// Whose session this is, by the name that `hello` gave it; none if it is not open.
    pub(crate) fn identity_of(&self, session: &str) -> Option<Option<Arc<str>>> {
        let id = SessionId::parse(session)?;
        let core = self.core.lock();
        let ticket = &core.sessions.get(id.index as usize)?.ticket;
        (ticket.id(id.index) == id).then(|| ticket.identity.clone())
    }

    /// Follows one more topic with an open session, from now on; one that it follows already stays as it is.
    pub(crate) fn follow(&self, seat: &Seat, follow: &Follow) -> Result<Marked, Closed> {
        self.with_seat(seat, |core, mut session| {
            // Two places in one list would be heard twice, and leaving would mix them up.
            let known = core.retention.find(&follow.name);
            if !session.subs.iter().any(|sub| Some(sub.topic) == known) {
                core.subscribe(&mut session, seat.index, follow);
                session.begin_newest(&core.retention);
            }
            session
        })
    }

    /// Whether a session that was not read yet resumed without a hole; if not, it begins here.
    pub(crate) fn resume_whole(&self, seat: &Seat) -> bool {
        let mut core = self.core.lock();
        let core = &mut *core;
        let index = core.seated(seat).map(|_| seat.index as usize);
        let entry = index.and_then(|index| core.sessions.get_mut(index));
        entry.is_some_and(|entry| entry.session.resume_whole(&core.retention))
    }

    /// Changes what an open session follows, by at most one topic.
    pub(super) fn with_seat(
        &self,
        seat: &Seat,
        change: impl FnOnce(&mut Core, Session) -> Session,
    ) -> Result<Marked, Closed> {
        let mut core = self.core.lock();
        let core = &mut *core;
        if core.subscriptions >= self.options.subscriptions {
            return Err(Closed::Busy);
        }
        if let Some((reason, _)) = seat.ticket.signal.ended() {
            return Err(if reason == ByeReason::Grant { Closed::Grant } else { Closed::Shutdown });
        }
        let index = seat.index as usize;
        let Some(entry) = core.sessions.get_mut(index) else { return Err(Closed::Shutdown) };
        let session = std::mem::replace(&mut entry.session, Session::new(0));
        let session = change(core, session);
        core.sessions[index].session = session;
        // A current value may be due, and the session may have looked and gone to sleep.
        seat.ticket.signal.mark();
        let mut marked = Marked::default();
        core.settle_queue(&mut marked);
        Ok(marked)
    }

    /// When a heartbeat is due, counted from the last write: so much sooner than it must come that the ticker, which
    /// looks at a session once in four ticks, is not late; and jittered, so that sessions are not in step.
    fn beat(&self, rng: &mut fastrand::Rng) -> Millis {
        let heartbeat = self.options.heartbeat;
        heartbeat - (4 * self.options.tick()).min(heartbeat / 2) - rng.u64(0..(heartbeat / 12).max(1))
    }

    /// Closes a session, unless it had ended already.
    pub(crate) fn close(&self, seat: &Seat, now: Millis) -> Option<Ended> {
        let mut core = self.core.lock();
        core.seated(seat)?;
        Some(core.remove(seat.index, now))
    }

    /// Reads what is new for a session and has `take` take it, or has the session sleep until there is something. A
    /// batch is large, and is not moved on its way.
    pub(crate) fn poll_read<T>(
        &self,
        seat: &Seat,
        cx: &mut Context<'_>,
        now: impl Fn() -> Millis,
        take: impl FnOnce(&mut Batch) -> T,
    ) -> Poll<Read<T>> {
        let signal = &seat.ticket.signal;
        loop {
            if let Some((reason, retry)) = signal.ended() {
                return Poll::Ready(Read::Ended(reason, (retry > 0).then_some(retry)));
            }
            if signal.take_dirty() {
                let mut batch = Batch::default();
                self.read(seat, &now, &mut batch);
                if batch.is_empty() {
                    continue;
                }
                if batch.more {
                    signal.mark();
                }
                return Poll::Ready(Read::Batch(take(&mut batch)));
            }
            if signal.sleep(cx.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// Reads what is new for a session: nothing when it ended.
    fn read(&self, seat: &Seat, now: impl Fn() -> Millis, batch: &mut Batch) {
        let mut core = self.core.lock();
        let core = &mut *core;
        let sessions = core.sessions.len();
        let Some(entry) = core.sessions.get_mut(seat.index as usize).filter(|entry| entry.is_of(seat)) else {
            return;
        };
        entry.dirty_since = Short::NEVER;
        batch.opened = entry.opened.get();
        let waited_for = entry.session.waits_for();
        let reader =
            Reader { identity: entry.ticket.identity.as_deref(), limits: &self.options.read, sessions };
        entry.session.read(&mut core.retention, &reader, now, batch);
        entry.behind = batch.more;
        if !batch.is_empty() {
            entry.next_beat = Short::new(core.now.saturating_add(self.beat(&mut core.rng)));
        }
        if let Some(cursor) = waited_for.filter(|_| entry.session.waits_for().is_none()) {
            core.waiting.remove(&(cursor.offset, seat.index));
        }
    }

    /// Puts an event in retention and queues its topics for dispatch.
    pub(crate) fn append(&self, at: Cursor, record: &Record, now: Millis) -> Marked {
        let mut core = self.core.lock();
        let core = &mut *core;
        if at.epoch != core.retention.epoch() {
            return Marked::default(); // of an order that ended
        }
        core.now = now;
        let is_new = at.offset > core.retention.tip();
        let appended = core.retention.append(at.offset, record, now);
        Marked { is_new, ..core.take_in(appended, at.offset, now) }
    }

    /// Everything up to `offset` is unknown.
    pub(crate) fn trim(&self, offset: u64, now: Millis) -> Marked {
        let mut core = self.core.lock();
        let core = &mut *core;
        let appended = core.retention.trim(offset);
        core.take_in(appended, offset, now)
    }

    /// A new order begins.
    pub(crate) fn reset(&self, tip: Cursor) -> Marked {
        let mut core = self.core.lock();
        let core = &mut *core;
        core.retention.reset(tip.epoch, tip.offset);
        core.queue.clear();
        core.sweep = None;
        core.waiting.clear();
        let mut marked = Marked::default();
        for (_, entry) in &mut core.sessions {
            entry.session.reset(&core.retention);
            entry.asleep_at = Short::ZERO;
            entry.ticket.signal.mark();
            marked.woken.push(entry.ticket.clone());
        }
        core.retention.unqueue_all();
        core.settle_queue(&mut marked);
        marked
    }

    /// Marks up to `max` sessions of the topics that wait, and adds them to `woken`. Returns up to where
    /// dispatch is done, and whether there is more.
    pub(crate) fn sweep(&self, max: usize, woken: &mut Vec<Arc<Ticket>>) -> (Cursor, bool) {
        let mut core = self.core.lock();
        let core = &mut *core;
        // Sessions that need no mark cost little, and not nothing.
        let mut visits = max * 8;
        while woken.len() < max && visits > 0 {
            let Some(mut sweep) = core.next_sweep() else { break };
            let topic = core.retention.get(sweep.topic);
            let subscribers = topic.map_or(&[][..], |topic| &topic.subscribers[..]);
            sweep.left = sweep.left.min(subscribers.len());
            while sweep.left > 0 && woken.len() < max && visits > 0 {
                sweep.left -= 1;
                visits -= 1;
                let Some(entry) = core.sessions.get(subscribers[sweep.left].session as usize) else {
                    continue;
                };
                // Past it already: it read while it was awake for another.
                let is_news = topic.is_some_and(|topic| topic.is_news(entry.session.position()));
                if is_news && entry.ticket.signal.mark() {
                    woken.push(entry.ticket.clone());
                }
            }
            core.sweep = Some(sweep).filter(|sweep| sweep.left > 0);
        }
        (core.dispatched(), core.sweep.is_some() || !core.queue.is_empty())
    }

    /// Looks after every session whose index is `phase` modulo `phases`, from `from` on, at most `max` of
    /// them: heartbeats, expiry, streams that nobody polls, and how far behind they are. Returns where to go on.
    pub(crate) fn visit(
        &self,
        (phase, phases): (usize, usize),
        from: usize,
        max: usize,
        now: Millis,
        marked: &mut Marked,
    ) -> Option<usize> {
        let mut core = self.core.lock();
        let core = &mut *core;
        core.now = now;
        if from == 0 {
            core.retention.expire(now);
            if core.leave_due(now, max, marked) {
                return Some(0);
            }
            core.tell_crowds();
            marked.queued |= !core.queue.is_empty();
            // Those that wait have a deadline, and are few or not for long.
            for (_, index) in &core.waiting {
                let waiting = core.sessions.get(*index as usize).filter(|entry| entry.ticket.signal.mark());
                marked.woken.extend(waiting.map(|entry| entry.ticket.clone()));
            }
        }
        let dispatched = core.dispatched().offset;
        let first = from.max(phase);
        for (count, index) in (first..core.sessions.capacity()).step_by(phases).enumerate() {
            if count == max {
                return Some(index);
            }
            let Some(entry) = core.sessions.get_mut(index) else { continue };
            let dirty = entry.ticket.signal.is_dirty();
            let dirty_since = if dirty { entry.dirty_since.get().min(now) } else { Millis::MAX };
            entry.dirty_since = Short::new(dirty_since);
            let stalled = now >= dirty_since.saturating_add(self.options.stall_after);
            if now >= entry.expires.get() {
                core.end(index as u32, ByeReason::Expired, 0, now, marked);
            } else if stalled && entry.kind.is_stream() {
                core.end(index as u32, ByeReason::Stalled, 0, now, marked);
            } else {
                marked.lag = marked.lag.max(entry.lag(dirty, dispatched, now));
                let beats = entry.kind.is_stream() && now >= entry.next_beat.get();
                entry.session.heartbeat_due |= beats;
                let lags_no_more = entry.session.lags_until().is_some_and(|until| now >= until);
                if (beats || lags_no_more) && entry.ticket.signal.mark() {
                    marked.woken.push(entry.ticket.clone());
                }
            }
        }
        None
    }

    /// Ends every session, each with a `retry` of its own, and opens no more.
    pub(crate) fn shut(&self, now: Millis) -> Marked {
        let mut core = self.core.lock();
        let core = &mut *core;
        core.shut = true;
        let spread = spread_ms(core.sessions.len(), self.options.read.refetches_per_s);
        let mut marked = Marked::default();
        let indexes: Vec<_> = core.sessions.iter().map(|(index, _)| index).collect();
        for index in indexes {
            let retry = 1000 + core.rng.u64(0..=spread);
            core.end(index as u32, ByeReason::Shutdown, retry as u32, now, &mut marked);
        }
        marked
    }

    /// The runtimes that sessions run on, each once. Looked for when the task lost its own, which is rare.
    pub(crate) fn runtimes(&self) -> Vec<Handle> {
        self.core.lock().runtimes.handles().cloned().collect()
    }

    pub(crate) fn is_idle(&self) -> bool {
        let core = self.core.lock();
        core.sessions.is_empty() && core.queue.is_empty() && core.attendance.is_empty()
    }
}
