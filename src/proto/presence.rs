//! [`Attendance`]: who is present through the sessions of this process, and when one of them has left.
//!
//! A member is a user, however many sessions it has: a second one changes nothing, and neither does the end of one
//! of two. Whose last session closed has left after a grace period, so that a reload is no leave and a join.
//! What changes comes out as [`Attended`], a fact about one user in one channel, which the channel's
//! [`Roster`](super::Roster) takes in. So rosters know nothing of sessions and clocks, and a fact may as well come
//! from elsewhere.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Millis;
use crate::{Channel, PresentUser};

/// What became of a user in a channel.
#[derive(Debug, Clone)]
pub(crate) enum Attended {
    /// It is there, as this. Said again, it is an update.
    Here(PresentUser),
    Gone(Arc<str>),
}

/// A user that left a channel, for hooks.
#[derive(Debug, Clone)]
pub(crate) struct Left {
    pub(crate) channel: Channel,
    pub(crate) identity: Arc<str>,
    pub(crate) info: Option<Arc<Value>>,
}

struct Here {
    user: PresentUser,
    sessions: usize,
    leaves_at: Option<Millis>,
}

/// The users with sessions in this process, by user and channel.
#[derive(Default)]
pub(crate) struct Attendance {
    users: HashMap<Arc<str>, HashMap<Channel, Here>>,
    leaving: BTreeSet<(Millis, Arc<str>, Channel)>,
}

impl Attendance {
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// A session of this user joined the channel. What that changes for others, if anything.
    pub(crate) fn enter(
        &mut self,
        channel: &Channel,
        identity: &Arc<str>,
        info: Option<&Arc<Value>>,
    ) -> Option<Attended> {
        let channels = self.users.entry(identity.clone()).or_default();
        match channels.entry(channel.clone()) {
            Entry::Vacant(free) => {
                let user = PresentUser { id: identity.clone(), info: info.cloned(), meta: None };
                free.insert(Here { user: user.clone(), sessions: 1, leaves_at: None });
                Some(Attended::Here(user))
            }
            Entry::Occupied(mut here) => {
                let here = here.get_mut();
                here.sessions += 1;
                if let Some(at) = here.leaves_at.take() {
                    self.leaving.remove(&(at, identity.clone(), channel.clone()));
                }
                // The newest session knows best what the user is called now.
                let is_news = here.user.info.as_ref() != info;
                is_news.then(|| {
                    here.user.info = info.cloned();
                    Attended::Here(here.user.clone())
                })
            }
        }
    }

    /// A session of this user ended. If it was the last, the user has left at `leaves_at`.
    pub(crate) fn exit(&mut self, channel: &Channel, identity: &Arc<str>, leaves_at: Millis) {
        let channels = self.users.get_mut(identity);
        let Some(here) = channels.and_then(|channels| channels.get_mut(channel)) else { return };
        here.sessions = here.sessions.saturating_sub(1);
        if here.sessions == 0 {
            here.leaves_at = Some(leaves_at);
            self.leaving.insert((leaves_at, identity.clone(), channel.clone()));
        }
    }

    /// Whose last session closed leaves now: the user signed out.
    pub(crate) fn hurry(&mut self, identity: &str) {
        let Some((identity, channels)) = self.users.get_key_value(identity) else { return };
        let left = channels.iter().filter_map(|(channel, here)| Some((here.leaves_at?, channel.clone())));
        let left: Vec<_> = left.collect();
        let identity = identity.clone();
        for (at, channel) in left {
            self.leaving.remove(&(at, identity.clone(), channel.clone()));
            self.leaving.insert((0, identity.clone(), channel.clone()));
            if let Some(here) = self.users.get_mut(&identity).and_then(|channels| channels.get_mut(&channel))
            {
                here.leaves_at = Some(0);
            }
        }
    }

    /// What a user says of itself in a channel; none if it is not there.
    pub(crate) fn update(
        &mut self,
        channel: &Channel,
        identity: &str,
        meta: Option<Arc<RawValue>>,
    ) -> Option<Attended> {
        let here = self.users.get_mut(identity)?.get_mut(channel)?;
        here.user.meta = meta;
        Some(Attended::Here(here.user.clone()))
    }

    /// How many are present without a session.
    pub(crate) fn lingering(&self) -> usize {
        self.leaving.len()
    }

