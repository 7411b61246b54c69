//! What the examples' app has no room for, on each framework, with a hub of the test's own: the service below a
//! nested prefix, authorizers that say no, fail, panic or take their time, payloads that look like nothing.
#![allow(clippy::panic)]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use e2e::{Client, Event, Version, eventually, soon};
use http::{Method, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tower::{Service, ServiceBuilder, service_fn};
use tower_revalidate::{BoxError, Builder, Grant, Hub, Policy, Refusal, Revalidate, Scope};

/// Where each framework has the service: a prefix below another one.
const MOUNT: &str = "/api/v1/realtime";

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;
type Framework = fn(&Hub, TcpListener) -> Serving;

fn on_axum(hub: &Hub, listener: TcpListener) -> Serving {
    use axum::Router;
    let api = Router::new().nest_service("/realtime", hub.service());
    let app = Router::new().nest("/api/v1", api);
    Box::pin(async { axum::serve(listener, app).await.expect("it serves") })
}

fn on_hyper(hub: &Hub, listener: TcpListener) -> Serving {
    let nothing = service_fn(async |_| {
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, Infallible>(response)
    });
    Box::pin(serve(listener, ServiceBuilder::new().layer(hub.mount_layer(MOUNT)).service(nothing)))
}

fn on_warp(hub: &Hub, listener: TcpListener) -> Serving {
    use warp::Filter as _;
    let nothing = warp::service(warp::path("nothing").map(|| "nothing"));
    Box::pin(serve(listener, ServiceBuilder::new().layer(hub.mount_layer(MOUNT)).service(nothing)))
}

fn on_salvo(hub: &Hub, listener: TcpListener) -> Serving {
    use salvo::conn::tcp::TcpAcceptor;
    use salvo::http::ReqBody;
    use salvo::prelude::{Router, Server, TowerServiceCompat};
    // Its router takes nothing off a path, so the service is told where it stands.
    let service = TowerServiceCompat::<ReqBody, _, _, _>::compat(hub.service().at(MOUNT));
    let router = Router::with_path("api/v1").push(Router::with_path("realtime/{**rest}").goal(service));
    let acceptor = TcpAcceptor::try_from(listener).expect("it listens");
    Box::pin(async { Server::new(acceptor).serve(router).await })
}

fn on_poem(hub: &Hub, listener: TcpListener) -> Serving {
    use poem::endpoint::TowerCompatExt;
    use poem::listener::TcpAcceptor;
    use poem::{Route, Server};
    let api = Route::new().nest("/realtime", hub.service().compat());
    let app = Route::new().nest("/api/v1", api);
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener).expect("it listens"));
    Box::pin(async { server.run(app).await.expect("it serves") })
}

async fn serve<S, B>(listener: TcpListener, service: S)
where
    S: Service<http::Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let service = TowerToHyperService::new(service.clone());
        connections.spawn(async {
            let http = auto::Builder::new(TokioExecutor::new());
            drop(http.serve_connection(TokioIo::new(socket), service).await);
        });
    }
}

/// A framework at work. Dropping it ends it.
struct App {
    hub: Hub,
    port: u16,
    version: Version,
    serving: JoinHandle<()>,
}

impl App {
    async fn start((framework, version): (Framework, Version), hub: Builder) -> Self {
        let hub = hub.channel("news", Policy::history(64).public()).build().expect("the options are valid");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let serving = tokio::spawn(framework(&hub, listener));
        App { hub, port, version, serving }
    }

