//! [`Session`]: a position, and what stands between it and the tip.

mod read;

use smallvec::SmallVec;

pub(crate) use read::{ReadLimits, Reader};

use super::topic::Kept;
use super::{Millis, Names, Retention, TopicId, TopicName};
use crate::channel::Keep;
use crate::{Channel, Cursor, GapReason};

/// Where a session wants to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With what comes from now on.
    Fresh,
    /// After this cursor.
    At(Cursor),
    /// It sent a cursor that is none.
    Strange,
}

/// A topic that a session follows.
pub(crate) struct Follow {
    pub(crate) name: TopicName,
    pub(crate) replay: Replay,
}

/// What a session may read of what was before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replay {
    /// All that is retained.
    Retained,
    /// What came after this.
    Since(Cursor),
    /// Nothing.
    Live,
}

/// A topic in a session's list. There are many of them, so that two flags stand in the upper bits of the place.
pub(crate) struct Sub {
    pub(crate) topic: TopicId,
    place: u32,
    /// Nothing up to here is due: an offset; of a presence, a version of its roster.
    from: u64,
}

impl Sub {
    /// Nothing of what was before is due, at any time.
    const LIVE: u32 = 1 << 31;
    /// The current value is due, if it is a `latest` channel: when the session opens, also with a cursor
    /// that is past it (the client may have switched its channels, or was cut before it came), and after a
    /// gap that covers everything.
    const WANTS_CURRENT: u32 = 1 << 30;
    const FLAGS: u32 = Self::LIVE | Self::WANTS_CURRENT;

    fn new(topic: TopicId, place: u32, from: u64, live: bool) -> Self {
        debug_assert_eq!(place & Self::FLAGS, 0, "no list is as long as that");
        let flags = if live { Self::FLAGS } else { Self::WANTS_CURRENT };
        Sub { topic, place: place | flags, from }
    }

    /// Where the session stands in the topic's list.
    pub(crate) fn place(&self) -> u32 {
        self.place & !Self::FLAGS
    }

    pub(crate) fn move_to(&mut self, place: u32) {
        self.place = (self.place & Self::FLAGS) | place;
    }

    fn is_live(&self) -> bool {
        self.place & Self::LIVE != 0
    }

    fn wants_current(&self) -> bool {
        self.place & Self::WANTS_CURRENT != 0
    }

    fn want_current(&mut self, is_due: bool) {
        self.place =
            if is_due { self.place | Self::WANTS_CURRENT } else { self.place & !Self::WANTS_CURRENT };
    }
}

#[derive(Clone, Copy)]
enum Stage {
    /// It is known where the session stands; `hello` is due, with the position as its id or without one.
    Placed {
        has_id: bool,
        resumed: bool,
    },
    Open,
}

/// The cursor is ahead of the tip; over a broker this node may catch up.
struct Waiting {
    cursor: Cursor,
    until: Millis,
    greeted: bool,
}

/// What there is to know of a session while something is out of the ordinary: of most there is nothing.
#[derive(Default)]
struct Hitch {
    waiting: Option<Waiting>,
    /// Revalidations are written up to here, if that is ahead of the position: while a bound holds messages back,
    /// so that keys are not sent again with each stretch. A client that returns starts from the position for both.
    keys_through: u64,
    /// A gap that covers everything is due.
    owes: Option<GapReason>,
    /// Channels followed without replay in which something happened while the session was away.
    missed: Vec<Channel>,
    last_gap: Option<Millis>,
    /// Till when it lags, because it may not tell a gap again yet (PROTOCOL R5).
    lags_until: Option<Millis>,
}

impl Hitch {
    /// Whether it says nothing any more about a session that stands here.
    fn is_over(&self, position: u64, now: Millis, gap_every: Millis) -> bool {
        self.waiting.is_none()
            && self.keys_through <= position
            && self.owes.is_none()
            && self.missed.is_empty()
            && self.lags_until.is_none()
            && self.may_tell(now, gap_every)
    }

    fn may_tell(&self, now: Millis, gap_every: Millis) -> bool {
        self.last_gap.is_none_or(|last| now >= last.saturating_add(gap_every))
    }
}

/// One subscriber's place in the order of events. All that it may see up to `position` was written, or a gap
/// that covers it.
pub(crate) struct Session {
    position: u64,
    hitch: Option<Box<Hitch>>,
    stage: Stage,
    pub(crate) heartbeat_due: bool,
    /// In place, where they are two or fewer.
    pub(crate) subs: SmallVec<[Sub; 2]>,
    /// How many of them are presences.
    pub(crate) presences: u32,
}

