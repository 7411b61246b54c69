//! What is said in a room, how far back one reads, and who has read what.

use std::collections::BTreeSet;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use examples_common::{Failure, Input, Refused};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower_revalidate::Revalidate;

use crate::notifications::{self, Notification};
use crate::session::{OFFICERS, User};
use crate::{Chat, dashboard, rooms, seed};

pub(crate) fn routes() -> Router<Chat> {
    Router::new()
        .route("/rooms/{id}/messages", get(history).post(write))
        .route("/rooms/{id}/read", post(read))
        .route("/rooms/{id}/status", get(status))
        .route("/messages/{id}/report", post(report))
        .route("/reports", get(reports))
}

/// A message: what the history answers, and the event `new_message` of `room:{id}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    id: i64,
    room: i64,
    sender: String,
    content: String,
    /// In ms since the epoch.
    created_at: i64,
    /// What its sender calls it: the page knows by it which one of those on their way this is.
    key: Option<String>,
}

/// What a page says: `POST /rooms/{id}/messages`, and the event `said` on `room:{id}`. Who says it, and when, is not
/// the page's to tell.
#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    content: Content,
    /// At most one message of a sender has this key: a second attempt says nothing twice.
    key: Option<Key>,
}

/// 1 to 1 000 characters, without blanks around them.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Content(String);

impl TryFrom<String> for Content {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.trim() {
            "" => Err("a message needs a text"),
            text if text.chars().count() > 1000 => Err("a message has at most 1000 characters"),
            text => Ok(Content(text.to_owned())),
        }
    }
}

/// At most 64 bytes.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Key(String);

impl TryFrom<String> for Key {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() <= 64 { Ok(Key(text)) } else { Err("a key has at most 64 bytes") }
    }
}

async fn write(
    State(chat): State<Chat>,
    user: User,
    Path(room): Path<i64>,
    Input(said): Input<Said>,
) -> Result<impl IntoResponse, Refused> {
    Ok((StatusCode::CREATED, Json(say(&chat, &user.id, room, said).await?)))
}

/// Stores it, then tells the room, whom it names, and the dashboard. Answers once the event stands in the log.
///
/// All is published before the first `await`: a client that goes away may have this dropped there.
pub(crate) async fn say(chat: &Chat, sender: &str, room: i64, said: Said) -> Result<Message, Refused> {
    let Content(text) = said.content;
    if text.to_lowercase().contains("mutiny") {
        return Err(Failure::invalid("No mutiny on this ship: the server refuses that word").into());
    }
    let (message, named) = chat.db.transaction(|db| {
        rooms::members_only(db, room, sender)?;
        let key = said.key.map(|Key(key)| key);
        let stored = "INSERT INTO messages (room, sender, content, created_at, key) VALUES (?, ?, ?, ?, ?)
                      ON CONFLICT DO NOTHING RETURNING *";
        let values = params![room, sender, text, seed::now(), key];
        match db.query_row(stored, values, message).optional()? {
            Some(message) => {
                let named = name(db, &message)?;
                Ok((message, named))
            }
            None => {
                let again = "SELECT * FROM messages WHERE room = ? AND sender = ? AND key = ?";
                Ok((db.query_row(again, params![room, sender, key], message)?, Vec::new()))
            }
        }
    })?;
    let told = chat.hub.channel(("room", room)).publish("new_message", &message);
    chat.hub.revalidate(rooms::changed(room));
    notifications::push(&chat.hub, &named);
    dashboard::publish(chat)?;
    told.await.map_err(crate::unavailable)?;
    Ok(message)
}

/// Notifies each other member whom the message names, as `@bob`.
fn name(db: &Transaction<'_>, message: &Message) -> Result<Vec<Notification>, Refused> {
    let words = message.content.split(|c: char| !(c.is_alphanumeric() || c == '@'));
    let named: BTreeSet<String> =
        words.filter_map(|word| word.strip_prefix('@')).map(str::to_lowercase).collect();
    let members = named.iter().filter(|user| **user != *message.sender);
    let mut notifications = Vec::new();
    for user in members {
        if rooms::members_only(db, message.room, user).is_err() {
            continue;
        }
        let title = format!("{} named you", seed::display_name(db, &message.sender)?);
        let data = json!({ "room": message.room, "message": message.id });
        notifications.push(notifications::store(db, user, "mention", &title, &message.content, &data)?);
    }
    Ok(notifications)
}

/// Which part of the history.
#[derive(Debug, Deserialize)]
struct Page {
    /// 1 to 100.
    #[serde(default = "fifty")]
    limit: u32,
    /// Only what is older than this message: the `before` of the page that one has.
    before: Option<i64>,
}

fn fifty() -> u32 {
    50
}

#[derive(Debug, Serialize)]
struct History {
    /// The oldest first.
    messages: Vec<Message>,
    /// What to ask for the page before this one with; none: there is none.
    before: Option<i64>,
}