    /// Who has left by now, at most `max` of them.
    pub(crate) fn due(&mut self, now: Millis, max: usize) -> Vec<Left> {
        let mut left = Vec::new();
        while left.len() < max && self.leaving.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, identity, channel)) = self.leaving.pop_first() else { break };
            let Some(channels) = self.users.get_mut(&identity) else { continue };
            let info = channels.remove(&channel).and_then(|here| here.user.info);
            if channels.is_empty() {
                self.users.remove(&identity);
            }
            left.push(Left { channel, identity, info });
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GRACE: Millis = 50;

    fn channel(id: u32) -> Channel {
        Channel::new(("room", id)).unwrap()
    }

    fn identity(id: u32) -> Arc<str> {
        id.to_string().into()
    }

    /// A user in a channel, as a model keeps it.
    #[derive(Default, Clone)]
    struct Model {
        sessions: u32,
        leaves_at: Option<Millis>,
        info: Option<Arc<Value>>,
        meta: Option<String>,
        is_present: bool,
    }

    /// What came out so far, as a roster would take it in.
    type Seen = HashMap<(u32, u32), PresentUser>;

    #[test]
    fn facts_are_told_once_and_tell_the_truth() {
        for seed in 0..100 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (users, channels) = (rng.u32(1..6), rng.u32(1..4));
            let mut attendance = Attendance::default();
            let mut models: HashMap<(u32, u32), Model> = HashMap::new();
            let mut seen = Seen::new();
            let mut now = 0;
            for step in 0..400 {
                let (who, place) = (rng.u32(0..users), rng.u32(0..channels));
                let model = models.entry((who, place)).or_default();
                let fact = match rng.u32(0..10) {
                    0..4 => {
                        let info = (rng.u32(0..4) > 0).then(|| Arc::new(json!(rng.u32(0..8) / 7)));
                        let is_news = !model.is_present || model.info != info;
                        if !model.is_present {
                            model.meta = None;
                        }
                        model.sessions += 1;
                        (model.is_present, model.leaves_at, model.info) = (true, None, info.clone());
                        let fact = attendance.enter(&channel(place), &identity(who), info.as_ref());
                        assert_eq!(fact.is_some(), is_news, "seed {seed}, step {step}");
                        fact
                    }
                    4..8 => {
                        if model.sessions > 0 {
                            model.sessions -= 1;
                            model.leaves_at = (model.sessions == 0).then_some(now + GRACE);
                            attendance.exit(&channel(place), &identity(who), now + GRACE);
                        }
                        None
                    }
                    8 => {
                        let meta = rng.bool().then(|| rng.u32(0..3).to_string());
                        let raw = meta.clone().map(|meta| RawValue::from_string(meta).unwrap().into());
                        let fact = attendance.update(&channel(place), &identity(who), raw);
                        assert_eq!(fact.is_some(), model.is_present, "seed {seed}, step {step}");
                        if model.is_present {
                            model.meta = meta;
                        }
                        fact
                    }
                    _ => {
                        attendance.hurry(&identity(who));
                        for ((user, _), model) in &mut models {
                            model.leaves_at = model.leaves_at.map(|at| if *user == who { 0 } else { at });
                        }
                        None
                    }
                };
                if let Some(Attended::Here(user)) = fact {
                    seen.insert((who, place), user);
                }
                now += rng.u64(0..30);
                let left = attendance.due(now, usize::MAX);
                for gone in &left {
                    let id = models.iter_mut().find(|((user, place), _)| {
                        identity(*user) == gone.identity && channel(*place) == gone.channel
                    });
                    let (id, model) = id.unwrap();
                    assert!(model.leaves_at.is_some_and(|at| at <= now), "seed {seed}, step {step}");
                    assert_eq!(gone.info, model.info);
                    (model.is_present, model.leaves_at) = (false, None);
                    assert!(seen.remove(id).is_some(), "seed {seed}, step {step}: it left twice");
                }
                for (id, model) in &models {
                    assert!(model.leaves_at.is_none_or(|at| at > now), "seed {seed}, step {step}: overdue");
                    let told = seen.get(id).map(|user| {
                        (user.info.clone(), user.meta.as_ref().map(|meta| meta.get().to_owned()))
                    });
                    let truth = model.is_present.then(|| (model.info.clone(), model.meta.clone()));
                    assert_eq!(told, truth, "seed {seed}, step {step}");
                }
                let lingering = models.values().filter(|model| model.leaves_at.is_some()).count();
                assert_eq!(attendance.lingering(), lingering, "seed {seed}, step {step}");
            }
            for ((who, place), model) in models {
                (0..model.sessions).for_each(|_| attendance.exit(&channel(place), &identity(who), now));
            }
            attendance.due(now + GRACE, usize::MAX);
            assert!(attendance.is_empty() && attendance.lingering() == 0, "seed {seed}: something stays");
        }
    }

    #[test]
    fn many_leave_in_portions_and_the_first_go_first() {
        let mut attendance = Attendance::default();
        for id in 0..10 {
            attendance.enter(&channel(1), &identity(id), None);
            attendance.exit(&channel(1), &identity(id), 100 - u64::from(id));
        }
        let mut left = || attendance.due(98, 5).into_iter().map(|left| left.identity.to_string()).collect();
        let left: [Vec<String>; 3] = std::array::from_fn(|_| left());
        assert_eq!(left, [vec!["9", "8", "7", "6", "5"], vec!["4", "3", "2"], vec![]]);
        assert_eq!(attendance.lingering(), 2);
    }
}
