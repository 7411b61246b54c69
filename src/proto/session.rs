//! [`Session`]: a position, and what stands between it and the tip.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::topic::Kept;
use super::{
    Batch, GapNotice, Messages, Millis, Names, Opening, Posted, Retention, Stretch, Topic, TopicId,
    TopicName, spread_ms,
};
use crate::channel::Keep;
use crate::key::collapse;
use crate::{Channel, Cursor, GapReason, Origin, QueryKey};

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

/// How a session reads.
pub(crate) struct ReadLimits {
    pub(crate) stretch: Stretch,
    /// At most one gap in this time.
    pub(crate) gap_every: Millis,
    /// Keys in one event.
    pub(crate) keys: usize,
    pub(crate) refetches_per_s: u32,
    /// How many sessions there are: the audience of what concerns everyone.
    pub(crate) sessions: usize,
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

    /// Reads what is new into an empty batch, and moves.
    pub(crate) fn read(
        &mut self,
        retention: &mut Retention,
        identity: Option<&str>,
        limits: &ReadLimits,
        now: Millis,
        batch: &mut Batch,
    ) {
        batch.heartbeat = std::mem::take(&mut self.heartbeat_due);
        if self.know_place(retention, identity, now, batch) {
            let mut hitch = self.hitch.take().map_or_else(Hitch::default, |hitch| *hitch);
            self.read_on(&mut hitch, retention, identity, limits, now, batch);
            self.hitch = (!hitch.is_over(self.position, now, limits.gap_every)).then(|| Box::new(hitch));
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn read_on(
        &mut self,
        hitch: &mut Hitch,
        retention: &mut Retention,
        identity: Option<&str>,
        limits: &ReadLimits,
        now: Millis,
        batch: &mut Batch,
    ) {
        // Only the tip as it was *before* reading may be acknowledged, and only once the reading up to it is
        // written whole (R1). Everything below reads up to this one.
        let tip = retention.tip();
        self.open(batch, retention, limits);
        if self.presences > 0 {
            self.read_presence(retention, &limits.stretch, now, batch);
        }
        let holes = self.find_holes(hitch, retention);
        let owes_any = hitch.owes.is_some() || !holes.is_empty() || !hitch.missed.is_empty();
        hitch.lags_until = match hitch.last_gap {
            Some(last) if owes_any && !hitch.may_tell(now, limits.gap_every) => {
                Some(last.saturating_add(limits.gap_every))
            }
            _ => None,
        };
        if let Some(reason) = hitch.owes {
            if hitch.lags_until.is_none() {
                self.tell_whole_gap(hitch, reason, retention, identity, limits, now, batch);
            }
            return;
        }
        // Revalidations are read also while the session lags: they need no id.
        self.read_keys(hitch, retention, limits, batch);
        hitch.keys_through = tip;
        if hitch.lags_until.is_some() {
            return;
        }
        if owes_any {
            self.tell_gap(hitch, &holes, retention, limits, now, batch);
        }
        self.read_current(retention, identity, &limits.stretch, batch);
        if batch.more {
            return; // messages come behind all of them
        }
        self.read_messages(retention, identity, &limits.stretch, batch);
        self.position = match batch.messages.last() {
            Some(last) if batch.more => last.offset,
            _ => tip,
        };
        batch.cursor = Some(self.cursor(retention));
    }

    /// Finds out where the session stands, if it does not know. False while it waits.
    fn know_place(
        &mut self,
        retention: &Retention,
        identity: Option<&str>,
        now: Millis,
        batch: &mut Batch,
    ) -> bool {
        let waiting = self.hitch.as_mut().and_then(|hitch| hitch.waiting.take());
        let Some(Waiting { cursor, until, greeted }) = waiting else { return true };
        let caught_up = cursor.epoch != retention.epoch() || cursor.offset <= retention.tip();
        if !caught_up && now < until {
            if !greeted {
                batch.opening = Some(Opening::Waiting);
            }
            self.hitch().waiting = Some(Waiting { cursor, until, greeted: true });
            return false;
        }
        self.start(Start::At(cursor), retention.identity_floor(identity), None, retention);
        true
    }

    fn open(&mut self, batch: &mut Batch, retention: &Retention, limits: &ReadLimits) {
        let Stage::Placed { has_id, resumed } = self.stage else { return };
        // A fresh session is a person who waits for a page; one that could not resume is one of many.
        let spread_ms = if has_id { 0 } else { spread_ms(limits.sessions, limits.refetches_per_s) };
        let id = has_id.then(|| self.cursor(retention));
        let names = Box::new(self.names(retention));
        batch.opening = Some(Opening::Hello { id, resumed, spread_ms, names });
        self.stage = Stage::Open;
    }

    /// The topics that forgot something which this session has not read. A hole in revalidations concerns
    /// everything, so that one is owed at once.
    fn find_holes(&self, hitch: &mut Hitch, retention: &Retention) -> Vec<usize> {
        let keys_through = hitch.keys_through.max(self.position);
        let mut holes = Vec::new();
        for (index, sub) in self.subs.iter().enumerate() {
            let Some(topic) = retention.get(sub.topic) else { continue };
            let floor = retention.floor(topic);
            match &topic.kept {
                Kept::Keys(_) if floor > keys_through.max(sub.from) => {
                    hitch.owes.get_or_insert(GapReason::Evicted);
                }
                Kept::Ring(ring) if ring.is_promised() && floor > self.position.max(sub.from) => {
                    holes.push(index);
                }
                _ => {}
            }
        }
        holes
    }

    #[allow(clippy::too_many_arguments)]
    fn tell_whole_gap(
        &mut self,
        hitch: &mut Hitch,
        reason: GapReason,
        retention: &Retention,
        identity: Option<&str>,
        limits: &ReadLimits,
        now: Millis,
        batch: &mut Batch,
    ) {
        let spread_ms = spread_ms(limits.sessions, limits.refetches_per_s);
        batch.gap = Some(GapNotice { reason, channels: None, spread_ms });
        hitch.owes = None;
        hitch.missed.clear();
        hitch.last_gap = Some(now);
        self.move_to(retention.tip());
        self.subs.iter_mut().for_each(|sub| sub.want_current(true));
        self.read_current(retention, identity, &limits.stretch, batch);
        batch.cursor = Some(self.cursor(retention));
    }

    fn tell_gap(
        &mut self,
        hitch: &mut Hitch,
        holes: &[usize],
        retention: &Retention,
        limits: &ReadLimits,
        now: Millis,
        batch: &mut Batch,
    ) {
        let mut channels = std::mem::take(&mut hitch.missed);
        let mut audience = 0;
        for &hole in holes {
            let sub = &mut self.subs[hole];
            let Some(topic) = retention.get(sub.topic) else { continue };
            // The gap covers it up to here; a bound on this write must not make it a hole again.
            sub.from = sub.from.max(retention.floor(topic));
            audience = audience.max(topic.subscribers.len());
            if let TopicName::Channel(channel) = &topic.name {
                channels.push(channel.clone());
            }
        }
        let spread_ms = spread_ms(audience, limits.refetches_per_s);
        batch.gap = Some(GapNotice { reason: GapReason::Evicted, channels: Some(channels), spread_ms });
        hitch.last_gap = Some(now);
    }

    /// The union of the keys that are new, over all topics of the session: one event, whatever the number of
    /// scopes that heard.
    fn read_keys(&self, hitch: &Hitch, retention: &Retention, limits: &ReadLimits, batch: &mut Batch) {
        let keys_through = hitch.keys_through.max(self.position);
        let mut union: BTreeMap<&QueryKey, Option<Origin>> = BTreeMap::new();
        let mut audience = 0;
        let mut read = 0;
        batch.keys_spread_ms = spread_ms(limits.sessions, limits.refetches_per_s);
        for topic in self.topics(retention, keys_through) {
            let Kept::Keys(log) = &topic.kept else { continue };
            audience += topic.subscribers.len();
            batch.keys_at = Some(batch.keys_at.map_or(topic.touched, |at| at.min(topic.touched)));
            for (key, origin) in log.iter().flat_map(|log| log.since(keys_through)) {
                read += 1;
                // Reading is bounded: far more than an event may carry is everything.
                if union.len() > limits.keys.saturating_mul(4) {
                    batch.keys = vec![QueryKey::everything()];
                    batch.merged = read - 1;
                    return;
                }
                let known = union.entry(key).or_insert(origin);
                if *known != origin {
                    *known = None;
                }
            }
        }
        if union.is_empty() {
            return; // most reads find messages alone
        }
        let mut origins = union.values().copied();
        batch.origin = origins.next().flatten();
        if origins.any(|origin| origin != batch.origin) {
            batch.origin = None;
        }
        let stems: HashSet<&str> = union.keys().map(|key| key.stem()).collect();
        let covered = |key: &QueryKey| key.prefix_stems().any(|stem| stems.contains(stem));
        batch.keys = union.keys().filter(|key| !covered(key)).map(|key| (*key).clone()).collect();
        if batch.keys.len() > limits.keys {
            collapse(&mut batch.keys, limits.keys);
            batch.origin = None;
        }
        batch.merged = read - batch.keys.len();
        batch.keys_spread_ms = spread_ms(audience, limits.refetches_per_s);
    }

    /// Who came and went, up to the bound. It carries no id and waits for none, so that it is told also while the
    /// session lags.
    fn read_presence(&mut self, retention: &Retention, stretch: &Stretch, now: Millis, batch: &mut Batch) {
        let mut bytes = 0;
        for sub in &mut self.subs {
            let Some(topic) = retention.get(sub.topic) else { continue };
            let (TopicName::Presence(channel), Kept::Roster(roster)) = (&topic.name, &topic.kept) else {
                continue;
            };
            let Some((posted, told)) = roster.read(channel, sub.from, now) else { continue };
            if let Some(posted) = posted {
                bytes += posted.frame.len();
                if !batch.current.is_empty() && !stretch.holds(bytes, batch.current.len()) {
                    batch.more = true;
                    return;
                }
                batch.current.push(posted);
            }
            sub.from = told;
        }
    }

    /// The values of `latest` channels from before this place, up to the bound.
    fn read_current(
        &mut self,
        retention: &Retention,
        identity: Option<&str>,
        stretch: &Stretch,
        batch: &mut Batch,
    ) {
        let position = self.position;
        let mut bytes = 0;
        for sub in self.subs.iter_mut().filter(|sub| sub.wants_current()) {
            let due = |newest: &&Arc<Posted>| newest.offset <= position && newest.to.include(identity);
            if let Some(newest) = current(sub, retention).filter(due) {
                bytes += newest.frame.len();
                if !batch.current.is_empty() && !stretch.holds(bytes, batch.current.len()) {
                    batch.more = true;
                    return;
                }
                batch.current.push(newest.clone());
            }
            sub.want_current(false);
        }
    }

    /// Messages of all channels in order of offset, up to the bound.
    fn read_messages(
        &self,
        retention: &mut Retention,
        identity: Option<&str>,
        stretch: &Stretch,
        batch: &mut Batch,
    ) {
        let mut heads = self.heads(retention);
        let heads = match (heads.next(), heads.next()) {
            (None, _) => return,
            (Some(Reverse((_, id, index))), None) => {
                drop(heads);
                (batch.messages, batch.more) = retention.read_channel(id, index, stretch, identity);
                return;
            }
            (first, second) => first.into_iter().chain(second).chain(heads).collect(),
        };
        (batch.messages, batch.more) = merge(heads, retention, identity, stretch);
    }

    /// Where the session goes on in each channel that has something new.
    fn heads<'a>(&'a self, retention: &'a Retention) -> impl Iterator<Item = Head> + 'a {
        self.subs.iter().filter_map(|sub| {
            let topic = retention.get(sub.topic).filter(|topic| topic.last > self.position)?;
            let Kept::Ring(ring) = &topic.kept else { return None };
            let index = ring.after(self.position.max(sub.from));
            Some(Reverse((ring.get(index)?.offset, sub.topic, index)))
        })
    }

    /// The topics of this session that something touched after `position`.
    fn topics<'a>(&'a self, retention: &'a Retention, position: u64) -> impl Iterator<Item = &'a Topic> {
        let topics = self.subs.iter().filter_map(|sub| retention.get(sub.topic));
        topics.filter(move |topic| topic.last > position)
    }
}

/// The newest value of a `latest` channel, if the session may read it.
fn current<'a>(sub: &Sub, retention: &'a Retention) -> Option<&'a Arc<Posted>> {
    match &retention.get(sub.topic)?.kept {
        Kept::Ring(ring) if ring.keep == Keep::Latest && !sub.is_live() => {
            ring.newest().filter(|newest| newest.offset > sub.from)
        }
        _ => None,
    }
}

/// A message to read next: its offset, its channel and its index there.
type Head = Reverse<(u64, TopicId, usize)>;

/// Several channels in one order, up to the bound; and whether that cut it.
fn merge(
    mut heads: BinaryHeap<Head>,
    retention: &Retention,
    identity: Option<&str>,
    stretch: &Stretch,
) -> (Messages, bool) {
    let mut messages: Vec<Arc<Posted>> = Vec::new();
    let mut bytes = 0;
    while let Some(Reverse((_, id, index))) = heads.pop() {
        let Some(Kept::Ring(ring)) = retention.get(id).map(|topic| &topic.kept) else { continue };
        let Some(posted) = ring.get(index) else { continue };
        if posted.to.include(identity) {
            bytes += posted.frame.len();
            if !messages.is_empty() && !stretch.holds(bytes, messages.len()) {
                return (Messages::Own(messages), true);
            }
            messages.push(posted.clone());
        }
        if let Some(next) = ring.get(index + 1) {
            heads.push(Reverse((next.offset, id, index + 1)));
        }
    }
    (Messages::Own(messages), false)
}
