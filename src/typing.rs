//! Who is typing: [`Builder::typing`].
//!
//! A client emits `typing` with `{"isTyping": true}` on a channel such as `room:42:typing`, and the others who
//! follow it hear `{"userId","userName","isTyping"}`; who it is, the server says. Said again, it goes on; it is over
//! when the client says `false`, when it said nothing for five seconds, and when the user's last session ended. The
//! channels are [ephemeral](crate::Policy::ephemeral): nothing of it is kept for those who come back. A user types in at
//! most 32 of them at once; one more is 429 `limited`.
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

use http::StatusCode;
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
/// In how many channels a user types at once: a person in one, and a script should not hold more.
const PLACES: usize = 32;
/// How many are ended in one go.
const AT_ONCE: usize = 64;

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
    /// A user types. Whether that is to be told; none where it types in too many places.
    fn starts(&mut self, channel: &Channel, user: &Arc<str>, name: &str, now: Millis) -> Option<bool> {
        let places = self.users.get(user);
        let told = places.and_then(|places| places.get(channel)).map(|typist| typist.told);
        if told.is_none() && places.is_some_and(|places| places.len() >= PLACES) {
            return None;
        }
        let typists = self.users.entry(user.clone()).or_default();
        if let Some(known) = typists.remove(channel) {
            self.until.remove(&(known.until, user.clone(), channel.clone()));
        }
        let tells = told.is_none_or(|told| now >= told.saturating_add(EVERY));
        let (until, told) = (now.saturating_add(HOLDS), if tells { now } else { told.unwrap_or(now) });
        self.until.insert((until, user.clone(), channel.clone()));
        typists.insert(channel.clone(), Typist { name: name.to_owned(), until, told });
        Some(tells)
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

    /// Who said nothing for too long does no more: where, who, and the name to tell it under. At most `max`.
    fn stop_due(&mut self, now: Millis, max: usize) -> Vec<(Channel, Arc<str>, String)> {
        let mut stopped = Vec::new();
        while stopped.len() < max && self.until.first().is_some_and(|(until, ..)| *until <= now) {
            let Some((_, user, channel)) = self.until.pop_first() else { break };
            let name = self.stops(&channel, &user);
            stopped.extend(name.map(|name| (channel, user, name)));
        }
        stopped
    }

    fn types(&self, channel: &Channel, user: &str) -> bool {
        self.users.get(user).is_some_and(|places| places.contains_key(channel))
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
            let tell = |is_typing| {
                let typing = Typing { user_id: &user, user_name: name, is_typing };
                event.to_others("typing", &typing);
            };
            if !event.data.is_typing {
                let stopped = shared.typists.lock().stops(event.channel(), &user);
                if stopped.is_some() {
                    tell(false);
                }
                return Ok(());
            }
            let begun = shared.typists.lock().starts(event.channel(), &user, name, shared.clock.now());
            let Some(is_news) = begun else {
                let message = "nobody types in so many places at once";
                return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "limited", message));
            };
            if is_news {
                // Where no stream is open nobody else starts the task that ends it.
                shared.kick();
                tell(true);
                // The user's last session may have closed meanwhile, which was told already: the end is told last.
                if !shared.typists.lock().types(event.channel(), &user) {
                    tell(false);
                }
            }
            Ok(())
        });
    }
}

impl Shared {
    /// Ends what was not said again, some of it. True if there is more.
    pub(crate) fn expire_typing(self: &Arc<Self>, now: Millis) -> bool {
        let due = self.typists.lock().stop_due(now, AT_ONCE);
        let is_cut = due.len() == AT_ONCE;
        due.iter().for_each(|(channel, user, name)| self.tell_stopped(channel, user, name));
        is_cut
    }

    /// A session ended; a user without one types no more.
    pub(crate) fn end_typing(self: &Arc<Self>, user: &str) {
        let channels = self.typists.lock().of(user);
        if channels.is_empty() || self.board.has_sessions(user) {
            return;
        }
        let user: Arc<str> = user.into();
        for channel in &channels {
            let stopped = self.typists.lock().stops(channel, &user);
            stopped.into_iter().for_each(|name| self.tell_stopped(channel, &user, &name));
        }
    }

    fn tell_stopped(self: &Arc<Self>, channel: &Channel, user: &str, name: &str) {
        let hub = Hub { shared: self.clone() };
        let data = Typing { user_id: user, user_name: name, is_typing: false };
        drop(hub.channel(channel).except(user).publish("typing", &data));
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
            if typists.starts(&room, &alice, "Alice", now) == Some(true) {
                told.push(now);
            }
            assert_eq!(typists.stop_due(now, 9), []);
        }
        assert_eq!(told, [0, 2000, 4000, 6000, 8000]);
        assert_eq!(typists.stop_due(9500 + HOLDS - 1, 9), []);
        assert_eq!(typists.stop_due(9500 + HOLDS, 9), [(room.clone(), alice.clone(), "Alice".into())]);
        assert!(!typists.types(&room, &alice));
        assert_eq!(typists.stops(&room, &alice), None);
        assert!(typists.is_empty() && typists.until.is_empty());
        assert_eq!(typists.starts(&room, &alice, "Alice", 9501), Some(true), "it begins again");
        assert_eq!(typists.stops(&room, &alice).as_deref(), Some("Alice"));
    }

    #[test]
    fn many_end_in_portions() {
        let mut typists = Typists::default();
        let room = Channel::from_static("room:1");
        for id in 0..10 {
            assert_eq!(typists.starts(&room, &Arc::from(id.to_string()), "", id), Some(true));
        }
        let sizes: [usize; 4] = std::array::from_fn(|_| typists.stop_due(6 + HOLDS, 3).len());
        assert_eq!(sizes, [3, 3, 1, 0]);
    }
}
