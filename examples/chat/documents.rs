//! A shared document in each room. Its version is decided in the database, by compare-and-set: of two who changed the
//! same version one is told of a conflict, and nothing of either is lost.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use examples_common::Refused;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::session::User;
use crate::{Chat, rooms, seed};

pub(crate) fn routes() -> Router<Chat> {
    Router::new().route("/rooms/{id}/document", get(document))
}

/// A document: what is read, and the event `change` of `doc:{id}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    version: i64,
    text: String,
    updated_by: Option<String>,
    updated_at: Option<i64>,
}

async fn document(
    State(chat): State<Chat>,
    user: User,
    Path(room): Path<i64>,
) -> Result<Json<Document>, Refused> {
    let document = chat.db.transaction(|db| {
        rooms::members_only(db, room, &user.id)?;
        current(db, room)
    })?;
    Ok(Json(document))
}

/// A room that nobody wrote one for has an empty one, of version 0.
fn current(db: &Transaction<'_>, room: i64) -> Result<Document, Refused> {
    let written = db.query_row("SELECT * FROM documents WHERE room = ?", [room], row).optional()?;
    Ok(written.unwrap_or(Document { version: 0, text: String::new(), updated_by: None, updated_at: None }))
}

/// The event `change` that a page sends on `doc:{id}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    /// The version that it was made of.
    base_version: i64,
    text: Text,
}

/// At most 8 000 characters.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Text(String);

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.chars().count() <= 8000 {
            Ok(Text(text))
        } else {
            Err("a document has at most 8000 characters")
        }
    }
}

/// What became of a change; the answer to who made it, and to nobody else.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub(crate) enum Outcome {
    Change(Document),
    #[serde(rename_all = "camelCase")]
    Conflict {
        current_version: i64,
        /// What stands there now.
        change: Document,
        /// Nobody but the one who wrote can say which it is to be.
        resolution: &'static str,
    },
}

/// The others hear of it in the order of the versions: handlers of one channel follow each other.
pub(crate) async fn submit(chat: &Chat, user: &str, room: i64, change: Change) -> Result<Outcome, Refused> {
    let outcome = chat.db.transaction(|db| {
        rooms::members_only(db, room, user)?;
        let before = current(db, room)?;
        if before.version != change.base_version {
            return Ok(Outcome::Conflict {
                current_version: before.version,
                change: before,
                resolution: "manual",
            });
        }
        let query =
            "INSERT INTO documents (room, version, text, updated_by, updated_at) VALUES (?, 1, ?, ?, ?)
                     ON CONFLICT DO UPDATE SET version = version + 1, text = excluded.text,
                     updated_by = excluded.updated_by, updated_at = excluded.updated_at RETURNING *";
        let Text(text) = &change.text;
        Ok(Outcome::Change(db.query_row(query, params![room, text, user, seed::now()], row)?))
    })?;
    if let Outcome::Change(document) = &outcome {
        // To all that look at it, other tabs of the same user too: a page passes over a version that it has.
        let told = chat.hub.channel(("doc", room)).publish("change", document);
        told.await.map_err(crate::unavailable)?;
    }
    Ok(outcome)
}

fn row(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document {
        version: row.get("version")?,
        text: row.get("text")?,
        updated_by: row.get("updated_by")?,
        updated_at: row.get("updated_at")?,
    })
}
