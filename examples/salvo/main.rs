//! The demo app in salvo, over HTTP/1.1 and HTTP/2. `cargo run -p example-salvo --example salvo`, then open two
//! tabs.

use std::error::Error;

use examples_common::{App, Failure, MAX_BODY, Message, Notice, Post, Posts, Profile, Visitor};
use salvo::catcher::Catcher;
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::{ParseError, ReqBody, StatusCode};
use salvo::prelude::*;
use serde::de::DeserializeOwned;
use tower_revalidate::{Hub, Revalidate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = examples_common::hub().build()?;
    let app = App::new(hub.clone());
    let realtime = TowerServiceCompat::<ReqBody, _, _, _>::compat(hub.service());
    let router = Router::new()
        .push(Router::new().get(page).head(page))
        .push(Router::with_path("posts").get(posts).head(posts).post(add_post))
        .push(Router::with_path("profile").get(profile).head(profile).patch(rename))
        .push(Router::with_path("rooms/{id}/messages").post(say))
        .push(Router::with_path("announce").post(announce))
        .push(Router::with_path("realtime/{**rest}").goal(realtime));
    // Hoops of the service, not of the router: those see only what its routes match.
    let service = Service::new(router)
        .hoop(Observed(hub.clone())) // first: it sees every route
        .hoop(SignIn(app)) // around the mount too
        .catcher(Catcher::default().hoop(catch));

    let listener = examples_common::listen().await?;
    examples_common::tune_listener(&listener);
    let server = Server::new(TcpAcceptor::try_from(listener)?);
    let (stop, overdue) = examples_common::shutdown(hub);
    let handle = server.handle();
    tokio::spawn(async move {
        stop.await;
        handle.stop_graceful(None);
    });
    tokio::select! {
        served = server.try_serve(service) => served?,
        () = overdue => {}
    }
    Ok(())
}

/// `hub.layer()` for salvo: what the layer does before and after. Its `compat()` would send every request through
/// one queue (tower's `Buffer`).
struct Observed(Hub);

#[handler]
impl Observed {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let observation = self.0.observe(req.method(), req.uri(), req.headers());
        observation.mark(req.extensions_mut());
        ctrl.call_next(req, depot, res).await;
        // Where nothing answered, salvo makes it a 404 later.
        let nothing = if res.body.is_none() { StatusCode::NOT_FOUND } else { StatusCode::OK };
        let status = res.status_code.unwrap_or(nothing);
        observation.finish(status, &mut res.headers, &mut res.extensions);
    }
}

/// A part of an answer: puts a `Revalidate` where the layer looks for it.
struct Stale(Revalidate);

impl Scribe for Stale {
    fn render(self, res: &mut Response) {
        self.0.merge_into(&mut res.extensions);
    }
}

/// The app's own sign-in: the realtime endpoint finds the `Grant` in the request's extensions.
struct SignIn(App);

#[handler]
impl SignIn {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) {
        let (visitor, grant) = self.0.sign_in(req.headers());
        depot.insert_typed(self.0.clone()).insert_typed(visitor);
        req.extensions_mut().insert(grant);
    }
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(examples_common::PAGE)
}

#[handler]
async fn posts(depot: &mut Depot) -> Json<Posts> {
    Json(app(depot).posts())
}

#[handler]
async fn add_post(req: &mut Request, depot: &mut Depot) -> Result<(StatusCode, Stale, Json<Post>), Refused> {
    let post = app(depot).add_post(input(req).await?)?;
    Ok((StatusCode::CREATED, Stale(Revalidate::key("posts.list")), Json(post)))
}

#[handler]
async fn profile(depot: &mut Depot) -> Result<Json<Profile>, Refused> {
    Ok(Json(app(depot).profile(visitor(depot))?))
}

#[handler]
async fn rename(req: &mut Request, depot: &mut Depot) -> Result<(Stale, Json<Profile>), Refused> {
    let visitor = visitor(depot);
    let renamed = app(depot).rename(visitor, input(req).await?)?;
    Ok((Stale(Revalidate::key("users.me").to(("user", visitor.name()?))), Json(renamed)))
}

#[handler]
async fn say(req: &mut Request, depot: &mut Depot) -> Result<(StatusCode, Json<Message>), Refused> {
    let room: String = req.param("id").unwrap_or_default();
    let message = app(depot).say(visitor(depot), &room, input(req).await?).await?;
    Ok((StatusCode::CREATED, Json(message)))
}

#[handler]
async fn announce(req: &mut Request, depot: &mut Depot) -> Result<(StatusCode, Json<Notice>), Refused> {
    Ok((StatusCode::CREATED, Json(app(depot).announce(input(req).await?).await?)))
}

fn app(depot: &Depot) -> &App {
    depot.get_typed().expect("the sign-in put it there")
}

fn visitor(depot: &Depot) -> &Visitor {
    depot.get_typed().expect("the sign-in put it there")
}

/// Reads a JSON body of a bounded length.
async fn input<T: DeserializeOwned>(req: &mut Request) -> Result<T, Failure> {
    let body = req.payload_with_max_size(MAX_BODY).await.map_err(|error| {
        let status = match error {
            ParseError::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Failure::new(status, error.to_string())
    })?;
    examples_common::parse(body)
}

struct Refused(Failure);

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Refused(failure)
    }
}

impl Scribe for Refused {
    fn render(self, res: &mut Response) {
        res.status_code(self.0.status());
        res.render(Json(self.0));
    }
}

/// What salvo itself refuses has a status and no body; it adds `Allow` where it belongs.
#[handler]
async fn catch(res: &mut Response, ctrl: &mut FlowCtrl) {
    let failure = match res.status_code.unwrap_or_default() {
        StatusCode::NOT_FOUND => Failure::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => Failure::method_not_allowed(),
        status => Failure::new(status, status.canonical_reason().unwrap_or_default()),
    };
    res.render(Refused(failure));
    ctrl.skip_rest();
}