impl Session {
    /// With room for so many topics, and no more.
    pub(crate) fn new(topics: usize) -> Self {
        Session {
            position: 0,
            hitch: None,
            stage: Stage::Open,
            heartbeat_due: false,
            subs: SmallVec::with_capacity(topics),
            presences: 0,
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The cursor that it waits for this node to reach.
    pub(crate) fn waits_for(&self) -> Option<Cursor> {
        Some(self.hitch.as_ref()?.waiting.as_ref()?.cursor)
    }

    /// Till when it lags, because it may not tell a gap again yet (PROTOCOL R5).
    pub(crate) fn lags_until(&self) -> Option<Millis> {
        self.hitch.as_ref()?.lags_until
    }

    fn hitch(&mut self) -> &mut Hitch {
        self.hitch.get_or_insert_default()
    }

    /// Follows a topic. The session stands in the topic's list already: it registers first and reads the tip
    /// afterwards, or it would sleep through what came between (PROTOCOL R2).
    pub(crate) fn follow(&mut self, topic: TopicId, place: u32, replay: Replay, retention: &Retention) {
        let kept = retention.get(topic).map(|topic| &topic.kept);
        self.presences += u32::from(matches!(kept, Some(Kept::Roster(_))));
        let ephemeral = matches!(kept, Some(Kept::Ring(ring)) if ring.keep == Keep::Ephemeral);
        // Where a place of another epoch lies in this one nobody knows. Nothing from before is due then, and
        // whoever returns is told that it missed something, as one who follows live is.
        let replay = match replay {
            Replay::Since(cursor) if cursor.epoch != retention.epoch() => Replay::Live,
            known => known,
        };
        let from = match replay {
            Replay::Retained if !ephemeral => 0,
            Replay::Since(cursor) if !ephemeral => cursor.offset,
            _ => retention.tip(),
        };
        self.subs.push(Sub::new(topic, place, from, replay == Replay::Live));
    }

    /// The topic followed last is heard from now on, with its current value if it keeps one: the session may
    /// stand far behind, and was not there when the rest was said.
    pub(crate) fn begin_newest(&mut self, retention: &Retention) {
        let Some(sub) = self.subs.last_mut() else { return };
        let kept = retention.get(sub.topic).map(|topic| &topic.kept);
        let begins_before = match kept {
            Some(Kept::Ring(ring)) => ring.keep == Keep::Latest,
            Some(Kept::Roster(_)) => true,
            _ => false,
        };
        if !begins_before {
            sub.from = sub.from.max(retention.tip());
        }
    }

    /// What it follows and where it is present, by name.
    pub(crate) fn names(&self, retention: &Retention) -> Names {
        let mut names = Names::default();
        for topic in self.subs.iter().filter_map(|sub| retention.get(sub.topic)) {
            match &topic.name {
                TopicName::Channel(channel) => names.channels.push(channel.clone()),
                TopicName::Presence(channel) => names.presence.push(channel.clone()),
                _ => {}
            }
        }
        names
    }

    /// Takes its place, after it followed its topics. With `wait_until`, a cursor ahead of the tip waits.
    pub(crate) fn start(
        &mut self,
        start: Start,
        identity_floor: u64,
        wait_until: Option<Millis>,
        retention: &Retention,
    ) {
        let tip = retention.tip();
        let strange = match start {
            Start::Fresh => {
                self.move_to(tip);
                self.stage = Stage::Placed { has_id: true, resumed: false };
                return;
            }
            Start::At(cursor) if cursor.epoch != retention.epoch() => GapReason::Unknown,
            Start::At(cursor) if cursor.offset > tip => match wait_until {
                Some(until) => {
                    self.hitch().waiting = Some(Waiting { cursor, until, greeted: false });
                    return;
                }
                None => GapReason::Ahead,
            },
            Start::At(cursor) if cursor.offset < identity_floor => GapReason::Grant,
            Start::At(cursor) => {
                self.move_to(cursor.offset);
                self.stage = Stage::Placed { has_id: true, resumed: true };
                self.find_missed(retention);
                return;
            }
            Start::Strange => GapReason::Unknown,
        };
        self.move_to(tip);
        self.hitch().owes = Some(strange);
        self.stage = Stage::Placed { has_id: false, resumed: false };
    }

    /// Whether a session that has not read yet resumed without a hole. If not, it begins at the tip and owes
    /// nothing: whoever opened it tells what was before by other means.
    pub(crate) fn resume_whole(&mut self, retention: &Retention) -> bool {
        let resumed = matches!(self.stage, Stage::Placed { resumed: true, .. });
        let mut hitch = self.hitch.take().unwrap_or_default();
        let has_holes = !self.find_holes(&mut hitch, retention).is_empty();
        if resumed && !has_holes && hitch.missed.is_empty() && hitch.owes.is_none() {
            return true;
        }
        self.move_to(retention.tip());
        self.stage = Stage::Placed { has_id: true, resumed: false };
        false
    }

    /// The order ended and a new one began: nothing this session knows can be compared with it.
    pub(crate) fn reset(&mut self, retention: &Retention) {
        self.subs.iter_mut().for_each(|sub| sub.from = 0);
        self.move_to(retention.tip());
        if let Some(hitch) = &mut self.hitch {
            hitch.keys_through = 0;
            hitch.missed.clear();
        }
        if self.waits_for().is_some() {
            return;
        }
        if let Stage::Placed { has_id, resumed } = &mut self.stage {
            (*has_id, *resumed) = (false, false);
        }
        self.hitch().owes = Some(GapReason::Epoch);
    }

    fn cursor(&self, retention: &Retention) -> Cursor {
        Cursor { epoch: retention.epoch(), offset: self.position }
    }

    /// Revalidations and messages are written up to here.
    fn move_to(&mut self, offset: u64) {
        self.position = offset;
    }

    /// A channel followed without replay cannot give a returning session what it missed, but says that it did.
    fn find_missed(&mut self, retention: &Retention) {
        let mut missed = Vec::new();
        for sub in self.subs.iter().filter(|sub| sub.is_live()) {
            let Some(topic) = retention.get(sub.topic) else { continue };
            let Kept::Ring(ring) = &topic.kept else { continue };
            let TopicName::Channel(channel) = &topic.name else { continue };
            if ring.is_promised() && topic.last.max(retention.floor(topic)) > self.position {
                missed.push(channel.clone());
            }
        }
        if !missed.is_empty() {
            self.hitch().missed = missed;
        }
    }
}
