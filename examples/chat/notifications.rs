//! Notifications: stored first, then pushed, to one user's sessions alone.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use examples_common::Refused;
use rusqlite::{Row, Transaction, params};
use serde::Serialize;
use serde_json::Value;
use tower_revalidate::{Hub, OwnStream, StreamError};

use crate::session::User;
use crate::{Chat, seed};

pub(crate) fn routes() -> Router<Chat> {
    Router::new()
        .route("/notifications", get(unread))
        .route("/notifications/stream", get(stream))
        .route("/notifications/read", post(read))
}

/// The event `notification` of `user:{id}:notifications`: the record as it is stored.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notification {
    id: i64,
    user_id: String,
    r#type: String,
    title: String,
    body: String,
    data: Value,
    read: bool,
    created_at: i64,
}

/// In the transaction of what it tells of.
pub(crate) fn store(
    db: &Transaction<'_>,
    user: &str,
    kind: &str,
    title: &str,
    body: &str,
    data: &Value,
) -> Result<Notification, Refused> {
    let query =
        "INSERT INTO notifications (user, type, title, body, data, created_at) VALUES (?, ?, ?, ?, ?, ?)
                 RETURNING *";
    let values = params![user, kind, title, body, data.to_string(), seed::now()];
    Ok(db.query_row(query, values, notification)?)
}

/// After the commit: whoever hears of it can read it.
pub(crate) fn push(hub: &Hub, notifications: &[Notification]) {
    for notification in notifications {
        hub.channel(("user", &notification.user_id, "notifications")).publish("notification", notification);
    }
}

#[derive(Debug, Serialize)]
struct Unread {
    /// The newest 10, the newest first.
    notifications: Vec<Notification>,
}

fn newest(db: &Transaction<'_>, user: &str) -> Result<Unread, Refused> {
    let query = "SELECT * FROM notifications WHERE user = ? AND NOT read ORDER BY id DESC LIMIT 10";
    let notifications = db.prepare(query)?.query_map([user], notification)?.collect::<Result<_, _>>()?;
    Ok(Unread { notifications })
}

async fn unread(State(chat): State<Chat>, user: User) -> Result<Json<Unread>, Refused> {
    Ok(Json(chat.db.transaction(|db| newest(db, &user.id))?))
}

/// What is unread, as `initial`, then each `notification` as it comes: what an `EventSource` reads, without our client.
///
/// The stream has its place in the order before the query, so that nothing is missed between the two; what was stored
/// before the query and is published after it comes twice, and the page knows it by its id. One that comes back with
/// its place hears what it missed, and no `initial`.
async fn stream(State(chat): State<Chat>, user: User, parts: Parts) -> Result<OwnStream, Response> {
    let mut stream = chat
        .hub
        .stream(&parts, [("user", &user.id, "notifications")])
        .map_err(IntoResponse::into_response)?;
    if !stream.resumed() {
        let unread = chat.db.transaction(|db| newest(db, &user.id)).map_err(IntoResponse::into_response)?;
        stream
            .send("initial", &unread)
            .map_err(|error| IntoResponse::into_response(StreamError::from(error)))?;
    }
    Ok(stream)
}

/// All of them. The user's other tabs hear of it on the same channel, as what came before it.
async fn read(State(chat): State<Chat>, user: User) -> Result<impl IntoResponse, Refused> {
    chat.db.transaction(|db| {
        Ok(db.execute("UPDATE notifications SET read = TRUE WHERE user = ? AND NOT read", [&user.id])?)
    })?;
    let told =
        chat.hub.channel(("user", &user.id, "notifications")).publish("notifications_read", &Value::Null);
    told.await.map_err(crate::unavailable)?;
    Ok(StatusCode::NO_CONTENT)
}

fn notification(row: &Row<'_>) -> rusqlite::Result<Notification> {
    let data: String = row.get("data")?;
    Ok(Notification {
        id: row.get("id")?,
        user_id: row.get("user")?,
        r#type: row.get("type")?,
        title: row.get("title")?,
        body: row.get("body")?,
        data: serde_json::from_str(&data).unwrap_or_default(),
        read: row.get("read")?,
        created_at: row.get("created_at")?,
    })
}
