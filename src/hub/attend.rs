//! Presence on the [`Board`]: joining with a session that is open, what users say of themselves, and who is there.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::board::{Board, Closed, Seat};
use super::core::{Attending, Marked};
use crate::proto::TopicName;
use crate::{Channel, PresentUser};

impl Board {
    /// Is present in a channel with an open session, and hears who else is.
    pub(crate) fn join(
        &self,
        seat: &Seat,
        channel: &Channel,
        info: Option<&Arc<Value>>,
    ) -> Result<Marked, Closed> {
        self.with_seat(seat, |core, mut session| {
            let name = TopicName::Presence(channel.clone());
            let known = core.retention.find(&name);
            if !session.subs.iter().any(|sub| Some(sub.topic) == known) {
                let attending = Attending { identity: seat.ticket.identity.as_ref(), info };
                core.join(&mut session, seat.index, channel, attending);
            }
            session
        })
    }

    /// What a user says of itself where it is present; none if it is not.
    pub(crate) fn update_presence(
        &self,
        channel: &Channel,
        identity: &str,
        meta: Option<Arc<RawValue>>,
    ) -> Option<Marked> {
        let mut core = self.core.lock();
        let core = &mut *core;
        let fact = core.attendance.update(channel, identity, meta)?;
        core.attend(channel, &fact);
        let mut marked = Marked::default();
        core.settle_queue(&mut marked);
        Some(marked)
    }

    /// Whether any session of this user is open.
    pub(crate) fn has_sessions(&self, identity: &str) -> bool {
        let core = self.core.lock();
        let topic = core.retention.find(&TopicName::Identity(identity.into()));
        topic.and_then(|topic| core.retention.get(topic)).is_some_and(|topic| !topic.subscribers.is_empty())
    }

    /// Whether this user is present in a channel.
    pub(crate) fn is_present(&self, channel: &Channel, identity: &str) -> bool {
        self.core.lock().retention.roster(channel).is_some_and(|roster| roster.has(identity))
    }

    /// Some of those present in a channel, by name after this one, and how many they are in all.
    pub(crate) fn present(
        &self,
        channel: &Channel,
        after: Option<&str>,
        max: usize,
    ) -> (Vec<PresentUser>, usize) {
        let core = self.core.lock();
        let Some(roster) = core.retention.roster(channel) else { return (Vec::new(), 0) };
        (roster.after(after).take(max).cloned().collect(), roster.count())
    }
}