async fn history(
    State(chat): State<Chat>,
    user: User,
    Path(room): Path<i64>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<History>, Refused> {
    let Query(page) = page.map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
    let limit = page.limit.clamp(1, 100);
    let mut messages = chat.db.transaction(|db| {
        rooms::members_only(db, room, &user.id)?;
        let query = "SELECT * FROM messages WHERE room = ? AND id < ? ORDER BY id DESC LIMIT ?";
        // One more, to know whether there are more.
        let values = params![room, page.before.unwrap_or(i64::MAX), limit + 1];
        Ok(db.prepare(query)?.query_map(values, message)?.collect::<Result<Vec<_>, _>>()?)
    })?;
    let more = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    let before = messages.last().filter(|_| more).map(|oldest| oldest.id);
    messages.reverse();
    Ok(Json(History { messages, before }))
}

pub(crate) fn newest(db: &Transaction<'_>, room: i64) -> Result<Option<Message>, Refused> {
    let query = "SELECT * FROM messages WHERE room = ? ORDER BY id DESC LIMIT 1";
    Ok(db.query_row(query, [room], message).optional()?)
}

/// How many messages of others in this room the user has not read.
pub(crate) fn unread(db: &Transaction<'_>, room: i64, user: &str) -> Result<i64, Refused> {
    let query = "SELECT count(*) FROM messages WHERE room = ?1 AND sender <> ?2
                 AND NOT EXISTS (SELECT 1 FROM receipts WHERE message = id AND user = ?2)";
    Ok(db.query_row(query, params![room, user], |row| row.get(0))?)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpTo {
    up_to: i64,
}

#[derive(Debug, Serialize)]
struct Marked {
    marked: usize,
}

/// Marks what others said, up to this message, as read. Each sender hears of it once, however many messages it were,
/// and the reader's other tabs that there is less to read.
async fn read(
    State(chat): State<Chat>,
    user: User,
    Path(room): Path<i64>,
    Input(UpTo { up_to }): Input<UpTo>,
) -> Result<impl IntoResponse, Refused> {
    let messages = chat.db.transaction(|db| {
        rooms::members_only(db, room, &user.id)?;
        let query = "INSERT INTO receipts (message, user, read_at)
                     SELECT id, ?2, ?4 FROM messages WHERE room = ?1 AND id <= ?3 AND sender <> ?2
                     ON CONFLICT DO NOTHING
                     RETURNING (SELECT sender FROM messages WHERE id = message)";
        let values = params![room, user.id, up_to, seed::now()];
        Ok(db.prepare(query)?.query_map(values, |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?)
    })?;
    let marked = Json(Marked { marked: messages.len() });
    if messages.is_empty() {
        return Ok((Revalidate::nothing(), marked));
    }
    let senders: BTreeSet<String> = messages.into_iter().collect();
    let status = Revalidate::key("messages.status").to_any(senders.iter().map(|sender| ("user", sender)));
    Ok((status.and(Revalidate::key("rooms.list").to(("user", user.id))), marked))
}

/// That somebody has read a message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    message_id: i64,
    user_id: String,
    status: &'static str,
    read_at: i64,
}

/// Of the newest 50 that this user said here: who has read them.
async fn status(
    State(chat): State<Chat>,
    user: User,
    Path(room): Path<i64>,
) -> Result<Json<Vec<Receipt>>, Refused> {
    let receipts = chat.db.transaction(|db| {
        rooms::members_only(db, room, &user.id)?;
        let query = "SELECT message, user, read_at FROM receipts WHERE message IN
                     (SELECT id FROM messages WHERE room = ? AND sender = ? ORDER BY id DESC LIMIT 50)
                     ORDER BY message, user";
        let receipt = |row: &Row<'_>| {
            Ok(Receipt {
                message_id: row.get(0)?,
                user_id: row.get(1)?,
                status: "read",
                read_at: row.get(2)?,
            })
        };
        Ok(db.prepare(query)?.query_map(params![room, user.id], receipt)?.collect::<Result<_, _>>()?)
    })?;
    Ok(Json(receipts))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    id: i64,
    reporter: String,
    sender: String,
    content: String,
    created_at: i64,
}

/// Tells the officers. Whoever is both admin and moderator hears of it once.
async fn report(
    State(chat): State<Chat>,
    user: User,
    Path(id): Path<i64>,
) -> Result<impl IntoResponse, Refused> {
    let alerts = chat.db.transaction(|db| {
        let reported = db.query_row("SELECT * FROM messages WHERE id = ?", [id], message)?;
        rooms::members_only(db, reported.room, &user.id)?;
        let query = "INSERT OR IGNORE INTO reports (message, reporter, created_at) VALUES (?, ?, ?)";
        if db.execute(query, params![id, user.id, seed::now()])? == 0 {
            return Ok(Vec::new());
        }
        let query = "SELECT DISTINCT user FROM roles WHERE role IN (?, ?) AND user <> ? ORDER BY user";
        let mut query = db.prepare(query)?;
        let officers = query.query_map(params![OFFICERS[0], OFFICERS[1], user.id], |row| row.get(0))?;
        let title = format!("{} reported a message", user.name);
        let data = json!({ "message": id });
        officers
            .map(|officer: rusqlite::Result<String>| {
                notifications::store(db, &officer?, "admin_alert", &title, &reported.content, &data)
            })
            .collect::<Result<_, _>>()
    })?;
    notifications::push(&chat.hub, &alerts);
    let officers = OFFICERS.map(|role| ("role", role));
    Ok((StatusCode::NO_CONTENT, Revalidate::key("reports.list").to_any(officers)))
}

async fn reports(State(chat): State<Chat>, user: User) -> Result<Json<Vec<Report>>, Refused> {
    if !user.is_officer() {
        return Err(Failure::new(StatusCode::FORBIDDEN, "Reports are for officers").into());
    }
    let reports = chat.db.transaction(|db| {
        let query = "SELECT r.id, reporter, sender, content, r.created_at FROM reports r
                     JOIN messages m ON m.id = message ORDER BY r.id DESC LIMIT 20";
        let report = |row: &Row<'_>| {
            Ok(Report {
                id: row.get(0)?,
                reporter: row.get(1)?,
                sender: row.get(2)?,
                content: row.get(3)?,
                created_at: row.get(4)?,
            })
        };
        Ok(db.prepare(query)?.query_map([], report)?.collect::<Result<_, _>>()?)
    })?;
    Ok(Json(reports))
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get("id")?,
        room: row.get("room")?,
        sender: row.get("sender")?,
        content: row.get("content")?,
        created_at: row.get("created_at")?,
        key: row.get("key")?,
    })
}
