//! [`Stack`]: an app in this process, on a real port; [`lets_through`]: what must pass through everything that
//! stands between it and a client.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::ListenerExt;
use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_revalidate::{Hub, Policy, Revalidate};

use crate::{Client, Event, HANG, Stream, eventually};

/// A running app. Dropping it ends its port and, with the hub, its streams.
#[derive(Debug)]
pub struct Stack {
    hub: Hub,
    port: u16,
    serving: JoinHandle<()>,
}

impl Stack {
    /// Serves the app, whose hub is said so that its streams end with it.
    pub async fn start(hub: &Hub, app: Router) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
        let serving = tokio::spawn(async move {
            let Ok(()) = axum::serve(listener, app).await.or(Ok::<_, Infallible>(()));
        });
        Stack { hub: hub.clone(), port, serving }
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::of(format!("http://127.0.0.1:{}", self.port))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.serving.abort();
        self.hub.shutdown();
    }
}

/// A hub that anyone may follow `news` of, with this heartbeat.
///
/// # Panics
/// Where the heartbeat is under its bound.
#[must_use]
pub fn hub(heartbeat: Duration) -> Hub {
    let news = Policy::history(64).public();
    Hub::builder().channel("news", news).heartbeat(heartbeat).build().expect("the options are valid")
}

/// The routes of a small app, without the hub's layer: where that goes is what its tests are about.
pub fn routes(hub: &Hub) -> Router {
    Router::new().route("/posts", get(seen).post(add)).nest_service("/realtime", hub.service())
}

async fn add() -> impl IntoResponse {
    (StatusCode::CREATED, Revalidate::key("posts.list"))
}

/// What of the request arrived: the version, and the lines of the head that a proxy may have added to.
async fn seen(request: Request) -> axum::Json<Value> {
    let lines: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    axum::Json(json!({ "version": format!("{:?}", request.version()), "lines": lines }))
}

/// What everything between an app and its client must let through: the head of a stream; `hello`, while nothing
/// is published; a mutation's revalidation and a message, while the connection stays open; the news that the
/// client is gone. Heartbeats too, where the hub has some: without, nothing that follows pushes on what somebody
/// held back.
pub async fn lets_through(hub: &Hub, client: &Client) {
    let before = hub.cursor();
    let response = client.send(Method::GET, "/realtime/events?channels=news", "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store, no-transform");
    let (mut stream, hello) = Stream::greeted(response).await;
    assert_eq!(hello["channels"], json!(["news"]));
    assert_eq!(hub.cursor(), before, "`hello` came, and nothing was published");

    let beats = hello["heartbeatMs"].as_u64().is_some_and(|beat| Duration::from_millis(beat) < HANG);
    if beats {
        stream.heartbeat().await;
        stream.heartbeat().await;
    }
    assert_eq!(client.json(Method::POST, "/posts", "").await.0, StatusCode::CREATED);
    hears(&mut stream, "posts.list").await;
    hub.channel("news").publish("flash", &1).await.expect("it is published");
    let message = json!({"channel": "news", "event": "flash", "data": 1});
    assert_eq!(stream.next().await, Some(Event { name: "message".to_owned(), data: message }));
    if beats {
        stream.heartbeat().await;
    }

    assert_eq!(hub.stats().sessions, 1);
    drop(stream);
    eventually("sessions", 0, async || hub.stats().sessions).await;
}

/// Reads the next event, which says that this key and no other is stale.
///
/// # Panics
/// Where it is another event.
pub async fn hears(stream: &mut Stream, key: &str) {
    let event = stream.next().await.expect("the stream goes on");
    let segments: Vec<_> = key.split('.').collect();
    assert_eq!((event.name.as_str(), &event.data["keys"]), ("revalidate", &json!([segments])));
}
