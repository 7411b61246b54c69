//! [`Roster`]: who is present in a channel, and what of it is news to whom.
//!
//! State, not a queue: each change has a version, a session remembers the version it was told of, and reads the
//! difference when it can write. A slow session hears of someone who came and went nothing at all. Who left is
//! remembered for a while; a session that is older than that, as a new one, is told the whole list.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use super::presence::Attended;
use super::{Millis, Posted};
use crate::event::Readers;
use crate::{Channel, PresentUser, sse};

/// How many of those who left are remembered.
const LEFT: usize = 256;

/// What is told of presence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PresenceLimits {
    /// Up to how many members are told by name; of more it is the first of them, and then their number.
    pub(crate) page: usize,
    /// Whether changes are told, or the list at the beginning alone.
    pub(crate) updates: bool,
}

struct Member {
    user: PresentUser,
    joined: u64,
    changed: u64,
}

/// The members of a channel.
pub(crate) struct Roster {
    members: BTreeMap<Arc<str>, Member>,
    /// Who changed last, in the order of it: members, and those who left.
    changes: BTreeMap<u64, Arc<str>>,
    left: HashMap<Arc<str>, u64>,
    version: u64,
    /// Who was told less than this is told the whole list.
    floor: u64,
    limits: PresenceLimits,
    memo: RefCell<Memo>,
}

/// What was told last, for the next who is to be told the same.
#[derive(Default)]
struct Memo {
    list: Option<(u64, Arc<Posted>)>,
    update: Option<(u64, u64, Arc<Posted>)>,
}

#[derive(Serialize)]
struct List<'a> {
    users: Vec<&'a PresentUser>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    count: usize,
}

#[derive(Serialize, Default)]
struct Update<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    joined: Vec<&'a PresentUser>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    updated: Vec<&'a PresentUser>,
    count: usize,
}

impl Roster {
    pub(crate) fn new(limits: PresenceLimits) -> Self {
        Roster {
            members: BTreeMap::new(),
            changes: BTreeMap::new(),
            left: HashMap::new(),
            // Who was told nothing stands at 0.
            version: 1,
            floor: 1,
            limits,
            memo: RefCell::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn has(&self, identity: &str) -> bool {
        self.members.contains_key(identity)
    }

    /// Whether there are so many that only their number is told.
    pub(crate) fn is_crowd(&self) -> bool {
        self.members.len() > self.limits.page
    }

    /// The members after one of them, by name.
    pub(crate) fn after<'a>(
        &'a self,
        identity: Option<&str>,
    ) -> impl Iterator<Item = &'a PresentUser> + use<'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = identity.map_or(Unbounded, Excluded);
        self.members.range::<str, _>((after, Unbounded)).map(|(_, member)| &member.user)
    }

    /// Takes a fact in. False if it was known.
    pub(crate) fn apply(&mut self, fact: &Attended) -> bool {
        let was_crowd = self.is_crowd();
        let version = self.version + 1;
        let identity = match fact {
            Attended::Here(user) => {
                let identity = user.id.clone();
                if let Some(left) = self.left.remove(&identity) {
                    self.changes.remove(&left);
                }
                match self.members.get_mut(&identity) {
                    Some(member) if member.user == *user => return false,
                    Some(member) => {
                        self.changes.remove(&member.changed);
                        member.user = user.clone();
                        member.changed = version;
                    }
                    None => {
                        let user = user.clone();
                        let member = Member { user, joined: version, changed: version };
                        self.members.insert(identity.clone(), member);
                    }
                }
                identity
            }
            Attended::Gone(identity) => {
                let Some(member) = self.members.remove(identity) else { return false };
                self.changes.remove(&member.changed);
                self.left.insert(identity.clone(), version);
                identity.clone()
            }
        };
        self.version = version;
        self.changes.insert(version, identity);
        self.forget();
        if was_crowd != self.is_crowd() {
            self.floor = version;
        }
        true
    }

    /// Keeps the number of those remembered who left.
    fn forget(&mut self) {
        if self.left.len() <= LEFT {
            return;
        }
        let oldest = self.left.iter().min_by_key(|(_, version)| **version);
        if let Some((identity, version)) = oldest.map(|(identity, version)| (identity.clone(), *version)) {
            self.left.remove(&identity);
            self.changes.remove(&version);
            self.floor = self.floor.max(version);
        }
    }

    /// What is new for a session that was told up to `told`, and up to where it is told then.
    pub(crate) fn read(&self, channel: &Channel, told: u64, now: Millis) -> Option<(Arc<Posted>, u64)> {
        let posted = if told < self.floor {
            self.list(channel, now)
        } else if told < self.version && self.limits.updates {
            self.update(channel, told, now)
        } else {
            return None;
        };
        Some((posted, self.version))
    }

    fn list(&self, channel: &Channel, now: Millis) -> Arc<Posted> {
        let mut memo = self.memo.borrow_mut();
        if let Some((_, posted)) = memo.list.as_ref().filter(|(version, _)| *version == self.version) {
            return posted.clone();
        }
        let users = self.members.values().take(self.limits.page);
        let users = users.map(|member| &member.user).collect();
        let list = List { users, more: self.is_crowd(), count: self.members.len() };
        let posted = post(channel, "presence", &list, now);
        memo.list = Some((self.version, posted.clone()));
        posted
    }

    fn update(&self, channel: &Channel, told: u64, now: Millis) -> Arc<Posted> {
        let mut memo = self.memo.borrow_mut();
        let known = memo.update.as_ref().filter(|(from, to, _)| (*from, *to) == (told, self.version));
        if let Some((_, _, posted)) = known {
            return posted.clone();
        }
        let mut update = Update { count: self.members.len(), ..Update::default() };
        let changes = self.changes.range(told + 1..).filter(|_| !self.is_crowd());
        for (_, identity) in changes {
            match self.members.get(identity) {
                Some(member) if member.joined > told => update.joined.push(&member.user),
                Some(member) => update.updated.push(&member.user),
                None => update.left.push(identity),
            }
        }
        let posted = post(channel, "presence_update", &update, now);
        memo.update = Some((told, self.version, posted.clone()));
        posted
    }
}

fn post(channel: &Channel, event: &str, data: &impl Serialize, now: Millis) -> Arc<Posted> {
    // Strings, numbers and JSON that was read always serialise.
    let json = serde_json::to_string(data).unwrap_or_else(|_| "{}".into());
    let sse::MessageFrame { frame, data, id_len } = sse::message(None, channel, event, &json);
    let (channel, event) = (channel.clone(), event.into());
    Arc::new(Posted { offset: 0, at: now, channel, event, to: Readers::All, data, frame, id_len })
}
