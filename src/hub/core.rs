//! [`Core`]: what stands under the board's lock, and the steps that the board's methods are made of.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use slab::Slab;

use super::SessionInfo;
use super::board::{BoardOptions, Seat};
use super::runtimes::Runtimes;
use super::session::Kind;
use super::short::Short;
use super::signal::ByeReason;
use super::ticket::Ticket;
use crate::proto::{
    Appended, Attendance, Attended, Follow, Left, Millis, Names, Replay, Retention, Session, TopicId,
    TopicName,
};
use crate::{Channel, Cursor};

/// What is kept of a session. There may be a million of them: what is rare stands elsewhere.
pub(super) struct Entry {
    pub(super) session: Session,
    pub(super) ticket: Arc<Ticket>,
    /// Of [`Runtimes`].
    pub(super) runtime: u32,
    pub(super) kind: Kind,
    pub(super) next_beat: Short,
    pub(super) expires: Short,
    /// Since when it is known to be woken and not polled.
    pub(super) dirty_since: Short,
    pub(super) opened: Short,
    /// Its last read was cut, and there is more.
    pub(super) behind: bool,
    /// Where dispatch was when the session was last seen asleep, with nothing to read.
    pub(super) asleep_at: Short,
}

pub(super) struct Core {
    pub(super) retention: Retention,
    pub(super) sessions: Slab<Entry>,
    pub(super) runtimes: Runtimes,
    pub(super) subscriptions: usize,
    /// Topics that wait for a sweep, each with the offset that queued it.
    pub(super) queue: VecDeque<(TopicId, u64)>,
    pub(super) sweep: Option<Sweep>,
    /// Sessions that wait for the tip to reach their cursor, by its offset.
    pub(super) waiting: BTreeSet<(u64, u32)>,
    pub(super) attendance: Attendance,
    /// Presences with too many members to tell each change: the next tick does.
    pub(super) crowds: BTreeSet<TopicId>,
    /// How long a user whose last session closed is still there.
    pub(super) grace: Millis,
    /// Whether somebody wants to know what a session followed when it ended.
    pub(super) describes_ends: bool,
    pub(super) shut: bool,
    pub(super) rng: fastrand::Rng,
    /// The time of the last event or look of the ticker: at most a tick ago. Whoever reads asks no clock.
    pub(super) now: Millis,
}

/// A topic whose sessions are being marked, from the end of its list down: whoever moves when another leaves
/// moves down to a place that comes yet or was marked already, and whoever joins read after it joined.
#[derive(Clone, Copy)]
pub(super) struct Sweep {
    pub(super) topic: TopicId,
    pub(super) offset: u64,
    pub(super) left: usize,
}

/// Who joins a presence; without an identity it only looks.
#[derive(Clone, Copy)]
pub(super) struct Attending<'a> {
    pub(super) identity: Option<&'a Arc<str>>,
    pub(super) info: Option<&'a Arc<serde_json::Value>>,
}

/// A session that is over.
pub(crate) struct Ended {
    pub(crate) seat: Seat,
    /// For hooks, if there are any.
    pub(crate) info: Option<SessionInfo>,
}

/// Sessions to wake, and those that ended without their own doing.
#[derive(Default)]
pub(crate) struct Marked {
    pub(crate) woken: Vec<Arc<Ticket>>,
    pub(crate) ended: Vec<(Ended, ByeReason)>,
    /// Users that are no longer present.
    pub(crate) left: Vec<Left>,
    /// By how many events the slowest of the sessions that were looked after is behind.
    pub(crate) lag: u64,
    /// The event was not heard before.
    pub(crate) is_new: bool,
    /// Topics wait for a sweep.
    pub(crate) queued: bool,
    /// Up to where dispatch is done.
    pub(crate) dispatched: Option<Cursor>,
}

impl Entry {
    /// Whether it is the session that has this seat, and not one that took its place.
    pub(super) fn is_of(&self, seat: &Seat) -> bool {
        Arc::ptr_eq(&self.ticket, &seat.ticket)
    }

