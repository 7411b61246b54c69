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
    /// Since when it has been there at least now and then, as far as is remembered: who was told less than this
    /// does not know it.
    known: u64,
    joined: u64,
    changed: u64,
}

/// When who left, and since when it had been known.
struct Departure {
    known: u64,
    left: u64,
}

/// The members of a channel.
pub(crate) struct Roster {
    members: BTreeMap<Arc<str>, Member>,
    /// The members in the order of their last change.
    changed: BTreeMap<u64, Arc<str>>,
    left: HashMap<Arc<str>, Departure>,
    /// Those who left, in the order of it.
    departed: BTreeMap<u64, Arc<str>>,
    version: u64,
    /// When somebody joined or left last.
    counted: u64,
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
            changed: BTreeMap::new(),
            left: HashMap::new(),
            departed: BTreeMap::new(),
            // Who was told nothing stands at 0.
            version: 1,
            counted: 1,
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

    /// Takes a fact in. False if it is news to nobody.
    pub(crate) fn apply(&mut self, fact: &Attended) -> bool {
        let was_crowd = self.is_crowd();
        let version = self.version + 1;
        match fact {
            Attended::Here(user) => {
                match self.members.get_mut(&user.id) {
                    Some(member) if member.user == *user => return false,
                    Some(member) => {
                        self.changed.remove(&member.changed);
                        member.user = user.clone();
                        member.changed = version;
                    }
                    None => {
                        let departure = self.left.remove(&user.id);
                        let known = departure.map_or(version, |departure| {
                            self.departed.remove(&departure.left);
                            departure.known
                        });
                        let member = Member { user: user.clone(), known, joined: version, changed: version };
                        self.members.insert(user.id.clone(), member);
                        self.counted = version;
                    }
                }
                self.changed.insert(version, user.id.clone());
            }
            Attended::Gone(identity) => {
                let Some(member) = self.members.remove(identity) else { return false };
                self.changed.remove(&member.changed);
                self.left.insert(identity.clone(), Departure { known: member.known, left: version });
                self.departed.insert(version, identity.clone());
                self.counted = version;
            }
        }
        self.version = version;
        self.forget();
        if was_crowd != self.is_crowd() {
            self.floor = version;
        }
        self.limits.updates && self.news() == version
    }

    /// Keeps the number of those remembered who left.
    fn forget(&mut self) {
        if self.left.len() <= LEFT {
            return;
        }
        if let Some((version, identity)) = self.departed.pop_first() {
            self.left.remove(&identity);
            // A crowd is not told who left; when it is none any more, everyone is told the list.
            if !self.is_crowd() {
                self.floor = self.floor.max(version);
            }
        }
    }

    /// The last change that is told.
    fn news(&self) -> u64 {
        if self.is_crowd() { self.counted } else { self.version }
    }

