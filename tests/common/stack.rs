//! One small app on every stack, so that the same promises are tested on each.
//!
//! Who asks says so in the header `x-user`; the app's own middleware turns that into a [`Grant`].

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, patch, post};
use axum::{Extension, Json, Router};
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, service_fn};
use tower_revalidate::{Grant, Hub, Pattern, Revalidate, RevalidateExt};

/// An app, whatever it was written in.
pub type App = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Who asks.
#[derive(Debug, Clone)]
pub struct User(pub Option<String>);

/// What users may do: their own channels, and the rooms that they are members of.
pub fn grant(user: Option<&str>) -> Grant {
    let Some(user) = user else { return Grant::anonymous() };
    let own = Pattern::under(("user", user)).unwrap_or_else(|_| Pattern::new("nobody").unwrap());
    let grant = Grant::user(user).follow(own).follow("members:*");
    match user {
        "alice" | "bob" => grant.follow("room:1"),
        _ => grant,
    }
}

fn sign_in<B>(mut request: Request<B>) -> Request<B> {
    let user = request.headers().get("x-user").and_then(|user| user.to_str().ok()).map(str::to_owned);
    request.extensions_mut().insert(grant(user.as_deref()));
    request.extensions_mut().insert(User(user));
    request
}

/// Makes a test of each function that takes an app, for every stack.
#[macro_export]
macro_rules! on_every_stack {
    ($($test:ident),+ $(,)?) => {
        mod on_axum {
            $(#[tokio::test(start_paused = true)]
            async fn $test() {
                super::$test($crate::common::stack::axum).await;
            })+
        }
        mod on_bare_tower {
            $(#[tokio::test(start_paused = true)]
            async fn $test() {
                super::$test($crate::common::stack::tower).await;
            })+
        }
    };
}

/// In axum: a nested service, the layer last.
pub fn axum(hub: &Hub) -> App {
    let publisher = hub.clone();
    let say = move |Path(room): Path<String>,
                    Extension(User(user)): Extension<User>,
                    Json(said): Json<Value>| async move {
        let Some(user) = user else { return StatusCode::UNAUTHORIZED };
        if !["alice", "bob"].contains(&&*user) {
            return StatusCode::FORBIDDEN;
        }
        let message = json!({"content": said["content"], "sender_id": user});
        match publisher.channel(("room", room)).publish("message", &message).await {
            Ok(_) => StatusCode::CREATED,
            Err(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    };
    let app = Router::new()
        .route("/posts", get(|| async { "[]" }).post(create_axum))
        .route("/panic", post(|| async { panics() }))
        .route(
            "/profile",
            patch(|Extension(User(user)): Extension<User>| async move {
                Revalidate::key("users.me").to(("user", user.unwrap_or_default()))
            }),
        )
        .route("/rooms/{room}/messages", post(say))
        .nest_service("/realtime", hub.service())
        .layer(hub.layer());
    App::new(ServiceBuilder::new().map_request(sign_in).service(app))
}

async fn create_axum(uri: Uri) -> (StatusCode, Revalidate, &'static str) {
    (asked_status(&uri), Revalidate::key("posts.list"), "created")
}

/// `?status=422` asks for that answer.
fn asked_status(uri: &Uri) -> StatusCode {
    uri.query().and_then(|query| query.strip_prefix("status=")).unwrap_or("201").parse().unwrap()
}

#[allow(clippy::unused_unit)]
fn panics() -> () {
    panic!("a handler that panics, on purpose")
}

/// In plain tower, as for bare hyper: a mount layer beside a service.
pub fn tower(hub: &Hub) -> App {
    let publisher = hub.clone();
    let app = ServiceBuilder::new()
        .map_request(sign_in)
        .map_response(|response: Response<_>| response.map(Body::new))
        .layer(hub.mount_layer("/realtime"))
        .layer(hub.layer())
        .service(service_fn(move |request| route(publisher.clone(), request)));
    App::new(app)
}

async fn route(hub: Hub, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let user = parts.extensions.get::<User>().and_then(|User(user)| user.clone());
    let answer = |status: StatusCode| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    };
    let path: Vec<_> = parts.uri.path().split('/').skip(1).collect();
    Ok(match (parts.method.as_str(), &path[..]) {
        ("GET", ["posts"]) => Response::new("[]".into()),
        ("POST", ["posts"]) => answer(asked_status(&parts.uri)).revalidate("posts.list"),
        ("POST", ["panic"]) => {
            panics();
            answer(StatusCode::OK)
        }
        ("PATCH", ["profile"]) => {
            let user = user.unwrap_or_default();
            answer(StatusCode::OK).revalidate(Revalidate::key("users.me").to(("user", user)))
        }
        ("POST", ["rooms", room, "messages"]) => {
            let Some(user) = user else { return Ok(answer(StatusCode::UNAUTHORIZED)) };
            if !["alice", "bob"].contains(&&*user) {
                return Ok(answer(StatusCode::FORBIDDEN));
            }
            let said: Value =
                serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();
            let message = json!({"content": said["content"], "sender_id": user});
            match hub.channel(("room", *room)).publish("message", &message).await {
                Ok(_) => answer(StatusCode::CREATED),
                Err(_) => answer(StatusCode::UNPROCESSABLE_ENTITY),
            }
        }
        _ => answer(StatusCode::NOT_FOUND),
    })
}

/// A request of a user.
pub fn request(method: &str, path: &str, user: &str, body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
    let headers: &mut HeaderMap = request.headers_mut();
    if !user.is_empty() {
        headers.insert("x-user", user.parse().unwrap());
    }
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    }
    request
}
