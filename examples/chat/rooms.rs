//! Rooms, and who is a member of them.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, put};
use axum::{Json, Router};
use examples_common::{Failure, Input, Refused};
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use tower_revalidate::Revalidate;

use crate::Chat;
use crate::messages::{self, Message};
use crate::session::User;

pub(crate) fn routes() -> Router<Chat> {
    Router::new()
        .route("/rooms", get(list).post(create))
        .route("/rooms/{id}/members/{user}", put(add).delete(remove))
}

/// A line of the list.
#[derive(Debug, Serialize)]
struct Room {
    id: i64,
    name: String,
    topic: String,
    members: Vec<Member>,
    /// Messages of others that this user has not read.
    unread: i64,
    last: Option<Message>,
}

#[derive(Debug, Serialize)]
struct Member {
    id: String,
    name: String,
}

/// The rooms of this user.
pub(crate) fn of(db: &Transaction<'_>, user: &str) -> Result<Vec<i64>, Refused> {
    let mut query = db.prepare("SELECT room FROM members WHERE user = ? ORDER BY room")?;
    let rooms = query.query_map([user], |row| row.get(0))?;
    Ok(rooms.collect::<Result<_, _>>()?)
}

/// Refuses all but members. It does not tell whether there is such a room.
pub(crate) fn members_only(db: &Transaction<'_>, room: i64, user: &str) -> Result<(), Refused> {
    let query = "SELECT 1 FROM members WHERE room = ? AND user = ?";
    match db.query_row(query, params![room, user], |_| Ok(())).optional()? {
        Some(()) => Ok(()),
        None => Err(Failure::new(StatusCode::FORBIDDEN, "Not a member of this room").into()),
    }
}

/// That the list changed, for those who have this room in theirs: the scope is of the members' grants.
pub(crate) fn changed(room: i64) -> Revalidate {
    Revalidate::key("rooms.list").to(("room", room))
}

async fn list(State(chat): State<Chat>, user: User) -> Result<Json<Vec<Room>>, Refused> {
    let rooms = chat.db.transaction(|db| {
        let rooms = of(db, &user.id)?;
        rooms.into_iter().map(|room| line(db, room, &user.id)).collect::<Result<_, _>>()
    })?;
    Ok(Json(rooms))
}

fn line(db: &Transaction<'_>, id: i64, user: &str) -> Result<Room, Refused> {
    let (name, topic) = db.query_row("SELECT name, topic FROM rooms WHERE id = ?", [id], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(Room {
        id,
        name,
        topic,
        members: members(db, id)?,
        unread: messages::unread(db, id, user)?,
        last: messages::newest(db, id)?,
    })
}

fn members(db: &Transaction<'_>, room: i64) -> Result<Vec<Member>, Refused> {
    let mut query =
        db.prepare("SELECT id, name FROM members JOIN users ON id = user WHERE room = ? ORDER BY id")?;
    let members = query.query_map([room], |row| Ok(Member { id: row.get(0)?, name: row.get(1)? }))?;
    Ok(members.collect::<Result<_, _>>()?)
}

#[derive(Debug, Deserialize)]
struct NewRoom {
    name: String,
    #[serde(default)]
    topic: String,
}

/// Whoever opens a room is its first member.
async fn create(
    State(chat): State<Chat>,
    user: User,
    Input(new): Input<NewRoom>,
) -> Result<impl IntoResponse, Refused> {
    let name = new.name.trim();
    if !(1..=40).contains(&name.chars().count()) || new.topic.chars().count() > 120 {
        return Err(
            Failure::invalid("A room needs a name of at most 40 characters, and 120 for its topic").into()
        );
    }
    let room = chat.db.transaction(|db| {
        let room = db.query_row(
            "INSERT INTO rooms (name, topic) VALUES (?, ?) RETURNING id",
            params![name, new.topic.trim()],
            |row| row.get(0),
        )?;
        db.execute("INSERT INTO members (room, user) VALUES (?, ?)", params![room, user.id])?;
        line(db, room, &user.id)
    })?;
    chat.hub.regrant(&user.id);
    Ok((StatusCode::CREATED, Json(room)))
}

/// By any member. The new one's streams come back with a grant to this room, and read everything anew.
async fn add(
    State(chat): State<Chat>,
    user: User,
    Path((room, new)): Path<(i64, String)>,
) -> Result<impl IntoResponse, Refused> {
    chat.db.transaction(|db| {
        members_only(db, room, &user.id)?;
        let known = "INSERT OR IGNORE INTO members (room, user) SELECT ?, id FROM users WHERE id = ?";
        db.execute(known, params![room, new])?;
        members_only(db, room, &new)
            .map_err(|_| Failure::invalid("There is nobody of that name aboard").into())
    })?;
    chat.hub.regrant(&new);
    Ok((StatusCode::NO_CONTENT, changed(room)))
}

/// By an admin, or by oneself. What was a member's stream ends at once.
async fn remove(
    State(chat): State<Chat>,
    user: User,
    Path((room, old)): Path<(i64, String)>,
) -> Result<impl IntoResponse, Refused> {
    let is_admin = user.roles.iter().any(|role| role == "admin");
    if *old != *user.id && !is_admin {
        return Err(Failure::new(StatusCode::FORBIDDEN, "Only an admin removes somebody else").into());
    }
    chat.db.transaction(|db| {
        members_only(db, room, &user.id)?;
        Ok(db.execute("DELETE FROM members WHERE room = ? AND user = ?", params![room, old])?)
    })?;
    chat.hub.regrant(&old);
    Ok((StatusCode::NO_CONTENT, changed(room)))
}