    /// A client of what stands below a path.
    fn client(&self, below: &str) -> Client {
        Client::new(format!("http://127.0.0.1:{}{below}", self.port), self.version)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn a_nested_prefix_ends_at_the_borders_of_segments(on: (Framework, Version)) {
    let app = App::start(on, Hub::builder()).await;
    let (_stream, hello) = app.client("/api/v1").follow("news").await;
    assert_eq!(hello["channels"], json!(["news"]));
    for path in ["/api/v1/realtime/eventsx", "/api/v1/realtimex/events", "/api/v1x/realtime/events"] {
        let (status, _) = app.client("").json(Method::GET, path, "").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(app.hub.stats().sessions, 1);
}

/// Defect 13.
async fn a_falsy_payload_arrives_as_it_is(on: (Framework, Version)) {
    let app = App::start(on, Hub::builder()).await;
    let (mut stream, _) = app.client("/api/v1").follow("news").await;
    for payload in [json!(0), json!(false), json!(""), json!(null), json!({}), json!([])] {
        app.hub.channel("news").publish("said", &payload).await.expect("it is taken");
        let data = json!({"channel": "news", "event": "said", "data": payload});
        assert_eq!(stream.next().await, Some(Event { name: "message".to_owned(), data }));
    }
}

/// Defects 4 and 5.
async fn an_audience_hears_and_an_empty_one_is_nobody(on: (Framework, Version)) {
    let hub = Hub::builder().authorize(async |parts| {
        Ok(parts
            .headers
            .get("x-user")
            .map_or_else(Grant::anonymous, |user| Grant::user(user.to_str().expect("tests send text"))))
    });
    let app = App::start(on, hub).await;
    let (mut hers, _) = app.client("/api/v1").with("x-user", "alice").follow("").await;
    let (mut strangers, _) = app.client("/api/v1").follow("").await;
    let nobody: [Scope; 0] = [];
    app.hub.revalidate(Revalidate::key("secret").to_any(nobody)).await.expect("it is taken");
    app.hub.revalidate(Revalidate::key("hers").to("user:alice")).await.expect("it is taken");
    assert_eq!(hers.keys().await, json!([["hers"]]));
    app.hub.revalidate("everyones").await.expect("it is taken");
    for stream in [&mut hers, &mut strangers] {
        assert_eq!(stream.keys().await, json!([["everyones"]]));
    }
}

/// Defect 16.
async fn an_authorizer_that_says_no_fails_or_panics_opens_nothing(on: (Framework, Version)) {
    let hub = Hub::builder().authorize(async |parts| {
        match parts.headers.get("x-user").map(|user| user.as_bytes()) {
            Some(b"alice") => Ok(Grant::user("alice")),
            Some(b"fails") => Err(Refusal::error("the database is gone")),
            Some(b"panics") => panic!("an authorizer that panics, on purpose"),
            Some(_) => Err(Refusal::forbidden("not you")),
            None => Err(Refusal::unauthorized("who are you?")),
        }
    });
    let app = App::start(on, hub).await;
    let nobody = app.client("/api/v1");
    for (user, status, code) in [
        (None, 401, "unauthorized"),
        (Some("mallory"), 403, "accessdenied"),
        (Some("fails"), 500, "internal"),
        (Some("panics"), 500, "internal"),
    ] {
        let client = user.map_or_else(|| nobody.clone(), |user| nobody.with("x-user", user));
        let (answered, error) = client.json(Method::GET, "/realtime/events", "").await;
        assert_eq!((answered.as_u16(), &error["code"]), (status, &json!(code)), "{user:?}");
        assert!(!error.to_string().contains("database"), "what failed is not for clients");
    }
    assert_eq!(app.hub.stats().sessions, 0);
    nobody.with("x-user", "alice").follow("news").await;
}

/// Defect 17: what comes while it is decided is not lost.
async fn a_slow_authorizer_loses_nothing(on: (Framework, Version)) {
    let (asked, decide) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (asks, decided) = (asked.clone(), decide.clone());
    let hub = Hub::builder().authorize(move |_| {
        let (asks, decided) = (asks.clone(), decided.clone());
        async move {
            asks.notify_one();
            decided.notified().await;
            Ok(Grant::user("alice"))
        }
    });
    let app = App::start(on, hub).await;
    let cursor = app.hub.cursor();
    let client = app.client("/api/v1");
    let opening =
        tokio::spawn(async move { client.open(&format!("channels=news&lastEventId={cursor}")).await });
    soon("the authorizer", asked.notified()).await;
    app.hub.channel("news").publish("said", "meanwhile").await.expect("it is taken");
    assert_eq!(app.hub.stats().sessions, 0);
    decide.notify_one();
    let (mut stream, hello) = opening.await.expect("it opens");
    assert_eq!(hello["resumed"], true);
    assert_eq!(stream.message().await, Value::from("meanwhile"));
}

/// Defect 6.
async fn who_leaves_is_not_counted_any_more(on: (Framework, Version)) {
    let app = App::start(on, Hub::builder()).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(app.client("/api/v1").follow("news").await);
    }
    assert_eq!(app.hub.stats().sessions, 50);
    drop(streams);
    eventually("all of them gone", 0, async || app.hub.stats().sessions).await;
}

macro_rules! on_each_framework {
    ($($promise:ident,)+) => {
        on_each_framework!(@frameworks ($($promise,)+) on_axum, on_hyper, on_poem, on_salvo, on_warp);
    };
    (@frameworks $promises:tt $($framework:ident),+) => {$(
        mod $framework {
            on_each_framework!(@versions $framework $promises http1: Http1, http2: Http2);
        }
    )+};
    (@versions $framework:ident $promises:tt $($module:ident: $version:ident),+) => {$(
        mod $module {
            on_each_framework!(@promises $framework $version $promises);
        }
    )+};
    (@promises $framework:ident $version:ident ($($promise:ident,)+)) => {$(
        #[tokio::test]
        async fn $promise() {
            crate::$promise((crate::$framework, e2e::Version::$version)).await;
        }
    )+};
}

on_each_framework! {
    a_nested_prefix_ends_at_the_borders_of_segments,
    a_falsy_payload_arrives_as_it_is,
    an_audience_hears_and_an_empty_one_is_nobody,
    an_authorizer_that_says_no_fails_or_panics_opens_nothing,
    a_slow_authorizer_loses_nothing,
    who_leaves_is_not_counted_any_more,
}