    /// By how many events the session is behind where dispatch is. Its place alone does not tell: one that sleeps
    /// has nothing to read, however far behind its place is; and one that was woken this moment is not late.
    pub(super) fn lag(&mut self, is_dirty: bool, dispatched: u64, now: Millis) -> u64 {
        let lags = self.session.lags_until().is_some();
        if !is_dirty && !lags {
            self.asleep_at = Short::new(dispatched);
        }
        let unread = self.behind || self.dirty_since.get() < now;
        if self.session.waits_for().is_some() || !(lags || unread) {
            return 0;
        }
        dispatched.saturating_sub(self.session.position().max(self.asleep_at.get()))
    }
}

impl Core {
    pub(super) fn new(retention: Retention, options: &BoardOptions, rng: fastrand::Rng) -> Self {
        Core {
            retention,
            sessions: Slab::new(),
            runtimes: Runtimes::default(),
            subscriptions: 0,
            queue: VecDeque::new(),
            sweep: None,
            waiting: BTreeSet::new(),
            attendance: Attendance::default(),
            crowds: BTreeSet::new(),
            grace: options.grace,
            describes_ends: options.describes_ends,
            shut: false,
            rng,
            now: 0,
        }
    }

    pub(super) fn seated(&self, seat: &Seat) -> Option<&Entry> {
        self.sessions.get(seat.index as usize).filter(|entry| entry.is_of(seat))
    }

    pub(super) fn subscribe(&mut self, session: &mut Session, index: u32, follow: &Follow) {
        let slot = session.subs.len() as u32;
        let (topic, place) = self.retention.subscribe(&follow.name, index, slot);
        session.follow(topic, place, follow.replay, &self.retention);
        self.subscriptions += 1;
    }

    /// Has the session of a channel's presence, and its user, if it has one, be present.
    pub(super) fn join(&mut self, session: &mut Session, index: u32, channel: &Channel, who: Attending<'_>) {
        let name = TopicName::Presence(channel.clone());
        self.subscribe(session, index, &Follow { name, replay: Replay::Retained });
        let fact = who.identity.and_then(|identity| self.attendance.enter(channel, identity, who.info));
        if let Some(fact) = fact {
            self.attend(channel, &fact);
        }
    }

    pub(super) fn attend(&mut self, channel: &Channel, fact: &Attended) {
        match self.retention.attend(channel, fact) {
            Some((crowd, true)) => {
                self.crowds.insert(crowd);
            }
            // Behind everything that is in the log, and before what comes.
            Some((topic, false)) => self.enqueue(topic, self.retention.tip() + 1),
            None => {}
        }
    }

    /// Says of those whose time has come that they left, of at most `max` at once. True if there are more.
    pub(super) fn leave_due(&mut self, now: Millis, max: usize, marked: &mut Marked) -> bool {
        let due = self.attendance.due(now, max);
        let is_cut = due.len() == max;
        for left in due {
            self.attend(&left.channel, &Attended::Gone(left.identity.clone()));
            marked.left.push(left);
        }
        is_cut
    }

    /// The tick of those that are too many to be told of each change.
    pub(super) fn tell_crowds(&mut self) {
        for crowd in std::mem::take(&mut self.crowds) {
            self.enqueue(crowd, self.retention.tip() + 1);
        }
    }

    /// The session leaves. Its user, if it was the last one's, is gone after the grace.
    pub(super) fn remove(&mut self, index: u32, now: Millis) -> Ended {
        let entry = self.sessions.remove(index as usize);
        self.runtimes.leave(entry.runtime);
        self.subscriptions -= entry.session.subs.len();
        let identity = &entry.ticket.identity;
        let info = self.describes_ends.then(|| {
            let Names { channels, presence } = entry.session.names(&self.retention);
            let id = entry.ticket.id(index).to_string();
            SessionInfo { id, identity: identity.clone(), channels, presence }
        });
        if let (Some(identity), 1..) = (identity, entry.session.presences) {
            for sub in &entry.session.subs {
                let name = self.retention.get(sub.topic).map(|topic| &topic.name);
                if let Some(TopicName::Presence(channel)) = name {
                    self.attendance.exit(channel, identity, now.saturating_add(self.grace));
                }
            }
        }
        for sub in &entry.session.subs {
            let Some(moved) = self.retention.unsubscribe(sub.topic, sub.place()) else { continue };
            let other = self.sessions.get_mut(moved.session as usize);
            if let Some(theirs) = other.and_then(|other| other.session.subs.get_mut(moved.slot as usize)) {
                theirs.move_to(sub.place());
            }
        }
        if let Some(cursor) = entry.session.waits_for() {
            self.waiting.remove(&(cursor.offset, index));
        }
        Ended { seat: Seat { index, kind: entry.kind, ticket: entry.ticket }, info }
    }

