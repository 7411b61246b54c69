//! The demo app in bare hyper and tower, over HTTP/1.1 and HTTP/2. `cargo run -p example-hyper --example hyper`,
//! then open two tabs.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use examples_common::{App, Failure, MAX_BODY, Visitor};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceBuilder;
use tower_revalidate::{Revalidate, RevalidateExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = examples_common::hub().build()?;
    let app = App::new(hub.clone());
    let auth = app.clone();
    let service = ServiceBuilder::new()
        .layer(hub.layer()) // outermost
        .map_request(move |request| sign_in(&auth, request)) // around the mount too
        .layer(hub.mount_layer("/realtime")) // answers the mount, passes on the rest
        .service_fn(move |request| answer(app.clone(), request));

    examples_common::serve(service, hub).await
}

/// The app's own sign-in: the realtime endpoint finds the `Grant` in the request's extensions.
fn sign_in(app: &App, mut request: Request<Incoming>) -> Request<Incoming> {
    let (visitor, grant) = app.sign_in(request.headers());
    request.extensions_mut().insert(visitor);
    request.extensions_mut().insert(grant);
    request
}

async fn answer(app: App, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let answered = route(&app, request).await;
    Ok(answered.unwrap_or_else(|failure| json(failure.status(), &failure)))
}

async fn route(app: &App, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    let (parts, body) = request.into_parts();
    let visitor = parts.extensions.get::<Visitor>().cloned().unwrap_or_default();
    let path: Vec<&str> = parts.uri.path().split('/').skip(1).collect();
    Ok(match (parts.method.as_str(), path.as_slice()) {
        ("GET" | "HEAD", [""]) => page(),
        ("GET" | "HEAD", ["posts"]) => json(StatusCode::OK, &app.posts()),
        ("POST", ["posts"]) => {
            let post = app.add_post(input(body).await?)?;
            json(StatusCode::CREATED, &post).revalidate("posts.list")
        }
        ("GET" | "HEAD", ["profile"]) => json(StatusCode::OK, &app.profile(&visitor)?),
        ("PATCH", ["profile"]) => {
            let profile = app.rename(&visitor, input(body).await?)?;
            json(StatusCode::OK, &profile)
                .revalidate(Revalidate::key("users.me").to(("user", visitor.name()?)))
        }
        ("POST", ["rooms", room, "messages"]) => {
            json(StatusCode::CREATED, &app.say(&visitor, room, input(body).await?).await?)
        }
        ("POST", ["announce"]) => json(StatusCode::CREATED, &app.announce(input(body).await?).await?),
        (_, [""]) => not_allowed("GET,HEAD"),
        (_, ["posts"]) => not_allowed("GET,HEAD,POST"),
        (_, ["profile"]) => not_allowed("GET,HEAD,PATCH"),
        (_, ["rooms", _, "messages"] | ["announce"]) => not_allowed("POST"),
        _ => return Err(Failure::not_found()),
    })
}

/// Reads a JSON body of a bounded length.
async fn input<T: DeserializeOwned>(body: Incoming) -> Result<T, Failure> {
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
        let status = match error.is::<LengthLimitError>() {
            true => StatusCode::PAYLOAD_TOO_LARGE,
            false => StatusCode::BAD_REQUEST,
        };
        Failure::new(status, error.to_string())
    })?;
    examples_common::parse(&body.to_bytes())
}

fn page() -> Response<Full<Bytes>> {
    with_type("text/html; charset=utf-8", Bytes::from_static(examples_common::PAGE.as_bytes()))
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).expect("the app's types are strings and numbers");
    let mut response = with_type("application/json", body.into());
    *response.status_mut() = status;
    response
}

fn with_type(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let failure = Failure::method_not_allowed();
    let mut response = json(failure.status(), &failure);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}
