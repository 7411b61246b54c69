//! What a hub holds: the figures that the documentation gives, counted by the allocator.

#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use http::Request;
use http_body_util::Empty;
use tower::ServiceExt;
use tower_revalidate::{Grant, Hub, Revalidate, SseBody};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const SESSIONS: usize = 10_000;
const EVENTS: usize = 200;

fn held() -> usize {
    dhat::HeapStats::get().curr_bytes
}

/// Opens a stream and reads its `hello`, after which it sleeps with a waker.
async fn open(hub: &Hub, channels: &str, user: Option<usize>) -> SseBody {
    let mut request =
        Request::get(format!("/events?channels={channels}")).body(Empty::<Bytes>::new()).unwrap();
    if let Some(user) = user {
        request.extensions_mut().insert(Grant::user(user).follow("room:*"));
    }
    let mut body = hub.service().oneshot(request).await.unwrap().into_body();
    poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await.unwrap().unwrap();
    poll_fn(|cx| {
        assert!(Pin::new(&mut body).poll_next(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    body
}

/// Bytes a session, its body included.
async fn per_session(channels: impl Fn(usize) -> String, user: impl Fn(usize) -> Option<usize>) -> usize {
    let hub = Hub::new();
    drop(open(&hub, "", None).await);
    let before = held();
    let mut bodies = Vec::with_capacity(SESSIONS);
    for session in 0..SESSIONS {
        bodies.push(open(&hub, &channels(session), user(session)).await);
    }
    let held = held() - before;
    assert_eq!(hub.stats().sessions, SESSIONS);
    drop(bodies);
    assert_eq!((hub.stats().sessions, hub.stats().subscriptions), (0, 0));
    held / SESSIONS
}

/// Bytes a retained event over its payload, or over its key.
async fn per_event(publish: impl Fn(&Hub, usize)) -> usize {
    let hub = Hub::new();
    publish(&hub, EVENTS);
    let before = held();
    (0..EVENTS).for_each(|event| publish(&hub, event));
    (held() - before) / EVENTS
}

#[tokio::test]
async fn a_session_and_an_event_hold_what_the_documentation_says() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let anonymous = per_session(|_| String::new(), |_| None).await;
    let signed_in = per_session(|_| String::new(), Some).await;
    let shared = per_session(|_| "room:1,room:2,room:3".into(), Some).await;
    let own = per_session(|session| format!("room:{session}"), Some).await;
    let message = per_event(|hub, _| drop(hub.channel("room:1").publish("m", &"x".repeat(100)))).await - 102;
    let key = per_event(|hub, event| drop(hub.revalidate(Revalidate::key(("posts", event))))).await;
    println!("bytes a session: anonymous {anonymous}, signed in {signed_in}");
    println!("bytes with three shared channels {shared}, with a channel of its own {own}");
    println!("bytes a retained event: message {message} and its payload, key {key} with its text");
    assert!(anonymous <= 280 && signed_in <= 880 && shared <= 960 && own <= 1280);
    assert!(message <= 400 && key <= 400);
}
