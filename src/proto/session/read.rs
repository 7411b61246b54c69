//! What a session reads: from its place to the tip, what it owes first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::sync::Arc;

use super::{Hitch, Session, Stage, Sub, Waiting};
use crate::channel::Keep;
use crate::key::collapse;
use crate::proto::topic::Kept;
use crate::proto::{
    Batch, GapNotice, Messages, Millis, Opening, Posted, Retention, Start, Stretch, Topic, TopicId,
    TopicName, spread_ms,
};
use crate::{GapReason, Origin, QueryKey};

/// How far sessions read, and what they say of it.
#[derive(Debug, Clone)]
pub(crate) struct ReadLimits {
    pub(crate) stretch: Stretch,
    /// At most one gap in this time.
    pub(crate) gap_every: Millis,
    /// Keys in one event.
    pub(crate) keys: usize,
    pub(crate) refetches_per_s: u32,
}

/// Who reads.
pub(crate) struct Reader<'a> {
    pub(crate) identity: Option<&'a str>,
    pub(crate) limits: &'a ReadLimits,
    /// How many sessions there are: the audience of what concerns everyone.
    pub(crate) sessions: usize,
}

impl Reader<'_> {
    /// Over how long so many are to spread their requests.
    fn spread_ms(&self, audience: usize) -> u64 {
        spread_ms(audience, self.limits.refetches_per_s)
    }
}

impl Session {
    /// Reads what is new into an empty batch, and moves. Most reads need not know what time it is.
    pub(crate) fn read(
        &mut self,
        retention: &mut Retention,
        reader: &Reader<'_>,
        now: impl Fn() -> Millis,
        batch: &mut Batch,
    ) {
        batch.heartbeat = std::mem::take(&mut self.heartbeat_due);
        if self.read_plain(retention, reader, batch) {
            return;
        }
        let now = now();
        if self.know_place(retention, reader.identity, now, batch) {
            let mut hitch = self.hitch.take().map_or_else(Hitch::default, |hitch| *hitch);
            self.read_on(&mut hitch, retention, reader, now, batch);
            let is_over = hitch.is_over(self.position, now, reader.limits.gap_every);
            self.hitch = (!is_over).then(|| Box::new(hitch));
        }
    }

    /// What nearly every read finds: nothing out of the ordinary, and at most one channel with something new. False
    /// if there is more to it, and then nothing was read.
    fn read_plain(&mut self, retention: &mut Retention, reader: &Reader<'_>, batch: &mut Batch) -> bool {
        if self.hitch.is_some() || self.presences > 0 || !matches!(self.stage, Stage::Open) {
            return false;
        }
        // Loaded before anything is read (R1).
        let tip = retention.tip();
        let mut news = None;
        for sub in &self.subs {
            let Some(topic) = retention.get(sub.topic) else { continue };
            let after = self.position.max(sub.from);
            let has_news = topic.last > self.position;
            match &topic.kept {
                _ if retention.floor(topic) > after => return false,
                Kept::Keys(_) if has_news => return false,
                Kept::Ring(_) if sub.wants_current() || (has_news && news.is_some()) => return false,
                Kept::Ring(ring) if has_news => news = Some((sub.topic, ring.after(after))),
                _ => {}
            }
        }
        if let Some((topic, index)) = news {
            (batch.messages, batch.more) = retention.read_channel(topic, index, reader);
        }
        self.arrive(tip, retention, batch);
        true
    }

    /// Everything up to `tip` was read, or up to the last message if a bound cut it.
    fn arrive(&mut self, tip: u64, retention: &Retention, batch: &mut Batch) {
        let cut = if batch.more { batch.messages.last() } else { None };
        self.position = cut.map_or(tip, |last| last.offset);
        batch.cursor = Some(self.cursor(retention));
    }

