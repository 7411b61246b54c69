//! [`Retention`]: the tail of the one order of events, by topic.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use slab::Slab;
use smallvec::SmallVec;

use super::topic::Kept;
use super::{
    Attended, EVERYONE, Floors, Joins, Messages, Millis, Posted, PresenceLimits, Reader, Ring, Roster,
    Subscriber, Topic, TopicId, TopicName, growth,
};
use crate::channel::Keep;
use crate::log::{Record, RecordKind};
use crate::revalidate::Audience;
use crate::sse;
use crate::{Channel, Epoch, Pattern, Policy};

/// What is kept at most.
#[derive(Debug, Clone)]
pub(crate) struct RetentionLimits {
    /// Bytes of all topics together.
    pub(crate) bytes: usize,
    /// Bytes of one channel.
    pub(crate) channel_bytes: usize,
    /// How long an event is kept.
    pub(crate) age: Millis,
    /// Topics of which something is kept.
    pub(crate) topics: usize,
    /// Keys of one audience.
    pub(crate) keys: usize,
    /// What is told of presence.
    pub(crate) presence: PresenceLimits,
}

/// The policies of channels: the most specific pattern wins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies(Arc<[(Pattern, Policy)]>);

impl Policies {
    /// Of two declarations of one pattern the later wins.
    pub(crate) fn new(mut declared: Vec<(Pattern, Policy)>) -> Self {
        declared.reverse();
        declared.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.specificity()));
        Policies(declared.into())
    }

    pub(crate) fn of(&self, channel: &Channel) -> Policy {
        let matching = self.0.iter().find(|(pattern, _)| pattern.matches(channel));
        matching.map_or_else(Policy::default, |(_, policy)| *policy)
    }

    pub(crate) fn declare(&self, channel: &Channel) -> bool {
        self.0.iter().any(|(pattern, _)| pattern.matches(channel))
    }

    /// Whether any declaration, the most specific or not, says that the channel is never for everyone.
    pub(crate) fn keep_scoped(&self, channel: &Channel) -> bool {
        self.0.iter().any(|(pattern, policy)| policy.scoped && pattern.matches(channel))
    }
}

/// What an event touched.
#[derive(Default)]
pub(crate) struct Appended {
    /// Topics whose sessions have something new to read.
    pub(crate) topics: Vec<TopicId>,
    /// Sessions whose grant the event ended.
    pub(crate) ended: Vec<u32>,
    /// The user that signed out.
    pub(crate) signed_out: Option<String>,
}

pub(crate) struct Retention {
    epoch: Epoch,
    /// The last event that stands in all its topics.
    tip: u64,
    /// Everything up to here is unknown, in every topic.
    base: u64,
    floors: Floors,
    topics: Slab<Topic>,
    by_name: HashMap<TopicName, TopicId>,
    /// Topics of which something is kept, the one that was silent for longest first.
    silence: BTreeSet<(u64, TopicId)>,
    bytes: usize,
    limits: RetentionLimits,
    policies: Policies,
    joins: Joins,
}

impl Retention {
    pub(crate) fn new(
        epoch: Epoch,
        tip: u64,
        floors: Floors,
        limits: RetentionLimits,
        policies: Policies,
    ) -> Self {
        let mut retention = Retention {
            epoch,
            tip,
            // Nothing before this process is known.
            base: tip,
            floors,
            topics: Slab::new(),
            by_name: HashMap::new(),
            silence: BTreeSet::new(),
            bytes: 0,
            limits,
            policies,
            joins: Joins::default(),
        };
        let everyone = retention.topic(&TopicName::Everyone);
        debug_assert_eq!(everyone, EVERYONE);
        retention
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn tip(&self) -> u64 {
        self.tip
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(id as usize)
    }

    pub(crate) fn get_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.topics.get_mut(id as usize)
    }

    pub(crate) fn topic_count(&self) -> usize {
        self.topics.len()
    }

    fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().map(|(_, topic)| topic)
    }

    pub(crate) fn unqueue_all(&mut self) {
        self.topics.iter_mut().for_each(|(_, topic)| topic.queued = false);
    }

    /// A cursor below this missed something of the topic that is not kept any more.
    pub(crate) fn floor(&self, topic: &Topic) -> u64 {
        topic.floor.max(self.base)
    }

    /// A cursor of this identity below this is from before its grant changed (R10), or may be: what is unknown
    /// may have been a change.
    pub(crate) fn identity_floor(&self, identity: Option<&str>) -> u64 {
        identity.map_or(0, |identity| self.floors.of(&TopicName::Identity(identity.into())).max(self.base))
    }

    /// Puts an event in its topics, then moves the tip.
    pub(crate) fn append(&mut self, offset: u64, record: &Record, now: Millis) -> Appended {
        let mut appended = Appended::default();
        if offset <= self.tip {
            return appended; // a follower may hear an event twice
        }
        if offset > self.tip + 1 {
            // A jump: what lay between was trimmed before it was heard.
            appended = self.trim(offset - 1);
        }
        match &record.0 {
            RecordKind::Revalidate { audience, keys, origin } => {
                let names = match audience {
                    Audience::Everyone => vec![TopicName::Everyone],
                    Audience::Scopes(scopes) => scopes.iter().cloned().map(TopicName::Scope).collect(),
                };
                for name in names {
                    let id = self.topic(&name);
                    let cap = self.limits.keys;
                    self.write(id, offset, now, |topic| {
                        if let Kept::Keys(log) = &mut topic.kept {
                            let log = log.get_or_insert_default();
                            keys.iter().for_each(|key| log.insert(key, offset, *origin));
                            log.compact(cap);
                        }
                    });
                    appended.topics.push(id);
                }
            }
            RecordKind::Message { channel, event, to, data } => {
                let id = self.topic(&TopicName::Channel(channel.clone()));
                let (epoch, limits) = (self.epoch, self.limits.clone());
                self.write(id, offset, now, |topic| {
                    let Kept::Ring(ring) = &mut topic.kept else { return };
                    let id = (ring.keep != Keep::Ephemeral).then_some(crate::Cursor { epoch, offset });
                    let sse::MessageFrame { frame, data, id_len } =
                        sse::message(id, channel, event, data.get());
                    let (channel, event, to) = (channel.clone(), event.clone(), to.clone());
                    let posted = Posted { offset, at: now, channel, event, to, data, frame, id_len };
                    if let Some(forgotten) = ring.push(Arc::new(posted), limits.channel_bytes, limits.age) {
                        topic.floor = topic.floor.max(forgotten);
                    }
                });
                appended.topics.push(id);
            }
            RecordKind::Regrant { identity, signed_out } => {
                appended.signed_out = signed_out.then(|| identity.clone());
                let name = TopicName::Identity(identity.as_str().into());
                self.floors.raise(&name, offset);
                if let Some(topic) = self.by_name.get(&name).and_then(|id| self.topics.get(*id as usize)) {
                    appended.ended.extend(topic.subscribers.iter().map(|subscriber| subscriber.session));
                }
            }
        }
        self.tip = offset;
        self.evict(now);
        appended
    }

    /// Everything up to `offset` was forgotten elsewhere before it was heard here. Everyone must look, and the
    /// sessions of users end: a change of their grant may have been among it (R10).
    pub(crate) fn trim(&mut self, offset: u64) -> Appended {
        if offset <= self.tip {
            return Appended::default(); // all of it was heard
        }
        self.base = offset;
        self.tip = offset;
        let everyone = &mut self.topics[EVERYONE as usize];
        if self.silence.remove(&(everyone.last, EVERYONE)) {
            self.silence.insert((offset, EVERYONE));
        }
        everyone.last = offset;
        let identities = self.topics().filter(|topic| matches!(topic.name, TopicName::Identity(_)));
        let ended = identities.flat_map(|topic| &topic.subscribers).map(|subscriber| subscriber.session);
        Appended { ended: ended.collect(), topics: vec![EVERYONE], signed_out: None }
    }

    /// A new order begins at `tip`; nothing of the old one can be compared with it.
    pub(crate) fn reset(&mut self, epoch: Epoch, tip: u64) {
        self.epoch = epoch;
        self.tip = tip;
        self.base = tip;
        self.floors.clear();
        self.joins.clear();
        self.silence.clear();
        self.bytes = 0;
        let by_name = &mut self.by_name;
        self.topics.retain(|id, topic| {
            topic.forget();
            topic.floor = 0;
            topic.last = tip;
            // Who is present is no part of the order that ended.
            let is_kept = matches!(topic.kept, Kept::Roster(_)) && !topic.is_empty();
            let used = id == EVERYONE as usize || !topic.subscribers.is_empty() || is_kept;
            if !used {
                by_name.remove(&topic.name);
            }
            used
        });
    }

    /// Forgets the topics that have been silent for longer than the age.
    pub(crate) fn expire(&mut self, now: Millis) {
        while let Some(&(_, id)) = self.silence.first() {
            if self.topics[id as usize].touched.saturating_add(self.limits.age) >= now {
                break;
            }
            self.drop_topic(id);
        }
    }

    /// The topic of this name, if it is there.
    pub(crate) fn find(&self, name: &TopicName) -> Option<TopicId> {
        self.by_name.get(name).copied()
    }

    /// Who is present in a channel, if anybody is or wants to know.
    pub(crate) fn roster(&self, channel: &Channel) -> Option<&Roster> {
        let id = self.find(&TopicName::Presence(channel.clone()))?;
        match &self.get(id)?.kept {
            Kept::Roster(roster) => Some(roster),
            _ => None,
        }
    }

    /// Takes in what became of a user in a channel. The topic, if that is news to its sessions, and whether it is a
    /// crowd.
    pub(crate) fn attend(&mut self, channel: &Channel, fact: &Attended) -> Option<(TopicId, bool)> {
        let id = self.topic(&TopicName::Presence(channel.clone()));
        let Kept::Roster(roster) = &mut self.topics[id as usize].kept else { return None };
        let news = roster.apply(fact).then_some((id, roster.is_crowd()));
        self.free_if_unused(id);
        news
    }

    /// What a session of this user reads of a channel, see [`Joins::read`].
    pub(crate) fn read_channel(
        &mut self,
        id: TopicId,
        index: usize,
        reader: &Reader<'_>,
    ) -> (Messages, bool) {
        match self.topics.get(id as usize).map(|topic| &topic.kept) {
            Some(Kept::Ring(ring)) => self.joins.read(id, ring, index, reader),
            _ => (Messages::None, false),
        }
    }

    /// Adds a session to a topic's list. Returns the topic and the place in the list.
    pub(crate) fn subscribe(&mut self, name: &TopicName, session: u32, slot: u32) -> (TopicId, u32) {
        let id = self.topic(name);
        let subscribers = &mut self.topics[id as usize].subscribers;
        if subscribers.len() == subscribers.capacity() {
            subscribers.reserve_exact(growth(subscribers.len()));
        }
        subscribers.push(Subscriber { session, slot });
        (id, subscribers.len() as u32 - 1)
    }

    /// Removes a place from a topic's list. Returns the subscriber that moved into it, if one did.
    pub(crate) fn unsubscribe(&mut self, id: TopicId, place: u32) -> Option<Subscriber> {
        let topic = self.topics.get_mut(id as usize)?;
        topic.subscribers.swap_remove(place as usize);
        let moved = topic.subscribers.get(place as usize).copied();
        if topic.subscribers.len() * 4 < topic.subscribers.capacity() {
            topic.subscribers.grow(topic.subscribers.len() * 2);
        }
        self.free_if_unused(id);
        moved
    }

    /// Changes what is kept of a topic, and keeps the books.
    fn write(&mut self, id: TopicId, offset: u64, now: Millis, change: impl FnOnce(&mut Topic)) {
        let topic = &mut self.topics[id as usize];
        let before = topic.bytes();
        self.silence.remove(&(topic.last, id));
        change(topic);
        topic.last = offset;
        topic.touched = now;
        self.bytes = self.bytes + topic.bytes() - before;
        self.silence.insert((offset, id));
    }

    fn evict(&mut self, now: Millis) {
        self.expire(now);
        while self.bytes > self.limits.bytes || self.silence.len() > self.limits.topics {
            // The one just written stays, whatever the bounds.
            match self.silence.first() {
                Some(&(last, id)) if last < self.tip => self.drop_topic(id),
                _ => break,
            }
        }
    }

    fn drop_topic(&mut self, id: TopicId) {
        let topic = &mut self.topics[id as usize];
        self.bytes -= topic.bytes();
        self.silence.remove(&(topic.last, id));
        topic.forget();
        self.free_if_unused(id);
    }

    /// Frees a topic without subscribers of which nothing is kept; its floor lives on in its bucket.
    fn free_if_unused(&mut self, id: TopicId) {
        let topic = &self.topics[id as usize];
        let listed = self.silence.contains(&(topic.last, id));
        if id == EVERYONE || !topic.subscribers.is_empty() || !topic.is_empty() || listed {
            return;
        }
        let topic = self.topics.remove(id as usize);
        self.by_name.remove(&topic.name);
        self.floors.raise(&topic.name, topic.floor);
    }

    /// The topic of this name, made if it is not there.
    fn topic(&mut self, name: &TopicName) -> TopicId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let kept = match name {
            TopicName::Everyone | TopicName::Scope(_) => Kept::Keys(None),
            TopicName::Channel(channel) => Kept::Ring(Ring::new(self.policies.of(channel).keep)),
            TopicName::Presence(_) => Kept::Roster(Box::new(Roster::new(self.limits.presence))),
            TopicName::Identity(_) => Kept::Nothing,
        };
        let floor = self.floors.of(name);
        let topic = Topic {
            name: name.clone(),
            kept,
            last: 0,
            touched: 0,
            floor,
            subscribers: SmallVec::new(),
            queued: false,
        };
        if self.topics.len() == self.topics.capacity() {
            self.topics.reserve_exact(growth(self.topics.len()));
        }
        let id = self.topics.insert(topic) as TopicId;
        self.by_name.insert(name.clone(), id);
        id
    }
}