    /// What is new for a session that was told up to `told`, if it must know, and up to where it is told then.
    pub(crate) fn read(
        &self,
        channel: &Channel,
        told: u64,
        now: Millis,
    ) -> Option<(Option<Arc<Posted>>, u64)> {
        let posted = if told == 0 || (told < self.floor && self.limits.updates) {
            Some(self.list(channel, now))
        } else if told < self.news() && self.limits.updates {
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

    /// None where those who are new to the session left again.
    fn update(&self, channel: &Channel, told: u64, now: Millis) -> Option<Arc<Posted>> {
        let mut memo = self.memo.borrow_mut();
        let known = memo.update.as_ref().filter(|(from, to, _)| (*from, *to) == (told, self.version));
        if let Some((_, _, posted)) = known {
            return Some(posted.clone());
        }
        let mut update = Update { count: self.members.len(), ..Update::default() };
        if !self.is_crowd() {
            for (_, identity) in self.changed.range(told + 1..) {
                match self.members.get(identity) {
                    Some(member) if member.joined > told => update.joined.push(&member.user),
                    Some(member) => update.updated.push(&member.user),
                    None => {}
                }
            }
            let departed = self.departed.range(told + 1..).map(|(_, identity)| identity);
            let was_known =
                |identity: &&Arc<str>| self.left.get(*identity).is_some_and(|left| left.known <= told);
            update.left.extend(departed.filter(was_known).map(|identity| &**identity));
            if update.joined.is_empty() && update.updated.is_empty() && update.left.is_empty() {
                return None;
            }
        }
        let posted = post(channel, "presence_update", &update, now);
        memo.update = Some((told, self.version, posted.clone()));
        Some(posted)
    }
}

fn post(channel: &Channel, event: &str, data: &impl Serialize, now: Millis) -> Arc<Posted> {
    // Strings, numbers and JSON that was read always serialise.
    let json = serde_json::to_string(data).unwrap_or_else(|_| "{}".into());
    let sse::MessageFrame { frame, data, id_len } = sse::message(None, channel, event, &json);
    let (channel, event) = (channel.clone(), event.into());
    Arc::new(Posted { offset: 0, at: now, channel, event, to: Readers::All, data, frame, id_len })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ROOMY: PresenceLimits = PresenceLimits { page: 1 << 20, updates: true };

    fn user(id: impl std::fmt::Display, info: u64) -> PresentUser {
        PresentUser { id: id.to_string().into(), info: Some(Arc::new(json!(info))), meta: None }
    }

    fn here(roster: &mut Roster, id: impl std::fmt::Display, info: u64) -> bool {
        roster.apply(&Attended::Here(user(id, info)))
    }

    fn gone(roster: &mut Roster, id: impl std::fmt::Display) -> bool {
        roster.apply(&Attended::Gone(id.to_string().into()))
    }

    /// A session with what its client knows.
    #[derive(Default)]
    struct Reader {
        told: u64,
        users: BTreeMap<String, Value>,
        count: u64,
        more: bool,
    }

    impl Reader {
        /// What it is told, if anything; its client takes it in.
        fn read(&mut self, roster: &Roster) -> Option<(String, Value)> {
            let (posted, told) = roster.read(&Channel::new("room").unwrap(), self.told, 0)?;
            self.told = told;
            let posted = posted?;
            let data: Value = serde_json::from_slice(&posted.data).unwrap();
            let of = |list: &str| data[list].as_array().cloned().unwrap_or_default();
            if &*posted.event == "presence" {
                self.users.clear();
                self.more = data["more"] == true;
            }
            for user in ["users", "joined", "updated"].iter().flat_map(|list| of(list)) {
                self.users.insert(user["userId"].as_str().unwrap().to_owned(), user);
            }
            for left in of("left") {
                self.users.remove(left.as_str().unwrap());
            }
            self.count = data["count"].as_u64().unwrap();
            Some((posted.event.to_string(), data))
        }

        fn assert_knows(&self, roster: &Roster, at: &str) {
            assert_eq!(self.count, roster.count() as u64, "{at}");
            assert_eq!(self.more, roster.is_crowd(), "{at}");
            if !self.more {
                let users = roster.after(None).map(|user| serde_json::to_value(user).unwrap());
                assert_eq!(
                    self.users.values().cloned().collect::<Vec<_>>(),
                    users.collect::<Vec<_>>(),
                    "{at}"
                );
            }
        }
    }

    #[test]
    fn whoever_reads_at_random_moments_knows_the_truth() {
        for seed in 0..40 {
            let mut rng = fastrand::Rng::with_seed(seed);
            // Few and many, at the edge of a crowd, and more than are remembered.
            let ids = *rng.choice(&[3, 20, 400, 1000]).unwrap();
            let page = *rng.choice(&[1, 2, 10, 100, 1 << 20]).unwrap();
            let mut roster = Roster::new(PresenceLimits { page, updates: true });
            let mut readers: [Reader; 5] = std::array::from_fn(|_| Reader::default());
            for step in 0..2000 {
                let id = rng.u32(0..ids);
                match rng.u32(0..10) {
                    0..4 => _ = here(&mut roster, id, rng.u64(0..3)),
                    4..8 => _ = gone(&mut roster, id),
                    // The first reads often, the last hardly ever.
                    _ => {
                        let index = rng.usize(0..readers.len());
                        if rng.u32(0..1 << (2 * index)) == 0 {
                            readers[index].read(&roster);
                            readers[index].assert_knows(&roster, &format!("seed {seed}, step {step}"));
                            assert!(readers[index].read(&roster).is_none(), "seed {seed}: told twice");
                        }
                    }
                }
                assert!(roster.left.len() <= LEFT && roster.departed.len() == roster.left.len());
                assert_eq!(roster.changed.len(), roster.count());
            }
            for reader in &mut readers {
                reader.read(&roster);
                reader.assert_knows(&roster, &format!("seed {seed}, at the end"));
            }
        }
    }

    #[test]
    fn whoever_came_and_went_between_two_reads_is_not_told() {
        let mut roster = Roster::new(ROOMY);
        let mut reader = Reader::default();
        here(&mut roster, "alice", 0);
        reader.read(&roster);
        for _ in 0..3 {
            here(&mut roster, "bob", 0);
            gone(&mut roster, "bob");
        }
        assert_eq!(reader.read(&roster), None);
        // Alice was known, however often she comes back in between.
        gone(&mut roster, "alice");
        here(&mut roster, "alice", 0);
        gone(&mut roster, "alice");
        let told = reader.read(&roster);
        assert_eq!(told, Some(("presence_update".into(), json!({"left": ["alice"], "count": 0}))));
    }

    #[test]
    fn only_who_missed_what_was_forgotten_is_told_the_list_again() {
        let mut roster = Roster::new(ROOMY);
        (0..=LEFT).for_each(|id| _ = here(&mut roster, id, 0));
        let [mut before, mut after] = std::array::from_fn(|_| Reader::default());
        before.read(&roster);
        gone(&mut roster, 0);
        after.read(&roster);
        (1..=LEFT).for_each(|id| _ = gone(&mut roster, id));
        // One more than is remembered: that `0` left is forgotten.
        assert_eq!(after.read(&roster).unwrap().0, "presence_update");
        assert_eq!(before.read(&roster).unwrap(), ("presence".into(), json!({"users": [], "count": 0})));
    }

    #[test]
    fn a_crowd_hears_a_number_alone_however_many_left() {
        let mut roster = Roster::new(PresenceLimits { page: 2, updates: true });
        (0..2 * LEFT).for_each(|id| _ = here(&mut roster, id, 0));
        let mut reader = Reader::default();
        let list = reader.read(&roster).unwrap();
        assert_eq!(
            list,
            ("presence".into(), json!({"users": [user(0, 0), user(1, 0)], "more": true, "count": 2 * LEFT}))
        );
        (2..LEFT + 20).for_each(|id| _ = gone(&mut roster, id));
        assert_eq!(reader.read(&roster), Some(("presence_update".into(), json!({"count": LEFT - 18}))));
        assert!(!here(&mut roster, 0, 1), "what one of a crowd says of itself is news to nobody");
        assert_eq!(reader.read(&roster), None);
        let mut joiner = Reader::default();
        let list = joiner.read(&roster).unwrap();
        assert_eq!(list.1["users"][0], json!(user(0, 1)), "but who comes anew sees it");
        // No crowd any more: the list comes, with all that was left out.
        (LEFT + 20..2 * LEFT).for_each(|id| _ = gone(&mut roster, id));
        let list = Some(("presence".to_owned(), json!({"users": [user(0, 1), user(1, 0)], "count": 2})));
        assert_eq!([reader.read(&roster), joiner.read(&roster)], [list.clone(), list]);
    }

    /// Row F12.
    #[test]
    fn without_updates_the_first_list_is_the_only_one() {
        let mut roster = Roster::new(PresenceLimits { page: 2, updates: false });
        let mut reader = Reader::default();
        assert_eq!(reader.read(&roster).unwrap().0, "presence");
        for id in 0..2 * LEFT {
            assert!(!here(&mut roster, id, 0), "it is news to nobody");
            assert_eq!(reader.read(&roster), None, "into a crowd");
        }
        for id in 0..2 * LEFT {
            assert!(!gone(&mut roster, id));
            assert_eq!(reader.read(&roster), None, "out of it, and past what is remembered");
        }
    }
}
