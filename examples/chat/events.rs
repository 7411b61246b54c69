//! What pages say with `emit`. The hub has looked whether this user may speak on this channel, and whether the payload is
//! one of the type; those of one channel come one after the other.

use examples_common::{Failure, Refused};
use serde::{Deserialize, Serialize};
use tower_revalidate::{Channel, ClientEvent, Hub, Refusal};

use crate::Chat;
use crate::documents::{self, Change};
use crate::messages::{self, Said};

/// Where somebody is in a document, as UTF-16 counts.
#[derive(Debug, Deserialize)]
struct Move {
    position: u32,
}

/// The event `cursor_update`, for the others who look at the document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cursor<'a> {
    user_id: &'a str,
    user_name: &'a str,
    position: u32,
}

pub(crate) fn register(chat: &Chat) {
    // A handler that held the hub would keep it for ever.
    let Chat { db, aboard, hub } = chat.clone();
    let chat = move |hub: &Hub| Chat { db: db.clone(), aboard: aboard.clone(), hub: hub.clone() };

    let of = chat.clone();
    hub.on("room:*", "said", move |event: ClientEvent<Said>| {
        let chat = of(event.hub());
        async move {
            let (sender, room) = (who(&event)?.to_owned(), number(event.channel())?);
            messages::say(&chat, &sender, room, event.data).await.map_err(refusal)
        }
    });

    hub.on("doc:*", "change", move |event: ClientEvent<Change>| {
        let chat = chat(event.hub());
        async move {
            let (editor, room) = (who(&event)?.to_owned(), number(event.channel())?);
            documents::submit(&chat, &editor, room, event.data).await.map_err(refusal)
        }
    });

    hub.on("doc:*:cursors", "cursor_move", async |event: ClientEvent<Move>| {
        let user_id = who(&event)?;
        let name = event.info().and_then(|info| info["name"].as_str());
        let cursor = Cursor { user_id, user_name: name.unwrap_or(user_id), position: event.data.position };
        event.to_others("cursor_update", &cursor);
        Ok(())
    });
}

/// Who said it; the grant has said so.
fn who<T>(event: &ClientEvent<T>) -> Result<&str, Refusal> {
    event.identity().ok_or_else(|| Refusal::unauthorized("Sign in first"))
}

/// The room of `room:{id}` and `doc:{id}`.
fn number(channel: &Channel) -> Result<i64, Refusal> {
    let id = channel.as_str().split(':').nth(1).and_then(|id| id.parse().ok());
    id.ok_or_else(|| refusal(Failure::not_found().into()))
}

fn refusal(Refused(failure): Refused) -> Refusal {
    Refusal::new(failure.status(), failure.code(), failure.to_string())
}
