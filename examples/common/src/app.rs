//! [`App`]: what the demo does, and what it stores, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tower_revalidate::{Audit, Builder, Channel, Grant, Hub, IntoName, Pattern, Policy};

use crate::{Failure, Visitor};

const ANNOUNCEMENTS: &str = "announcements";

/// The hub's configuration, the same in each example. Strangers may follow the announcements, nothing else.
pub fn hub() -> Builder {
    Hub::builder()
        .channel(ANNOUNCEMENTS, Policy::history(256).public())
        .channel("room:*", Policy::history(256))
        .on_audit(|audit| {
            if let Audit::Fault(fault) = audit {
                eprintln!("what a handler said was refused: {fault}");
            }
        })
}

/// The app: a store and the hub that it publishes on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    hub: Hub,
    store: Arc<Mutex<Store>>,
}

#[derive(Debug)]
struct Store {
    posts: Vec<Post>,
    profiles: HashMap<String, Profile>,
    /// The members of each room.
    rooms: BTreeMap<&'static str, Vec<&'static str>>,
}

/// What `POST /posts` takes.
#[derive(Debug, Deserialize)]
pub struct NewPost {
    /// Not empty.
    pub title: String,
}

/// A post.
#[derive(Debug, Clone, Serialize)]
pub struct Post {
    /// Counted from 1.
    pub id: usize,
    /// Not empty.
    pub title: String,
}

/// What `GET /posts` answers.
#[derive(Debug, Serialize)]
pub struct Posts {
    /// The oldest first.
    pub posts: Vec<Post>,
}

/// What `PATCH /profile` takes, and `GET /profile` answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Profile {
    /// The name to show.
    pub name: String,
}

/// What `POST /rooms/{id}/messages` takes.
#[derive(Debug, Deserialize)]
pub struct NewMessage {
    /// Not empty.
    pub text: String,
}

/// The event `new_message` on `room:{id}`.
#[derive(Debug, Serialize)]
pub struct Message {
    /// Not empty.
    pub text: String,
    /// Who wrote it.
    pub sender: String,
}

/// What `POST /announce` takes, and the event `announcement` on `announcements`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Notice {
    /// Not empty.
    pub text: String,
}

impl App {
    /// An app with no posts, and one room, 1, of alice and bob.
    #[must_use]
    pub fn new(hub: Hub) -> Self {
        let rooms = BTreeMap::from([("1", vec!["alice", "bob"])]);
        let store = Store { posts: Vec::new(), profiles: HashMap::new(), rooms };
        App { hub, store: Arc::new(Mutex::new(store)) }
    }

    /// Who asks, and what they may hear. The example's own middleware puts both into the request's extensions,
    /// around the app *and* the mount.
    pub fn sign_in(&self, headers: &HeaderMap) -> (Visitor, Grant) {
        let visitor = Visitor::of(headers);
        let grant = match visitor.signed_in() {
            Some(name) => {
                let grant = Grant::user(name).follow(Pattern::children(("user", name)));
                let store = self.store.lock();
                let hers = store.rooms.iter().filter(|(_, members)| members.contains(&name));
                hers.fold(grant, |grant, (room, _)| grant.follow(("room", *room)))
            }
            None => Grant::anonymous(),
        };
        (visitor, grant)
    }

    /// `GET /posts`
    #[must_use]
    pub fn posts(&self) -> Posts {
        Posts { posts: self.store.lock().posts.clone() }
    }

    /// `POST /posts`. The example's response carries the `Revalidate`.
    ///
    /// # Errors
    /// 422 when the title is empty.
    pub fn add_post(&self, new: NewPost) -> Result<Post, Failure> {
        let title = filled(new.title, "A post needs a title")?;
        let mut store = self.store.lock();
        let post = Post { id: store.posts.len() + 1, title };
        store.posts.push(post.clone());
        Ok(post)
    }

    /// `GET /profile`
    ///
    /// # Errors
    /// 401 when nobody is signed in.
    pub fn profile(&self, visitor: &Visitor) -> Result<Profile, Failure> {
        let me = visitor.name()?;
        let stored = self.store.lock().profiles.get(me).cloned();
        Ok(stored.unwrap_or_else(|| Profile { name: me.to_owned() }))
    }

    /// `PATCH /profile`. The example's response carries the `Revalidate`, for the visitor's own sessions.
    ///
    /// # Errors
    /// 401 when nobody is signed in, 422 when the name is empty.
    pub fn rename(&self, visitor: &Visitor, new: Profile) -> Result<Profile, Failure> {
        let me = visitor.name()?;
        let profile = Profile { name: filled(new.name, "A profile needs a name")? };
        self.store.lock().profiles.insert(me.to_owned(), profile.clone());
        Ok(profile)
    }

    /// `POST /rooms/{id}/messages`: tells those who follow the room.
    ///
    /// # Errors
    /// 403 for all but members, 422 when the text is empty, 503 when the event was not accepted.
    pub async fn say(&self, visitor: &Visitor, room: &str, new: NewMessage) -> Result<Message, Failure> {
        let sender = visitor.signed_in().unwrap_or_default();
        let member = self.store.lock().rooms.get(room).is_some_and(|members| members.contains(&sender));
        if !member {
            return Err(Failure::new(StatusCode::FORBIDDEN, "Not a member of this room"));
        }
        let text = filled(new.text, "A message needs a text")?;
        let message = Message { text, sender: sender.to_owned() };
        self.publish(("room", room), "new_message", &message).await?;
        Ok(message)
    }

    /// `POST /announce`: tells everyone who follows the announcements.
    ///
    /// # Errors
    /// 422 when the text is empty, 503 when the event was not accepted.
    pub async fn announce(&self, new: Notice) -> Result<Notice, Failure> {
        let notice = Notice { text: filled(new.text, "An announcement needs a text")? };
        self.publish(ANNOUNCEMENTS, "announcement", &notice).await?;
        Ok(notice)
    }

    /// Answers once the event stands in the log: then nobody who follows the channel misses it silently.
    async fn publish(
        &self,
        channel: impl IntoName<Channel>,
        event: &str,
        data: &impl Serialize,
    ) -> Result<(), Failure> {
        match self.hub.channel(channel).publish(event, data).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        }
    }
}

fn filled(text: String, otherwise: &str) -> Result<String, Failure> {
    if text.trim().is_empty() { Err(Failure::invalid(otherwise)) } else { Ok(text) }
}
