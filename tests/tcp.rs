//! End to end over real sockets, HTTP/1.1 and HTTP/2: what a network does to a stream.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::stack::{self, App, request};
use common::tcp::{Client, Raw, Server, Version, frames};
use common::{eventually, random, soon};
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::json;
use tower_revalidate::{ByeReason, Disconnect, Hub, Policy};

const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];
const STACKS: [fn(&Hub) -> App; 2] = [stack::axum, stack::tower];

async fn gone(hub: &Hub) {
    eventually("every session is closed", 0, async || hub.stats().sessions).await;
}

/// Rows A2, A4 and B1: a post on one connection, the news on another, on every stack, over either HTTP.
#[tokio::test]
async fn a_post_is_heard_on_another_connection() {
    for stack in STACKS {
        for version in VERSIONS {
            let hub = Hub::new();
            let server = Server::start(stack(&hub)).await;
            let mut listener = Client::connect(server.addr, version).await;
            let mut stream = listener.stream("room:1,room:2", "bob", None).await;
            assert_eq!(stream.hello.json()["channels"], json!(["room:1"]));
            let mut poster = Client::connect(server.addr, version).await;
            let created = poster.send(request("POST", "/posts", "alice", "")).await;
            assert_eq!(created.status(), StatusCode::CREATED);
            assert_eq!(stream.next().await.keys(), [r#"["posts","list"]"#]);
            let said = request("POST", "/rooms/1/messages", "alice", r#"{"content":"hi"}"#);
            assert_eq!(poster.send(said).await.status(), StatusCode::CREATED);
            assert_eq!(stream.next().await.payload(), json!({"content": "hi", "sender_id": "alice"}));
            let refused = poster.send(request("POST", "/realtime/events", "alice", "")).await;
            assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
            drop((stream, listener, poster));
            gone(&hub).await;
        }
    }
}

/// Many streams on one connection of HTTP/2, and one of them ends without the others.
#[tokio::test]
async fn streams_of_one_connection_are_sessions_of_their_own() {
    let hub = Hub::new();
    let server = Server::start(stack::axum(&hub)).await;
    let mut client = Client::connect(server.addr, Version::Http2).await;
    let mut one = client.stream("room:1", "alice", None).await;
    let mut other = client.stream("room:1", "bob", None).await;
    assert_ne!(one.session(), other.session());
    hub.disconnect_user("alice").await.unwrap();
    assert_eq!(one.rest().await.last().unwrap().json(), json!({"reason": "grant"}));
    hub.channel("room:1").publish("x", &1).await.unwrap();
    assert_eq!(other.next().await.payload(), 1);
    drop(other);
    gone(&hub).await;
}

/// Row A17 and defect 6: a peer that resets its connection is gone at once, and the hook hears of it once.
#[tokio::test]
async fn a_reset_connection_is_one_disconnect() {
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = ended.clone();
    let hub = Hub::builder()
        .on_disconnect(move |info, why| {
            assert_eq!((info.identity.as_deref(), why), (Some("alice"), Disconnect::Closed));
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let server = Server::start(stack::tower(&hub)).await;
    for number in 1..=20 {
        let mut raw = Raw::get(server.addr, "room:1", "alice").await;
        raw.read_until("event: hello").await;
        assert_eq!(hub.stats().sessions, 1);
        raw.reset();
        gone(&hub).await;
        assert_eq!(ended.load(Ordering::SeqCst), number);
    }
    hub.shutdown();
    drop(server);
    assert_eq!(ended.load(Ordering::SeqCst), 20);
}

/// Row A7: the socket is cut in the middle of a burst, at any byte; each event arrives exactly once.
#[tokio::test]
async fn a_socket_cut_in_a_burst_loses_nothing() {
    let mut random = random();
    let hub = Hub::builder().channel("room:*", Policy::history(10_000)).build().unwrap();
    let server = Server::start(stack::tower(&hub)).await;
    let mut heard = Vec::new();
    let mut cursor = String::new();
    let mut sent = 0_u64;
    while sent < 2000 {
        let path = format!("room:1&last_event_id={cursor}");
        let mut raw = Raw::get(server.addr, &path, "alice").await;
        if cursor.is_empty() {
            let hello = raw.read_until("\"spreadMs\":0").await;
            // The head and the first frame: it stands somewhere now.
            let id = String::from_utf8(hello).unwrap();
            cursor = id.split("id: ").nth(1).unwrap().lines().next().unwrap().to_owned();
            raw.reset();
            continue;
        }
        for _ in 0..random.u32(1..100) {
            drop(hub.channel("room:1").publish("x", &sent));
            sent += 1;
        }
        let came = raw.read(random.usize(1..8000), &format!("\"data\":{}}}", sent - 1)).await;
        raw.reset();
        let (came, last) = frames(&came, Some(&cursor));
        heard.extend(
            came.iter()
                .filter(|frame| frame.name == "message")
                .map(|frame| frame.payload().as_u64().unwrap()),
        );
        assert!(came.iter().all(|frame| frame.name != "gap"));
        cursor = last;
    }
    let mut client = Client::connect(server.addr, Version::Http1).await;
    let mut stream = client.stream("room:1", "alice", Some(&cursor)).await;
    hub.channel("room:1").publish("x", &"end").await.unwrap();
    let rest = stream.until(|frame| frame.payload() == "end").await;
    heard.extend(rest.iter().filter_map(|frame| frame.payload().as_u64()));
    assert!(heard.iter().copied().eq(0..sent), "{heard:?}");
    drop((stream, client));
    gone(&hub).await;
}

/// Row A7: the server is killed between two posts. The old cursor is of another life, and is told so.
#[tokio::test]
async fn a_restart_between_two_posts_is_a_gap_and_not_silence() {
    for version in VERSIONS {
        let hub = Hub::new();
        let server = Server::start(stack::axum(&hub)).await;
        let addr = server.addr;
        let mut client = Client::connect(addr, version).await;
        let mut stream = client.stream("room:1", "bob", None).await;
        let mut poster = Client::connect(addr, version).await;
        poster.send(request("POST", "/posts", "alice", "")).await;
        assert_eq!(stream.next().await.keys(), [r#"["posts","list"]"#]);
        let cursor = stream.parser.last_event_id.clone();
        drop(poster);
        server.stop().await;
        assert!(
            soon("the end", stream.rest()).await.iter().all(|frame| frame.name.is_empty()),
            "killed: no bye"
        );

        let hub = Hub::new();
        let server = Server::on(addr, stack::axum(&hub)).await;
        let mut poster = Client::connect(server.addr, version).await;
        poster.send(request("POST", "/posts", "alice", "")).await;
        let mut client = Client::connect(server.addr, version).await;
        let mut stream = client.stream("room:1", "bob", Some(&cursor)).await;
        assert!(!stream.resumed());
        let gap = stream.next().await;
        assert_eq!((gap.name.as_str(), gap.json()), ("gap", json!({"reason": "unknown", "spreadMs": 0})));
        poster.send(request("POST", "/posts", "alice", "")).await;
        assert_eq!(stream.next().await.keys(), [r#"["posts","list"]"#]);
    }
}

/// Invariant 10: every body ends, with a word, and the connection stays good for other requests.
#[tokio::test]
async fn a_shutdown_ends_streams_and_not_connections() {
    for version in VERSIONS {
        let hub = Hub::new();
        let server = Server::start(stack::axum(&hub)).await;
        let mut client = Client::connect(server.addr, version).await;
        let mut stream = client.stream("room:1", "alice", None).await;
        hub.shutdown();
        let last = stream.rest().await.pop().unwrap();
        assert_eq!((last.name.as_str(), last.json()), ("bye", json!({"reason": "shutdown"})));
        assert!((1000..=2000).contains(&last.retry.unwrap()));
        assert_eq!(client.send(request("GET", "/posts", "alice", "")).await.status(), StatusCode::OK);
        let mut request = request("GET", "/realtime/events", "alice", "");
        request.headers_mut().insert("x-revalidate-client", "1".parse().unwrap());
        assert_eq!(client.send(request).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

/// Heartbeats over a real socket keep it alive and move its cursor.
#[tokio::test]
async fn a_silent_stream_is_kept_alive() {
    for version in VERSIONS {
        let hub = Hub::builder().heartbeat(Duration::from_millis(60)).build().unwrap();
        let server = Server::start(stack::tower(&hub)).await;
        let mut client = Client::connect(server.addr, version).await;
        let mut stream = client.stream("", "alice", None).await;
        hub.channel("room:2").publish("x", &1).await.unwrap();
        let moved = loop {
            let beat = stream.frame().await.unwrap();
            assert_eq!(beat.name, "");
            if stream.cursor() == hub.cursor() {
                break beat;
            }
        };
        assert_eq!(moved.comments, [hub.cursor().to_string()]);
    }
}

/// Row A16: who stops reading is freed, though hyper does not poll its body any more; others are served on.
#[tokio::test]
async fn a_client_that_stops_reading_is_freed() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let told = ended.clone();
    let hub = Hub::builder()
        .stall_after(Duration::from_millis(400))
        .on_disconnect(move |info, why| told.lock().push((info.identity.as_deref().map(String::from), why)))
        .build()
        .unwrap();
    let server = Server::start(stack::axum(&hub)).await;
    let mut reading = Client::connect(server.addr, Version::Http2).await;
    let mut stream = reading.stream("room:1", "bob", None).await;
    let mut stalled = Raw::get(server.addr, "room:1", "alice").await;
    stalled.read_until("event: hello").await;
    assert_eq!(hub.stats().sessions, 2);
    let mut number = 0;
    let until = tokio::time::Instant::now() + common::HANG;
    while hub.stats().sessions == 2 {
        assert!(tokio::time::Instant::now() < until, "the stalled session was not freed");
        hub.channel("room:1")
            .publish("x", &json!({"number": number, "text": "x".repeat(4096)}))
            .await
            .unwrap();
        assert_eq!(stream.next().await.payload()["number"], number, "who reads is not held up");
        number += 1;
    }
    assert_eq!(hub.stats().sessions, 1);
    let stall = (Some("alice".to_owned()), Disconnect::Bye(ByeReason::Stalled));
    assert_eq!(*ended.lock(), std::slice::from_ref(&stall));
    // It vanishes after all, and was told of already; the other one leaves as peers do.
    stalled.reset();
    drop((stream, reading));
    gone(&hub).await;
    let left = (Some("bob".to_owned()), Disconnect::Closed);
    eventually("the other's end", vec![stall, left], async || ended.lock().clone()).await;
}

/// Row D13: 10 000 connections come and go, some politely and some not, and nothing is left of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_come_and_go_and_leave_nothing() {
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = ended.clone();
    let hub = Hub::builder()
        .on_disconnect(move |_, why| {
            counted.fetch_add((why == Disconnect::Closed).into(), Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let baseline = hub.stats();
    let server = Server::start(stack::tower(&hub)).await;
    let addr = server.addr;
    let cycles: Vec<_> = (0..20_u32)
        .map(|lane| {
            tokio::spawn(async move {
                for number in 0..500 {
                    let user = format!("u{lane}x{}", number % 7);
                    let mut raw = Raw::get(addr, &format!("user:{user}:inbox,members:{lane}"), &user).await;
                    raw.read_until("event: hello").await;
                    raw.reset();
                }
            })
        })
        .collect();
    for cycle in cycles {
        cycle.await.unwrap();
    }
    gone(&hub).await;
    assert_eq!(hub.stats(), baseline);
    eventually("each disconnect is heard", 10_000, async || ended.load(Ordering::SeqCst)).await;
}
