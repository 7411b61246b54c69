//! The app that the browser's tests play on. Its knobs are environment variables, so that it can be killed and
//! started anew; it ends with its standard input, so that it never outlives who started it.
//!
//! | variable | |
//! |---|---|
//! | `PORT` | default 0, any free one |
//! | `FILES` | directories, separated by `:`; a file in one of them wins over the app |
//! | `HEARTBEAT_MS` | default 10 000: a machine that stands still for seconds is no silence |
//! | `REFETCHES_PER_S` | default 1 000; `spreadMs` follows from it |
//! | `GRACE_MS` | how long a user whose last session ended stays present; default 5 000 |
//! | `LATENCY_MS` | how long a read takes, after it has seen its value; default 0 |
//!
//! `GET /rows/{list}` is a handler's own stream, of rows that `POST /rows/{list}` adds.
//!
//! `GET /stage` tells what it saw; `POST /stage/answers` has the next requests for a stream answered as said.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use e2e::Files;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tower_revalidate::{ClientEvent, Grant, Hub, OwnStream, Policy, Refusal, Revalidate, StreamError};

/// As few as a test misses quickly.
const KEPT_ROWS: u32 = 16;

#[derive(Clone)]
struct Stage {
    hub: Hub,
    latency: Duration,
    began: Instant,
    seen: Arc<Mutex<Seen>>,
    opened: Arc<AtomicUsize>,
}

/// What the app holds, and what it was asked.
#[derive(Default)]
struct Seen {
    counters: BTreeMap<String, u64>,
    said: BTreeMap<String, u64>,
    /// When each counter was read, in ms since the start.
    reads: BTreeMap<String, Vec<u64>>,
    /// Reads whose client went away before the answer.
    aborted: usize,
    /// The requests for a stream.
    requests: Vec<Value>,
    /// How often a client said something.
    emitted: usize,
    /// How the next of them are answered.
    answers: VecDeque<Value>,
    /// How many rows each list has; they are counted from 1.
    rows: BTreeMap<String, u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let hub = Hub::builder()
        .heartbeat(Duration::from_millis(number("HEARTBEAT_MS", 10_000)?))
        .refetches_per_s(u32::try_from(number("REFETCHES_PER_S", 1000)?)?)
        .presence_grace(Duration::from_millis(number("GRACE_MS", 5000)?))
        .channel("news:*", Policy::history(256).public())
        .channel("rows:*", Policy::history(KEPT_ROWS).public())
        .typing("room:*:typing")
        .authorize(async |parts| grant(&parts))
        .on_connect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .build()?;
    // To say something in a room one has to be there.
    hub.on("room:*", "said", async |event: ClientEvent<String>| {
        let here = event
            .hub()
            .presence(event.channel())
            .is_ok_and(|room| event.identity().is_some_and(|user| room.has(user)));
        if !here {
            return Err(Refusal::conflict("nobody hears who is not there"));
        }
        event.publish("said", &event.data);
        Ok(event.data.len())
    });
    let stage = Stage {
        hub: hub.clone(),
        latency: Duration::from_millis(number("LATENCY_MS", 0)?),
        began: Instant::now(),
        seen: Arc::default(),
        opened,
    };
    let app = Router::new()
        .route("/value/{key}", get(value))
        .route("/bump/{key}", post(bump))
        .route("/posts", get(posts))
        .route("/say/{channel}", post(say))
        .route("/sign-out/{user}", post(sign_out))
        .route("/rows/{list}", get(rows).post(add_row))
        .nest_service("/realtime", hub.service())
        .layer(middleware::from_fn_with_state(stage.clone(), rehearsed))
        .layer(hub.layer())
        // Neither is the app's.
        .route("/stage", get(tell))
        .route("/stage/answers", post(answers))
        .layer(middleware::from_fn_with_state(Files::from_env(), Files::first))
        .with_state(stage);

    let port = u16::try_from(number("PORT", 0)?)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("{}", listener.local_addr()?.port());
    let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        _ = async { tokio::io::stdin().read(&mut [0]).await } => {}
    }
    Ok(())
}

fn number(name: &str, default: u64) -> Result<u64, String> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name} is no number: {text:?}")),
        Err(_) => Ok(default),
    }
}

/// The bearer `old` has expired; any other is the user's name, as is the cookie `user`.
#[allow(clippy::result_large_err)]
fn grant(parts: &Parts) -> Result<Grant, Refusal> {
    let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let bearer = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let cookie = text(COOKIE).into_iter().flat_map(|cookies| cookies.split("; "));
    match bearer.or(cookie.filter_map(|cookie| cookie.strip_prefix("user=")).next()) {
        Some("old") => Err(Refusal::unauthorized("the token has expired")),
        // All rooms but the one that is closed.
        Some(user) => {
            let grant = Grant::user(user).info(json!({ "name": user.to_uppercase() }));
            Ok(["room:1", "room:2", "room:1:typing"]
                .into_iter()
                .fold(grant, |grant, room| grant.follow(room).publish(room)))
        }
        None => Ok(Grant::anonymous()),
    }
}

