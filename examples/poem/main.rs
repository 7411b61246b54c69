//! The demo app in poem, over HTTP/1.1 and HTTP/2. `cargo run -p example-poem --example poem`, then open two tabs.

use std::error::Error;
use std::future::{Ready, ready};

use examples_common::{App, Failure, MAX_BODY, Posts, Profile, Visitor};
use poem::endpoint::TowerCompatExt;
use poem::error::MethodNotAllowedError;
use poem::http::StatusCode;
use poem::http::header::ALLOW;
use poem::listener::TcpAcceptor;
use poem::web::{Data, Html, Json, Path};
use poem::{Body, Endpoint, EndpointExt, IntoResponse, Request, Response, Route, Server, get, handler, post};
use serde::de::DeserializeOwned;
use tower_revalidate::{Hub, Revalidate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = examples_common::hub().build()?;
    let app = App::new(hub.clone());
    let observer = hub.clone();
    let routes = Route::new()
        .at("/", get(page).catch_error(allow("GET,HEAD")))
        .at("/posts", get(posts).post(add_post).catch_error(allow("GET,HEAD,POST")))
        .at("/profile", get(profile).patch(rename).catch_error(allow("GET,HEAD,PATCH")))
        .at("/rooms/:id/messages", post(say).catch_error(allow("POST")))
        .at("/announce", post(announce).catch_error(allow("POST")))
        .nest("/realtime", hub.service().compat())
        .data(app.clone())
        .catch_all_error(catch)
        .around(move |next, request| sign_in(app.clone(), next, request)) // around the mount too
        .around(move |next, request| observed(observer.clone(), next, request)); // last: it sees every route

    let listener = examples_common::listen().await?;
    examples_common::tune_listener(&listener);
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?);
    let (stop, overdue) = examples_common::shutdown(hub);
    tokio::select! {
        served = server.run_with_graceful_shutdown(routes, stop, None) => served?,
        () = overdue => {}
    }
    Ok(())
}

/// `hub.layer()` for poem, whose layers take a request type of its own: what the layer does before and after.
async fn observed(hub: Hub, next: impl Endpoint, mut request: Request) -> poem::Result<Response> {
    let observation = hub.observe(request.method(), request.uri(), request.headers());
    observation.mark(request.extensions_mut());
    let (mut head, body) = next.get_response(request).await.into_parts();
    observation.finish(head.status, &mut head.headers, &mut head.extensions);
    Ok(Response::from_parts(head, body))
}

/// Puts a `Revalidate` where the layer looks for it. `set_data` would replace one that is there.
fn revalidate(response: impl IntoResponse, stale: Revalidate) -> Response {
    let mut response = response.into_response();
    stale.merge_into(response.extensions_mut());
    response
}

/// The app's own sign-in: the realtime endpoint finds the `Grant` in the request's extensions.
async fn sign_in(app: App, next: impl Endpoint, mut request: Request) -> poem::Result<Response> {
    let (visitor, grant) = app.sign_in(request.headers());
    request.extensions_mut().insert(visitor);
    request.extensions_mut().insert(grant);
    Ok(next.get_response(request).await)
}

#[handler]
async fn page() -> Html<&'static str> {
    Html(examples_common::PAGE)
}

#[handler]
async fn posts(app: Data<&App>) -> Json<Posts> {
    Json(app.posts())
}

#[handler]
async fn add_post(app: Data<&App>, body: Body) -> poem::Result<Response> {
    let post = app.add_post(input(body).await?).map_err(refused)?;
    Ok(revalidate(Json(post).with_status(StatusCode::CREATED), Revalidate::key("posts.list")))
}

#[handler]
async fn profile(app: Data<&App>, visitor: Data<&Visitor>) -> poem::Result<Json<Profile>> {
    Ok(Json(app.profile(&visitor).map_err(refused)?))
}

#[handler]
async fn rename(app: Data<&App>, visitor: Data<&Visitor>, body: Body) -> poem::Result<Response> {
    let renamed = app.rename(&visitor, input(body).await?).map_err(refused)?;
    let me = visitor.name().map_err(refused)?;
    Ok(revalidate(Json(renamed), Revalidate::key("users.me").to(("user", me))))
}

#[handler]
async fn say(
    app: Data<&App>,
    visitor: Data<&Visitor>,
    Path(room): Path<String>,
    body: Body,
) -> poem::Result<impl IntoResponse> {
    let message = app.say(&visitor, &room, input(body).await?).await.map_err(refused)?;
    Ok(Json(message).with_status(StatusCode::CREATED))
}

#[handler]
async fn announce(app: Data<&App>, body: Body) -> poem::Result<impl IntoResponse> {
    let notice = app.announce(input(body).await?).await.map_err(refused)?;
    Ok(Json(notice).with_status(StatusCode::CREATED))
}

/// Reads a JSON body of a bounded length.
async fn input<T: DeserializeOwned>(body: Body) -> poem::Result<T> {
    examples_common::parse(&body.into_bytes_limit(MAX_BODY).await?).map_err(refused)
}

fn refused(failure: Failure) -> poem::Error {
    let status = failure.status();
    poem::Error::new(failure, status)
}

/// What a handler refused, and what poem itself refuses.
async fn catch(error: poem::Error) -> Response {
    answer(&match error.status() {
        StatusCode::NOT_FOUND => Failure::not_found(),
        status => Failure::new(status, error.to_string()),
    })
}

fn answer(failure: &Failure) -> Response {
    Json(failure).with_status(failure.status()).into_response()
}

/// poem's own 405 does not say which methods there are.
fn allow(methods: &'static str) -> impl Fn(MethodNotAllowedError) -> Ready<Response> + Send + Sync {
    move |_| ready(answer(&Failure::method_not_allowed()).with_header(ALLOW, methods).into_response())
}
