//! Who is typing: [`Builder::typing`].
//!
//! A client emits `typing` with `{"isTyping": true}` on a channel such as `room:42:typing`, and the others who
//! follow it hear `{"userId","userName","isTyping"}`; who it is, the server says. Said again, it goes on; it is over
//! when the client says `false`, when it said nothing for five seconds, and when the user's last session ended. The
//! channels are [ephemeral](crate::Policy::ephemeral): nothing of it is kept for those who come back.
//!
//! ```
//! use tower_revalidate::{Grant, Hub};
//!
//! let hub = Hub::builder().typing("room:*:typing").build()?;
//! let member = Grant::user("alice").follow("room:42:typing").publish("room:42:typing");
//! # Ok::<(), tower_revalidate::BuildError>(())
//! ```

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::emit::Needs;
use crate::hub::{Builder, Shared};
use crate::proto::Millis;
use crate::{Channel, ClientEvent, Hub, IntoName, Pattern, Policy, Refusal};

/// How long it holds without being said again.
const HOLDS: Millis = 5000;
/// It is told at most once in this time, however often it is said; and as often while it goes on, for those who came
/// later.
const EVERY: Millis = 2000;

/// What a client says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Says {
    is_typing: bool,
}

/// What the others hear.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Typing<'a> {
    user_id: &'a str,
    user_name: &'a str,
    is_typing: bool,
}

struct Typist {
    name: String,
    until: Millis,
    told: Millis,
}

/// Who is typing where.
#[derive(Default)]
pub(crate) struct Typists {
    users: HashMap<Arc<str>, HashMap<Channel, Typist>>,
    until: BTreeSet<(Millis, Arc<str>, Channel)>,
}

impl Typists {
    /// A user types. Whether that is to be told.
    fn starts(&mut self, channel: &Channel, user: &Arc<str>, name: &str, now: Millis) -> bool {
        let typists = self.users.entry(user.clone()).or_default();
        let known = typists.remove(channel);
        let told = known.as_ref().map(|typist| typist.told);
        if let Some(typist) = known {
            self.until.remove(&(typist.until, user.clone(), channel.clone()));
        }
        let tells = told.is_none_or(|told| now >= told.saturating_add(EVERY));
        let (until, told) = (now.saturating_add(HOLDS), if tells { now } else { told.unwrap_or(now) });
        self.until.insert((until, user.clone(), channel.clone()));
        typists.insert(channel.clone(), Typist { name: name.to_owned(), until, told });
        tells
    }

    /// A user does no more. The name to tell it under, if it did.
    fn stops(&mut self, channel: &Channel, user: &Arc<str>) -> Option<String> {
        let typists = self.users.get_mut(user)?;
        let typist = typists.remove(channel)?;
        if typists.is_empty() {
            self.users.remove(user);
        }
        self.until.remove(&(typist.until, user.clone(), channel.clone()));
        Some(typist.name)
    }

    /// Who said nothing for too long.
    fn due(&self, now: Millis) -> Vec<(Arc<str>, Channel)> {
        let due = self.until.iter().take_while(|(until, ..)| *until <= now);
        due.map(|(_, user, channel)| (user.clone(), channel.clone())).collect()
    }

    fn of(&self, user: &str) -> Vec<Channel> {
        self.users.get(user).into_iter().flatten().map(|(channel, _)| channel.clone()).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// # Typing
impl Builder {
    /// Tells who is typing on the channels of a pattern, which become ephemeral. See [`typing`](crate::typing).
    pub fn typing(mut self, pattern: impl IntoName<Pattern>) -> Self {
        match pattern.into_name() {
            Ok(pattern) => {
                self.options.typing.push(pattern.clone());
                self.channel(pattern, Policy::ephemeral())
            }
            Err(error) => {
                self.refuse("typing", error.to_string());
                self
            }
        }
    }
}

/// Handles what clients say on these channels.
pub(crate) fn install(hub: &Hub, patterns: &[Pattern]) {
    for pattern in patterns {
        hub.on_built_in(pattern.clone(), "typing", Needs::Publish, async |event: ClientEvent<Says>| {
            let Some(user) = event.identity() else {
                return Err(Refusal::unauthorized("who types must be somebody"));
            };
            let user: Arc<str> = user.into();
            let shared = &event.hub().shared;
            let name = event.info().and_then(|info| info.get("name")?.as_str()).unwrap_or(&user);
            let now = shared.clock.now();
            let says = event.data.is_typing;
            let is_news = match says {
                true => shared.typists.lock().starts(event.channel(), &user, name, now),
                false => shared.typists.lock().stops(event.channel(), &user).is_some(),
            };
            if is_news {
                event.to_others("typing", &Typing { user_id: &user, user_name: name, is_typing: says });
            }
            Ok(())
        });
    }
}

impl Shared {
    /// Ends what was not said again.
    pub(crate) fn expire_typing(self: &Arc<Self>, now: Millis) {
        let due = self.typists.lock().due(now);
        due.into_iter().for_each(|(user, channel)| self.stop_typing(&user, &channel));
    }

    /// A session ended; a user without one types no more.
    pub(crate) fn end_typing(self: &Arc<Self>, user: &str) {
        let channels = self.typists.lock().of(user);
        if !channels.is_empty() && !self.board.has_sessions(user) {
            channels.iter().for_each(|channel| self.stop_typing(&user.into(), channel));
        }
    }

    fn stop_typing(self: &Arc<Self>, user: &Arc<str>, channel: &Channel) {
        let stopped = self.typists.lock().stops(channel, user);
        if let Some(name) = stopped {
            let hub = Hub { shared: self.clone() };
            let data = Typing { user_id: user, user_name: &name, is_typing: false };
            drop(hub.channel(channel).except(user).publish("typing", &data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_in_a_while_and_holds_until_it_is_not_said_again() {
        let mut typists = Typists::default();
        let (room, alice): (_, Arc<str>) = (Channel::from_static("room:1"), "alice".into());
        let mut told = Vec::new();
        for now in (0..10_000).step_by(500) {
            if typists.starts(&room, &alice, "Alice", now) {
                told.push(now);
            }
            assert_eq!(typists.due(now), []);
        }
        assert_eq!(told, [0, 2000, 4000, 6000, 8000]);
        assert_eq!(typists.due(9500 + HOLDS - 1), []);
        assert_eq!(typists.due(9500 + HOLDS), [(alice.clone(), room.clone())]);
        assert_eq!(typists.stops(&room, &alice).as_deref(), Some("Alice"));
        assert_eq!(typists.stops(&room, &alice), None);
        assert!(typists.is_empty() && typists.until.is_empty());
        assert!(typists.starts(&room, &alice, "Alice", 9501), "it begins again");
    }
}
