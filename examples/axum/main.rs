//! The demo app in axum. `cargo run --example axum`, then open two tabs.

use std::error::Error;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use examples_common::{App, Failure, Message, NewMessage, NewPost, Notice, Posts, Profile, Visitor};
use serde::de::DeserializeOwned;
use tower_revalidate::Revalidate;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = examples_common::hub().build()?;
    let app = App::new(hub.clone());
    let router = Router::new()
        .route("/", get(Html(examples_common::PAGE)))
        .route("/posts", get(posts).post(add_post))
        .route("/profile", get(profile).patch(rename))
        .route("/rooms/{id}/messages", post(say))
        .route("/announce", post(announce))
        .nest_service("/realtime", hub.service())
        .fallback(async || Refused(Failure::not_found()))
        .method_not_allowed_fallback(async || Refused(Failure::method_not_allowed()))
        .layer(DefaultBodyLimit::max(examples_common::MAX_BODY))
        .layer(middleware::from_fn_with_state(app.clone(), sign_in)) // around the mount too
        .layer(hub.layer()) // last: it sees every route
        .with_state(app);

    let listener = examples_common::listen().await?.tap_io(|socket| examples_common::tune(socket));
    let (stop, overdue) = examples_common::shutdown(hub);
    tokio::select! {
        served = axum::serve(listener, router).with_graceful_shutdown(stop) => served?,
        () = overdue => {}
    }
    Ok(())
}

/// The app's own sign-in: the realtime endpoint finds the `Grant` in the request's extensions.
async fn sign_in(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let (visitor, grant) = app.sign_in(request.headers());
    request.extensions_mut().insert(visitor);
    request.extensions_mut().insert(grant);
    next.run(request).await
}

async fn posts(State(app): State<App>) -> Json<Posts> {
    Json(app.posts())
}

async fn add_post(State(app): State<App>, Input(new): Input<NewPost>) -> Result<impl IntoResponse, Refused> {
    let post = app.add_post(new)?;
    Ok((StatusCode::CREATED, Revalidate::key("posts.list"), Json(post)))
}

async fn profile(State(app): State<App>, visitor: Extension<Visitor>) -> Result<Json<Profile>, Refused> {
    Ok(Json(app.profile(&visitor)?))
}

async fn rename(
    State(app): State<App>,
    visitor: Extension<Visitor>,
    Input(new): Input<Profile>,
) -> Result<impl IntoResponse, Refused> {
    let profile = app.rename(&visitor, new)?;
    Ok((Revalidate::key("users.me").to(("user", visitor.name()?)), Json(profile)))
}

async fn say(
    State(app): State<App>,
    visitor: Extension<Visitor>,
    Path(room): Path<String>,
    Input(new): Input<NewMessage>,
) -> Result<(StatusCode, Json<Message>), Refused> {
    Ok((StatusCode::CREATED, Json(app.say(&visitor, &room, new).await?)))
}

async fn announce(
    State(app): State<App>,
    Input(new): Input<Notice>,
) -> Result<(StatusCode, Json<Notice>), Refused> {
    Ok((StatusCode::CREATED, Json(app.announce(new).await?)))
}

/// A JSON body, whose refusals are JSON too.
struct Input<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let body = Bytes::from_request(request, state).await?;
        Ok(Input(examples_common::parse(&body)?))
    }
}

struct Refused(Failure);

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Refused(failure)
    }
}

impl From<BytesRejection> for Refused {
    fn from(rejection: BytesRejection) -> Self {
        Refused(Failure::new(rejection.status(), rejection.body_text()))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0.status(), Json(self.0)).into_response()
    }
}
