//! Who is there: [`Presence`] of a channel, as the server sees it.
//!
//! A stream that asks for `presence=room:1` has its user be present in `room:1`, as far as the
//! [`Grant`](crate::Grant) lets it follow that channel, and hears who else is: a snapshot that holds itself, then
//! who joined, left or said something new of itself. Members are users, however many tabs they have open; whose
//! last session ended has left after a grace period, and at once when
//! [`Hub::disconnect_user`](crate::Hub::disconnect_user) signs the user out. Sessions without a user hear and are
//! not seen, where their grant names the channel: that a channel is [public](crate::Policy::public) does not make public
//! who is there. Of a user nothing is shown but its id and the grant's public [`info`](crate::Grant::info).
//!
//! ```
//! use tower_revalidate::{Grant, Hub};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new();
//! let grant = |user| Grant::user(user).info(serde_json::json!({"name": user})).follow("room:*");
//! let alice = hub.subscribe(grant("alice"))?.join(("room", 1))?; // as a stream with `presence=room:1`
//! let bob = hub.subscribe(grant("bob"))?.join(("room", 1))?;
//! let page = hub.presence(("room", 1))?.page(None, 100);
//! assert_eq!(page.users.iter().map(|user| &*user.id).collect::<Vec<_>>(), ["alice", "bob"]);
//! # Ok(()) }
//! ```

use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::emit::Needs;
use crate::{Channel, ClientEvent, Hub, Pattern, Refusal};

/// How much a user says of itself, as JSON.
const META_BYTES: usize = 1024;

/// A user as others see it. On the wire `{"userId","info","meta"}`, without what is not there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PresentUser {
    /// The identity of its grant.
    #[serde(rename = "userId")]
    pub id: Arc<str>,
    /// The public info of its grant; of the newest one, if the user's sessions differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Arc<Value>>,
    /// What it says of itself, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Arc<RawValue>>,
}

impl PartialEq for PresentUser {
    fn eq(&self, other: &Self) -> bool {
        let meta = |of: &'_ Self| of.meta.as_ref().map(|meta| meta.get().to_owned());
        self.id == other.id && self.info == other.info && meta(self) == meta(other)
    }
}

/// Some of those present in a channel; of [`Presence::page`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PresencePage {
    /// Sorted by id.
    pub users: Vec<PresentUser>,
    /// How many users are present in all.
    pub count: usize,
    /// The last id of these, if there are more behind it.
    pub next: Option<Arc<str>>,
}

/// Who is present in a channel; of [`Hub::presence`].
#[derive(Debug, Clone)]
pub struct Presence<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) channel: Channel,
}

impl Presence<'_> {
    /// The first users behind this id, at most `limit` of them.
    #[must_use]
    pub fn page(&self, after: Option<&str>, limit: usize) -> PresencePage {
        // One more than asked for tells whether there are more.
        let (mut users, count) = self.hub.shared.board.present(&self.channel, after, limit.saturating_add(1));
        let is_cut = users.len() > limit;
        users.truncate(limit);
        let next = users.last().filter(|_| is_cut).map(|last| last.id.clone());
        PresencePage { users, count, next }
    }

    /// How many users are present.
    #[must_use]
    pub fn count(&self) -> usize {
        self.hub.shared.board.present(&self.channel, None, 0).1
    }

    /// Whether this user is.
    #[must_use]
    pub fn has(&self, identity: &str) -> bool {
        self.hub.shared.board.is_present(&self.channel, identity)
    }
}

pub(crate) fn not_present() -> Refusal {
    let message = "who is not present in a channel says nothing of itself there";
    Refusal::new(StatusCode::CONFLICT, "notpresent", message)
}

/// Handles what users say of themselves: `presence_update` on a channel where they are present. No right to publish
/// is needed: it shows in the presence alone.
pub(crate) fn install(hub: &Hub) {
    hub.on_built_in(
        Pattern::any(),
        "presence_update",
        Needs::Presence,
        async |event: ClientEvent<Box<RawValue>>| {
            if event.data.get().len() > META_BYTES {
                let message = format!("what a user says of itself is over {META_BYTES} bytes");
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "toolarge", message));
            }
            let shared = &event.hub().shared;
            let meta = (event.data.get() != "null").then(|| Arc::from(event.data.clone()));
            let updated = event
                .identity()
                .and_then(|identity| shared.board.update_presence(event.channel(), identity, meta));
            match updated {
                Some(marked) => shared.act(marked),
                // It left while it stood in the line.
                None => return Err(not_present()),
            }
            Ok(())
        },
    );
}
