//! Who is who: the sign-in, and the [`Grant`] that follows from it.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use examples_common::{Failure, Input, Refused};
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower_revalidate::{Grant, Pattern};

use crate::{Chat, rooms};

/// Somebody who is signed in; as an extractor, 401 where nobody is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) roles: Vec<String>,
}

impl User {
    /// Whether reports go to this one.
    pub(crate) fn is_officer(&self) -> bool {
        self.roles.iter().any(|role| OFFICERS.contains(&role.as_str()))
    }
}

/// Roles that hear of reports.
pub(crate) const OFFICERS: [&str; 2] = ["admin", "moderator"];

pub(crate) fn routes() -> Router<Chat> {
    Router::new().route("/session", get(session).post(begin).delete(end)).route("/people", get(people))
}

/// A middleware around all else, the realtime endpoint too: the hub finds the [`Grant`] in the request's extensions.
pub(crate) async fn sign_in(State(chat): State<Chat>, mut request: Request, next: Next) -> Response {
    let Some(token) = token(request.headers()) else {
        return next.run(request).await;
    };
    match chat.db.transaction(|db| Ok(who(db, token)?.map(|user| (grant(db, &user), user)))) {
        Ok(Some((grant, user))) => {
            request.extensions_mut().insert(user);
            request.extensions_mut().insert(match grant {
                Ok(grant) => grant,
                Err(refused) => return refused.into_response(),
            });
        }
        Ok(None) => {}
        Err(refused) => return refused.into_response(),
    }
    next.run(request).await
}

/// Around the realtime endpoint. Nothing here is for strangers; and a page whose session ended learns it from the 401
/// (`onUnauthorized`), and shows the sign-in.
pub(crate) async fn members_only(_: User, request: Request, next: Next) -> Response {
    next.run(request).await
}

/// What this user is, and may follow and say: all of it follows from who is a member of which room. Whoever becomes a
/// member, or is one no more, is told with `hub.regrant`.
pub(crate) fn grant(db: &Transaction<'_>, user: &User) -> Result<Grant, Refused> {
    let id = &user.id;
    let grant = Grant::user(id)
        .info(json!({ "name": user.name }))
        .follow(Pattern::children(("user", id)))
        .follow("dashboard:metrics");
    let grant = user.roles.iter().fold(grant, |grant, role| grant.scope(("role", role)));
    let rooms = rooms::of(db, id)?;
    Ok(rooms.into_iter().fold(grant, |grant, room| {
        grant
            .scope(("room", room))
            .follow(("room", room))
            .publish(("room", room))
            .follow(("room", room, "typing"))
            .publish(("room", room, "typing"))
            .follow(("doc", room))
            .publish(("doc", room))
            .follow(("doc", room, "cursors"))
            .publish(("doc", room, "cursors"))
    }))
}

#[derive(Debug, Serialize)]
struct Session {
    user: Option<User>,
}

async fn session(user: Option<User>) -> Json<Session> {
    Json(Session { user })
}

#[derive(Debug, Deserialize)]
struct SignIn {
    user: String,
}

/// No password: this is a demo, everybody may be anybody. A real app checks one here, and nothing else changes.
async fn begin(State(chat): State<Chat>, Input(new): Input<SignIn>) -> Result<impl IntoResponse, Refused> {
    let (token, user) = chat.db.transaction(|db| {
        let Some(user) = user(db, &new.user)? else {
            return Err(Failure::invalid("There is nobody of that name aboard").into());
        };
        // 128 bits of SQLite's generator, which the operating system seeds.
        let token: String = db.query_row(
            "INSERT INTO sessions (token, user) VALUES (lower(hex(randomblob(16))), ?) RETURNING token",
            [&user.id],
            |row| row.get(0),
        )?;
        Ok((token, user))
    })?;
    // Behind TLS it would be `Secure`, too.
    let cookie = format!("session={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age=604800");
    Ok((StatusCode::CREATED, [(SET_COOKIE, cookie)], Json(Session { user: Some(user) })))
}

/// Everywhere: in all tabs and browsers of this user the streams end, and what they ask for next is refused.
async fn end(State(chat): State<Chat>, user: User) -> Result<impl IntoResponse, Refused> {
    chat.db.transaction(|db| Ok(db.execute("DELETE FROM sessions WHERE user = ?", [&user.id])?))?;
    chat.hub.disconnect_user(&user.id);
    let cookie = "session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0";
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]))
}

/// Everyone one can sign in as.
async fn people(State(chat): State<Chat>) -> Result<Json<Vec<User>>, Refused> {
    let people = chat.db.transaction(|db| {
        let ids = db
            .prepare("SELECT id FROM users ORDER BY id")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<Vec<String>, _>>()?;
        ids.iter().map(|id| user(db, id)).collect::<Result<Vec<_>, _>>()
    })?;
    Ok(Json(people.into_iter().flatten().collect()))
}

fn who(db: &Transaction<'_>, token: &str) -> Result<Option<User>, Refused> {
    let id: Option<String> =
        db.query_row("SELECT user FROM sessions WHERE token = ?", [token], |row| row.get(0)).optional()?;
    id.map_or(Ok(None), |id| user(db, &id))
}

pub(crate) fn user(db: &Transaction<'_>, id: &str) -> Result<Option<User>, Refused> {
    let name =
        db.query_row("SELECT name FROM users WHERE id = ?", params![id], |row| row.get(0)).optional()?;
    let Some(name) = name else { return Ok(None) };
    let mut query = db.prepare("SELECT role FROM roles WHERE user = ? ORDER BY role")?;
    let roles = query.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(Some(User { id: id.into(), name, roles }))
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    cookies.flat_map(|cookies| cookies.split(';')).find_map(|cookie| cookie.trim().strip_prefix("session="))
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let user = parts.extensions.get::<User>().cloned();
        user.ok_or_else(|| Failure::new(StatusCode::UNAUTHORIZED, "Sign in first").into())
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for User {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<User>().cloned())
    }
}