    fn read_on(
        &mut self,
        hitch: &mut Hitch,
        retention: &mut Retention,
        reader: &Reader<'_>,
        now: Millis,
        batch: &mut Batch,
    ) {
        // Only the tip as it was *before* reading may be acknowledged, and only once the reading up to it is
        // written whole (R1). Everything below reads up to this one.
        let tip = retention.tip();
        self.open(batch, retention, reader);
        if self.presences > 0 {
            self.read_presence(retention, &reader.limits.stretch, now, batch);
        }
        let holes = self.find_holes(hitch, retention);
        let owes_any = hitch.owes.is_some() || !holes.is_empty() || !hitch.missed.is_empty();
        hitch.lags_until = match hitch.last_gap {
            Some(last) if owes_any && !hitch.may_tell(now, reader.limits.gap_every) => {
                Some(last.saturating_add(reader.limits.gap_every))
            }
            _ => None,
        };
        if let Some(reason) = hitch.owes {
            if hitch.lags_until.is_none() {
                self.tell_whole_gap(hitch, reason, retention, reader, now, batch);
            }
            return;
        }
        // Revalidations are read also while the session lags: they need no id.
        self.read_keys(hitch, retention, reader, batch);
        hitch.keys_through = tip;
        if hitch.lags_until.is_some() {
            return;
        }
        if owes_any {
            self.tell_gap(hitch, &holes, retention, reader, now, batch);
        }
        self.read_current(retention, reader, batch);
        if batch.more {
            return; // messages come behind all of them
        }
        self.read_messages(retention, reader, batch);
        self.arrive(tip, retention, batch);
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

    fn open(&mut self, batch: &mut Batch, retention: &Retention, reader: &Reader<'_>) {
        let Stage::Placed { has_id, resumed } = self.stage else { return };
        // A fresh session is a person who waits for a page; one that could not resume is one of many.
        let spread_ms = if has_id { 0 } else { reader.spread_ms(reader.sessions) };
        let id = has_id.then(|| self.cursor(retention));
        let names = Box::new(self.names(retention));
        batch.opening = Some(Opening::Hello { id, resumed, spread_ms, names });
        self.stage = Stage::Open;
    }

    /// The topics that forgot something which this session has not read. A hole in revalidations concerns
    /// everything, so that one is owed at once.
    pub(super) fn find_holes(&self, hitch: &mut Hitch, retention: &Retention) -> Vec<usize> {
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

    fn tell_whole_gap(
        &mut self,
        hitch: &mut Hitch,
        reason: GapReason,
        retention: &Retention,
        reader: &Reader<'_>,
        now: Millis,
        batch: &mut Batch,
    ) {
        let spread_ms = reader.spread_ms(reader.sessions);
        batch.gap = Some(GapNotice { reason, channels: None, spread_ms });
        hitch.owes = None;
        hitch.missed.clear();
        hitch.last_gap = Some(now);
        self.move_to(retention.tip());
        self.subs.iter_mut().for_each(|sub| sub.want_current(true));
        self.read_current(retention, reader, batch);
        batch.cursor = Some(self.cursor(retention));
    }

    fn tell_gap(
        &mut self,
        hitch: &mut Hitch,
        holes: &[usize],
        retention: &Retention,
        reader: &Reader<'_>,
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
        let spread_ms = reader.spread_ms(audience);
        batch.gap = Some(GapNotice { reason: GapReason::Evicted, channels: Some(channels), spread_ms });
        hitch.last_gap = Some(now);
    }

    /// The union of the keys that are new, over all topics of the session: one event, whatever the number of
    /// scopes that heard.
    fn read_keys(&self, hitch: &Hitch, retention: &Retention, reader: &Reader<'_>, batch: &mut Batch) {
        let keys_through = hitch.keys_through.max(self.position);
        let mut union: BTreeMap<&QueryKey, Option<Origin>> = BTreeMap::new();
        let mut audience = 0;
        let mut read = 0;
        batch.keys_spread_ms = reader.spread_ms(reader.sessions);
        for topic in self.topics(retention, keys_through) {
            let Kept::Keys(log) = &topic.kept else { continue };
            audience += topic.subscribers.len();
            batch.keys_at = Some(batch.keys_at.map_or(topic.touched, |at| at.min(topic.touched)));
            for (key, origin) in log.iter().flat_map(|log| log.since(keys_through)) {
                read += 1;
                // Reading is bounded: far more than an event may carry is everything.
                if union.len() > reader.limits.keys.saturating_mul(4) {
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
            return; // only messages, or a gap
        }
        let mut origins = union.values().copied();
        batch.origin = origins.next().flatten();
        if origins.any(|origin| origin != batch.origin) {
            batch.origin = None;
        }
        let stems: HashSet<&str> = union.keys().map(|key| key.stem()).collect();
        let covered = |key: &QueryKey| key.prefix_stems().any(|stem| stems.contains(stem));
        batch.keys = union.keys().filter(|key| !covered(key)).map(|key| (*key).clone()).collect();
        if batch.keys.len() > reader.limits.keys {
            collapse(&mut batch.keys, reader.limits.keys);
            batch.origin = None;
        }
        batch.merged = read - batch.keys.len();
        batch.keys_spread_ms = reader.spread_ms(audience);
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
    fn read_current(&mut self, retention: &Retention, reader: &Reader<'_>, batch: &mut Batch) {
        let position = self.position;
        let mut bytes = 0;
        for sub in self.subs.iter_mut().filter(|sub| sub.wants_current()) {
            let due = |newest: &&Arc<Posted>| newest.offset <= position && newest.to.include(reader.identity);
            if let Some(newest) = current(sub, retention).filter(due) {
                bytes += newest.frame.len();
                if !batch.current.is_empty() && !reader.limits.stretch.holds(bytes, batch.current.len()) {
                    batch.more = true;
                    return;
                }
                batch.current.push(newest.clone());
            }
            sub.want_current(false);
        }
    }

    /// Messages of all channels in order of offset, up to the bound.
    fn read_messages(&self, retention: &mut Retention, reader: &Reader<'_>, batch: &mut Batch) {
        let mut heads = self.heads(retention);
        let heads = match (heads.next(), heads.next()) {
            (None, _) => return,
            (Some(Reverse((_, id, index))), None) => {
                drop(heads);
                (batch.messages, batch.more) = retention.read_channel(id, index, reader);
                return;
            }
            (first, second) => first.into_iter().chain(second).chain(heads).collect(),
        };
        (batch.messages, batch.more) = merge(heads, retention, reader);
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
fn merge(mut heads: BinaryHeap<Head>, retention: &Retention, reader: &Reader<'_>) -> (Messages, bool) {
    let mut messages: Vec<Arc<Posted>> = Vec::new();
    let mut bytes = 0;
    while let Some(Reverse((_, id, index))) = heads.pop() {
        let Some(Kept::Ring(ring)) = retention.get(id).map(|topic| &topic.kept) else { continue };
        let Some(posted) = ring.get(index) else { continue };
        if posted.to.include(reader.identity) {
            bytes += posted.frame.len();
            if !messages.is_empty() && !reader.limits.stretch.holds(bytes, messages.len()) {
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
