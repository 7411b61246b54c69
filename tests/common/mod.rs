//! The harness of the tests of whole promises: a strict reader of streams ([`sse`]), what a
//! client sends ([`post`]), a demo app on every stack
//! ([`stack`]), a server and clients over real sockets ([`tcp`]).
//!
//! Tests wait for conditions, never for a time. [`HANG`] is the guard: reaching it is a failure. On the paused
//! clock a test that waits in vain reaches it at once.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

pub mod post;
pub mod sse;
pub mod stack;
pub mod tcp;

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use serde_json::Value;
use tower::ServiceExt;
use tower_revalidate::{Cursor, Grant, Hub, SseBody};

pub use sse::{Frame, Stream};

/// Long enough for the slowest machine; nothing that works comes near it.
pub const HANG: Duration = Duration::from_secs(60);

/// Waits for `future`, and fails where it hangs.
#[track_caller]
pub fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(HANG, future).await {
            Ok(value) => value,
            Err(_) => panic!("waited in vain for {what}, at {caller}"),
        }
    }
}

/// Looks again and again until it sees what is expected, and fails with what it saw instead.
pub async fn eventually<T: PartialEq + Debug>(what: &str, expected: T, look: impl AsyncFn() -> T) {
    let until = tokio::time::Instant::now() + HANG;
    loop {
        let seen = look().await;
        if seen == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{what}: expected {expected:?}, saw {seen:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Random numbers of a seed that is printed; `SEED` replays one.
pub fn random() -> fastrand::Rng {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// One request for a stream, in process.
#[derive(Clone, Default)]
pub struct Visit {
    grant: Option<Grant>,
    channels: String,
    query: String,
    cursor: Option<String>,
    headers: HeaderMap,
}

impl Visit {
    /// Without a grant.
    pub fn stranger() -> Self {
        Visit::default()
    }

    /// With the grant that the app's middleware would have put in the request's extensions.
    pub fn of(grant: Grant) -> Self {
        Visit { grant: Some(grant), ..Visit::default() }
    }

    /// A user with the patterns that the tests follow most.
    pub fn user(id: &str) -> Self {
        Visit::of(Grant::user(id).follow("room:*"))
    }

    pub fn following(mut self, channels: &str) -> Self {
        channels.clone_into(&mut self.channels);
        self
    }

    /// More of the query, as it stands in the URL.
    pub fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    /// Comes back with a cursor.
    pub fn from(mut self, cursor: impl std::fmt::Display) -> Self {
        self.cursor = Some(cursor.to_string());
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    pub fn request(&self) -> Request<Empty<Bytes>> {
        let channels: String = form_urlencoded::byte_serialize(self.channels.as_bytes()).collect();
        let uri = format!("/realtime/events?channels={channels}&{}", self.query);
        let mut request = Request::get(uri).body(Empty::new()).unwrap();
        request.headers_mut().extend(self.headers.clone());
        if let Some(cursor) = &self.cursor {
            request.headers_mut().insert("last-event-id", cursor.parse().unwrap());
        }
        if let Some(grant) = &self.grant {
            request.extensions_mut().insert(grant.clone());
        }
        request
    }

    pub async fn answer(&self, hub: &Hub) -> Response<SseBody> {
        hub.service().oneshot(self.request()).await.unwrap()
    }

    /// Opens the stream and reads its `hello`.
    pub async fn open(&self, hub: &Hub) -> Stream<SseBody> {
        let response = self.answer(hub).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut stream = Stream::new(response.into_body(), self.cursor.as_deref());
        stream.greet().await;
        stream
    }
}

/// A whole answer that is JSON.
pub async fn json(response: Response<SseBody>) -> (StatusCode, Value) {
    assert_eq!(response.headers()["content-type"], "application/json");
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

/// The cursor with another offset.
pub fn at(cursor: Cursor, offset: u64) -> Cursor {
    Cursor { offset, ..cursor }
}
