//! The demo app in warp, over HTTP/1.1 and HTTP/2. `cargo run -p example-warp --example warp`, then open two tabs.

use std::convert::Infallible;
use std::error::Error;
use std::pin::pin;

use examples_common::{App, Failure, MAX_BODY, Visitor};
use futures_util::StreamExt;
use http::header::{ALLOW, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceBuilder;
use tower_revalidate::{Revalidate, RevalidateExt};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Buf, Filter, Reply, Stream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = examples_common::hub().build()?;
    let app = App::new(hub.clone());
    let routes = routes(app.clone());
    let service = ServiceBuilder::new()
        .layer(hub.layer()) // outermost
        .map_request(move |request| sign_in(&app, request)) // around the mount too
        .layer(hub.mount_layer("/realtime")) // answers the mount, passes on the rest
        .service(warp::service(routes));
    // `warp::serve` takes filters alone; a filter that is a tower service is served with hyper.
    examples_common::serve(service, hub).await
}

/// The app's own sign-in: the realtime endpoint finds the `Grant` in the request's extensions.
fn sign_in(app: &App, mut request: Request<Incoming>) -> Request<Incoming> {
    let (visitor, grant) = app.sign_in(request.headers());
    request.extensions_mut().insert(visitor);
    request.extensions_mut().insert(grant);
    request
}

/// A response is warp's from the start, so that it can carry a `Revalidate`; warp keeps its extensions.
fn routes(app: App) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let app = warp::any().map(move || app.clone());
    let read = warp::get().or(warp::head()).unify();
    let visitor = warp::ext::get::<Visitor>;
    // Read by the handlers: what a filter refuses another one would answer.
    let body = warp::body::stream;

    let page = warp::path::end().and(read).then(page);
    let posts = warp::path!("posts").and(read).and(app.clone()).then(posts);
    let add_post = warp::path!("posts").and(warp::post()).and(app.clone()).and(body()).then(add_post);
    let profile = warp::path!("profile").and(read).and(app.clone()).and(visitor()).then(profile);
    let rename =
        warp::path!("profile").and(warp::patch()).and(app.clone()).and(visitor()).and(body()).then(rename);
    let say = warp::path!("rooms" / String / "messages")
        .and(warp::post())
        .and(app.clone())
        .and(visitor())
        .and(body())
        .then(say);
    let announce = warp::path!("announce").and(warp::post()).and(app).and(body()).then(announce);
    let nothing = warp::path::full().then(nothing);

    page.or(posts)
        .unify()
        .or(add_post)
        .unify()
        .or(profile)
        .unify()
        .or(rename)
        .unify()
        .or(say)
        .unify()
        .or(announce)
        .unify()
        .or(nothing)
        .unify()
        .map(|answered: Answer| answered.unwrap_or_else(|failure| json(failure.status(), &failure)))
}

type Answer = Result<Response, Failure>;

async fn page() -> Answer {
    Ok(warp::reply::html(examples_common::PAGE).into_response())
}

async fn posts(app: App) -> Answer {
    Ok(json(StatusCode::OK, &app.posts()))
}

async fn add_post(app: App, body: impl Chunks) -> Answer {
    let post = app.add_post(input(body).await?)?;
    Ok(json(StatusCode::CREATED, &post).revalidate("posts.list"))
}

async fn profile(app: App, visitor: Visitor) -> Answer {
    Ok(json(StatusCode::OK, &app.profile(&visitor)?))
}

async fn rename(app: App, visitor: Visitor, body: impl Chunks) -> Answer {
    let profile = app.rename(&visitor, input(body).await?)?;
    Ok(json(StatusCode::OK, &profile).revalidate(Revalidate::key("users.me").to(("user", visitor.name()?))))
}

async fn say(room: String, app: App, visitor: Visitor, body: impl Chunks) -> Answer {
    Ok(json(StatusCode::CREATED, &app.say(&visitor, &room, input(body).await?).await?))
}

async fn announce(app: App, body: impl Chunks) -> Answer {
    Ok(json(StatusCode::CREATED, &app.announce(input(body).await?).await?))
}

/// A rejection of warp's does not say which methods a path has.
async fn nothing(path: FullPath) -> Answer {
    let path: Vec<&str> = path.as_str().split('/').skip(1).collect();
    let methods = match path.as_slice() {
        [""] => "GET,HEAD",
        ["posts"] => "GET,HEAD,POST",
        ["profile"] => "GET,HEAD,PATCH",
        ["rooms", _, "messages"] | ["announce"] => "POST",
        _ => return Err(Failure::not_found()),
    };
    let failure = Failure::method_not_allowed();
    let mut response = json(failure.status(), &failure);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    Ok(response)
}

trait Chunks: Stream<Item = Result<Self::Chunk, warp::Error>> {
    type Chunk: Buf;
}

impl<S: Stream<Item = Result<C, warp::Error>>, C: Buf> Chunks for S {
    type Chunk = C;
}

/// Reads a JSON body of a bounded length.
async fn input<T: DeserializeOwned>(body: impl Chunks) -> Result<T, Failure> {
    let mut body = pin!(body);
    let mut read = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        if read.len() + chunk.remaining() > MAX_BODY {
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "length limit exceeded"));
        }
        std::io::copy(&mut chunk.reader(), &mut read).expect("memory does not fail");
    }
    examples_common::parse(&read)
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    warp::reply::with_status(warp::reply::json(value), status).into_response()
}