impl Stage {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Counts the read as aborted, unless it is answered.
struct Reading(Stage, bool);

impl Drop for Reading {
    fn drop(&mut self) {
        if !self.1 {
            self.0.seen().aborted += 1;
        }
    }
}

/// The answer is as old as the request: the value is looked up before the wait.
async fn value(State(stage): State<Stage>, Path(key): Path<String>) -> Json<Value> {
    let mut reading = Reading(stage.clone(), false);
    let value = {
        let now = stage.now();
        let mut seen = stage.seen();
        seen.reads.entry(key.clone()).or_default().push(now);
        seen.counters.get(&key).copied().unwrap_or_default()
    };
    tokio::time::sleep(stage.latency).await;
    reading.1 = true;
    Json(json!(value))
}

async fn bump(State(stage): State<Stage>, Path(key): Path<String>) -> impl IntoResponse {
    let value = {
        let mut seen = stage.seen();
        let value = seen.counters.entry(key.clone()).or_default();
        *value += 1;
        *value
    };
    (Revalidate::key(("counter", key)), Json(json!(value)))
}

async fn posts(State(stage): State<Stage>) -> Json<Value> {
    tokio::time::sleep(stage.latency).await;
    Json(json!({ "posts": [{ "id": 1, "title": "hello" }] }))
}

/// Says the next number on `news:{channel}`.
async fn say(State(stage): State<Stage>, Path(channel): Path<String>) -> Response {
    let number = {
        let mut seen = stage.seen();
        let number = seen.said.entry(channel.clone()).or_default();
        *number += 1;
        *number
    };
    match stage.hub.channel(("news", channel)).publish("number", &number).await {
        Ok(_) => (Revalidate::nothing(), Json(json!(number))).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

async fn sign_out(State(stage): State<Stage>, Path(user): Path<String>) -> StatusCode {
    match stage.hub.disconnect_user(user).await {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What there is, then each row as it comes. There is time for rows between the stream's place and the query, and
/// after the query.
async fn rows(
    State(stage): State<Stage>,
    Path(list): Path<String>,
    parts: Parts,
) -> Result<OwnStream, StreamError> {
    let mut stream = stage.hub.stream_as(Grant::anonymous(), &parts, [("rows", &list)])?;
    if !stream.resumed() {
        tokio::time::sleep(stage.latency).await;
        let count = stage.seen().rows.get(&list).copied().unwrap_or_default();
        tokio::time::sleep(stage.latency).await;
        stream.send("initial", &(1..=count).collect::<Vec<_>>())?;
    }
    Ok(stream)
}

async fn add_row(State(stage): State<Stage>, Path(list): Path<String>) -> Response {
    let row = {
        let mut seen = stage.seen();
        let row = seen.rows.entry(list.clone()).or_default();
        *row += 1;
        *row
    };
    match stage.hub.channel(("rows", list)).publish("row", &row).await {
        Ok(_) => (Revalidate::nothing(), Json(json!(row))).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// Writes requests for a stream down, and answers them as was said; else as the mount does.
async fn rehearsed(State(stage): State<Stage>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/realtime/emit" {
        stage.seen().emitted += 1;
    }
    if request.uri().path() != "/realtime/events" || request.method() != Method::GET {
        return next.run(request).await;
    }
    let headers: serde_json::Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    let asked = json!({ "at": stage.now(), "url": request.uri().to_string(), "headers": headers });
    let answer = {
        let mut seen = stage.seen();
        seen.requests.push(asked);
        seen.answers.pop_front()
    };
    match answer {
        Some(answer) => rehearse(&answer).unwrap_or_else(|| StatusCode::NOT_IMPLEMENTED.into_response()),
        None => next.run(request).await,
    }
}

/// `{"status":503,"headers":{"retry-after":"1"},"body":"…"}`
fn rehearse(answer: &Value) -> Option<Response> {
    let status = StatusCode::from_u16(u16::try_from(answer["status"].as_u64()?).ok()?).ok()?;
    let body = answer["body"].as_str().unwrap_or_default().to_owned();
    let mut response = (status, body).into_response();
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        response.headers_mut().insert(name.parse::<HeaderName>().ok()?, value.as_str()?.parse().ok()?);
    }
    Some(response)
}

async fn answers(State(stage): State<Stage>, Json(answers): Json<VecDeque<Value>>) -> StatusCode {
    stage.seen().answers = answers;
    StatusCode::NO_CONTENT
}

async fn tell(State(stage): State<Stage>) -> Json<Value> {
    let sessions = stage.hub.stats().sessions;
    let seen = stage.seen();
    Json(json!({
        "open": sessions,
        "opened": stage.opened.load(Ordering::Relaxed),
        "requests": seen.requests,
        "emitted": seen.emitted,
        "reads": seen.reads,
        "aborted": seen.aborted,
    }))
}
