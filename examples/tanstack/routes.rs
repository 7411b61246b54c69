//! What the app answers. Each handler that changes something commits, then says what became stale, and for whom.

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::IntoResponse;
use axum::routing::{get, put};
use axum::{Json, Router};
use examples_common::{Db, Failure, Input, Refused, Visitor};
use serde::{Deserialize, Serialize};
use tower_revalidate::Revalidate;

use crate::db::{self, Draft, Post, Summary};

/// Everyone there is.
const USERS: [&str; 2] = ["alice", "bob"];

pub(crate) fn routes() -> Router<Db> {
    Router::new()
        .route("/session", get(session).put(sign_in))
        .route("/posts", get(list).post(create))
        .route("/posts/{id}", get(detail).put(edit).delete(remove))
        .route("/stars", get(stars))
        .route("/stars/{id}", put(star).delete(unstar))
        .fallback(async || Refused(Failure::not_found()))
        .method_not_allowed_fallback(async || Refused(Failure::method_not_allowed()))
}

async fn list(State(db): State<Db>) -> Result<Json<Vec<Summary>>, Refused> {
    Ok(Json(db.transaction(db::list)?))
}

async fn detail(State(db): State<Db>, Path(id): Path<i64>) -> Result<Json<Post>, Refused> {
    Ok(Json(db.transaction(|db| db::get(db, id))?))
}

async fn create(
    State(db): State<Db>,
    visitor: Extension<Visitor>,
    Input(draft): Input<Draft>,
) -> Result<impl IntoResponse, Refused> {
    let author = visitor.name()?;
    check(&draft)?;
    let post = db.transaction(|db| db::create(db, &draft, author))?;
    Ok((StatusCode::CREATED, Revalidate::key("posts.list"), Json(post)))
}

/// Who looks at another post does not refetch it.
async fn edit(
    State(db): State<Db>,
    visitor: Extension<Visitor>,
    Path(id): Path<i64>,
    Input(draft): Input<Draft>,
) -> Result<impl IntoResponse, Refused> {
    visitor.name()?;
    check(&draft)?;
    let post = db.transaction(|db| db::update(db, id, &draft))?;
    Ok((Revalidate::key("posts.list").and(Revalidate::key(("posts", "detail", id))), Json(post)))
}

async fn remove(
    State(db): State<Db>,
    visitor: Extension<Visitor>,
    Path(id): Path<i64>,
) -> Result<impl IntoResponse, Refused> {
    visitor.name()?;
    db.transaction(|db| db::delete(db, id))?;
    let stale = Revalidate::keys(["posts.list", "stars"]).and(Revalidate::key(("posts", "detail", id)));
    Ok((StatusCode::NO_CONTENT, stale))
}

async fn stars(State(db): State<Db>, visitor: Extension<Visitor>) -> Result<Json<Vec<i64>>, Refused> {
    let user = visitor.name()?;
    Ok(Json(db.transaction(|db| db::stars(db, user))?))
}

/// Nobody's business but hers: all her tabs and devices hear it, and nobody else.
async fn star(
    State(db): State<Db>,
    visitor: Extension<Visitor>,
    Path(id): Path<i64>,
) -> Result<impl IntoResponse, Refused> {
    let user = visitor.name()?;
    db.transaction(|db| db::star(db, user, id))?;
    Ok((StatusCode::NO_CONTENT, Revalidate::key("stars").to(("user", user))))
}

async fn unstar(
    State(db): State<Db>,
    visitor: Extension<Visitor>,
    Path(id): Path<i64>,
) -> Result<impl IntoResponse, Refused> {
    let user = visitor.name()?;
    db.transaction(|db| db::unstar(db, user, id))?;
    Ok((StatusCode::NO_CONTENT, Revalidate::key("stars").to(("user", user))))
}

/// Who is signed in.
#[derive(Debug, Serialize, Deserialize)]
struct Session {
    user: Option<String>,
}

async fn session(visitor: Extension<Visitor>) -> Json<Session> {
    Json(Session { user: visitor.signed_in().map(str::to_owned) })
}

/// Other tabs of this browser have the new cookie, too, and still the old user's connection: it tells them.
async fn sign_in(
    visitor: Extension<Visitor>,
    Input(new): Input<Session>,
) -> Result<impl IntoResponse, Refused> {
    let Some(user) = USERS.into_iter().find(|user| new.user.as_deref() == Some(user)) else {
        return Err(invalid("There are alice and bob"));
    };
    let stale = match visitor.signed_in() {
        Some(before) => Revalidate::key("session").to(("user", before)),
        None => Revalidate::nothing(),
    };
    let cookie = format!("user={user}; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400");
    Ok(([(SET_COOKIE, cookie)], stale, Json(new)))
}

/// The second refusal is there to be seen: the page showed such a post already, and takes it back.
fn check(draft: &Draft) -> Result<(), Refused> {
    if draft.title.trim().is_empty() {
        return Err(invalid("A post needs a title"));
    }
    if draft.title.to_lowercase().contains("fail") {
        return Err(invalid("A title with “fail” in it is refused, to show what happens then"));
    }
    Ok(())
}

fn invalid(message: &str) -> Refused {
    Refused(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, message))
}