    pub(super) fn end(
        &mut self,
        index: u32,
        reason: ByeReason,
        retry_ms: u32,
        now: Millis,
        marked: &mut Marked,
    ) {
        if self.sessions.contains(index as usize) {
            let ended = self.remove(index, now);
            ended.seat.ticket.signal.end(reason, retry_ms);
            marked.woken.push(ended.seat.ticket.clone());
            marked.ended.push((ended, reason));
        }
    }

    /// Ends the sessions that an event ended, and queues the topics that it touched.
    pub(super) fn take_in(&mut self, appended: Appended, offset: u64, now: Millis) -> Marked {
        let Appended { topics, ended, signed_out } = appended;
        let mut marked = Marked::default();
        for index in ended {
            self.end(index, ByeReason::Grant, 0, now, &mut marked);
        }
        // Before what is behind them in the order: the first in the queue says how far dispatch is.
        for topic in topics {
            self.enqueue(topic, offset);
        }
        if let Some(identity) = signed_out {
            self.attendance.hurry(&identity);
            // Of all who have left by now, those alone.
            self.leave_due(0, usize::MAX, &mut marked);
        }
        self.settle_queue(&mut marked);
        marked
    }

    /// A topic stands in the queue once, however many events it has.
    pub(super) fn enqueue(&mut self, id: TopicId, offset: u64) {
        let Some(topic) = self.retention.get_mut(id) else { return };
        if !topic.queued && !topic.subscribers.is_empty() {
            topic.queued = true;
            self.queue.push_back((id, offset));
        }
    }

    /// The sweep under way, or the next one.
    pub(super) fn next_sweep(&mut self) -> Option<Sweep> {
        while self.sweep.is_none() {
            let (topic, offset) = self.queue.pop_front()?;
            // The flag falls before the first session is marked: an event that comes meanwhile queues the
            // topic again. An index that was reused for another topic is not queued.
            if let Some(queued) = self.retention.get_mut(topic).filter(|topic| topic.queued) {
                queued.queued = false;
                self.sweep = Some(Sweep { topic, offset, left: queued.subscribers.len() });
            }
        }
        self.sweep
    }

    /// Every session of every event up to here was marked.
    pub(super) fn dispatched(&self) -> Cursor {
        let oldest = self.sweep.as_ref().map(|sweep| sweep.offset);
        let oldest = oldest.or_else(|| self.queue.front().map(|(_, offset)| *offset));
        let offset = oldest.map_or(self.retention.tip(), |offset| offset.saturating_sub(1));
        Cursor { epoch: self.retention.epoch(), offset }
    }

    pub(super) fn settle_queue(&mut self, marked: &mut Marked) {
        self.release_waiting(marked);
        marked.queued = !self.queue.is_empty();
        marked.dispatched = Some(self.dispatched());
    }

    /// Marks the sessions whose cursor this node has reached.
    pub(super) fn release_waiting(&mut self, marked: &mut Marked) {
        while let Some((_, index)) =
            self.waiting.first().filter(|(offset, _)| *offset <= self.retention.tip())
        {
            let index = *index;
            self.waiting.pop_first();
            let released = self.sessions.get(index as usize).filter(|entry| entry.ticket.signal.mark());
            marked.woken.extend(released.map(|entry| entry.ticket.clone()));
        }
    }
}
