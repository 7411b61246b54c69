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

    /// Who has left by now.
    pub(crate) fn due(&mut self, now: Millis) -> Vec<Left> {
        let mut left = Vec::new();
        while self.leaving.first().is_some_and(|(at, ..)| *at <= now) {
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
