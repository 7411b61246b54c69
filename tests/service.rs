//! The service: where it answers, whom it lets in, and how it says no.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::{Router, middleware};
use bytes::Bytes;
use common::{Stream, Visit, json, soon};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_revalidate::{ByeReason, Disconnect, Grant, Hub, Policy, Refusal, SseBody};

fn ask(method: &str, path: &str) -> Request<Empty<Bytes>> {
    Request::builder().method(method).uri(path).body(Empty::new()).unwrap()
}

async fn answer(hub: &Hub, method: &str, path: &str) -> Response<SseBody> {
    hub.service().oneshot(ask(method, path)).await.unwrap()
}

/// What a native `EventSource` is told when it is turned away for a while.
async fn bye(response: Response<SseBody>) -> String {
    assert_eq!(response.status(), StatusCode::OK, "another status ends an `EventSource` for good");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let frames = Stream::new(response.into_body(), None).rest().await;
    let [bye] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(bye.name, "bye");
    assert!((1000..=10_000).contains(&bye.retry.unwrap()), "{bye:?}");
    bye.json()["reason"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_an_event_stream_and_nothing_else() {
    let hub = Hub::new();
    let mut request = ask("GET", "/realtime/events");
    request.headers_mut().insert("connection", "Upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    let response = hub.service().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-store, no-transform");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert!(!headers.contains_key("connection") && !headers.contains_key("upgrade"));
    assert!(!response.body().is_end_stream());
    assert_eq!(response.body().size_hint().exact(), None);
}

#[tokio::test(start_paused = true)]
async fn the_mount_ends_at_the_border_of_a_segment() {
    for (mount, there) in [("/realtime", "/realtime/events"), ("/api/v1/live", "/api/v1/live/events")] {
        let hub = Hub::builder().mount(mount).build().unwrap();
        for path in [there, "/events", &format!("{there}?channels=")] {
            assert_eq!(answer(&hub, "GET", path).await.status(), StatusCode::OK, "{path} under {mount}");
        }
        for path in [
            "/".to_owned(),
            mount.to_owned(),
            format!("{mount}/"),
            format!("{mount}x/events"),
            format!("{mount}//events"),
            format!("{there}/"),
            format!("{there}x"),
            format!("{there}/x"),
            format!("/x{there}"),
            "/eventsx".to_owned(),
            "//events".to_owned(),
        ] {
            let (status, error) = json(answer(&hub, "GET", &path).await).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path} under {mount}");
            assert_eq!(error["code"], "notfound");
        }
        assert_eq!(hub.stats().sessions, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_can_stand_at_another_path() {
    let hub = Hub::new();
    let service = hub.service().at("/live");
    let there = service.clone().oneshot(ask("GET", "/live/events")).await.unwrap();
    assert_eq!(there.status(), StatusCode::OK);
    let gone = service.oneshot(ask("GET", "/realtime/events")).await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn axum_may_nest_it_anywhere() {
    let hub = Hub::new();
    let app = Router::new().nest("/api/v1", Router::new().nest_service("/live", hub.service()));
    for (path, status) in [
        ("/api/v1/live/events", StatusCode::OK),
        ("/api/v1/livex/events", StatusCode::NOT_FOUND),
        ("/live/events", StatusCode::NOT_FOUND),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mount_layer_answers_its_path_and_passes_on_the_rest() {
    let hub = Hub::new();
    let app = ServiceBuilder::new().layer(hub.mount_layer("/live")).service(service_fn(
        |request: Request<Empty<Bytes>>| async move {
            Ok::<_, Infallible>(Response::new(request.uri().path().to_owned()))
        },
    ));
    let ask = async |path: &str| app.clone().oneshot(ask("GET", path)).await.unwrap();
    let stream = ask("/live/events").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(hub.stats().sessions, 1);
    assert_eq!(
        ask("/live/other").await.status(),
        StatusCode::NOT_FOUND,
        "below the mount nobody else answers"
    );
    for path in ["/", "/livex/events", "/x/live/events", "/events"] {
        let passed = ask(path).await;
        assert_eq!(passed.status(), StatusCode::OK);
        assert_eq!(passed.into_body().collect().await.unwrap().to_bytes(), path);
    }
}

#[tokio::test(start_paused = true)]
async fn another_method_is_answered_with_those_that_are_allowed() {
    let hub = Hub::new();
    for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"] {
        let response = answer(&hub, method, "/realtime/events").await;
        assert_eq!(response.headers()["allow"], "GET, HEAD, OPTIONS", "{method}");
        let (status, error) = json(response).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(error["code"], "methodnotallowed");
        assert_eq!(answer(&hub, method, "/realtime/x").await.status(), StatusCode::NOT_FOUND);
    }
    let options = answer(&hub, "OPTIONS", "/realtime/events").await;
    assert_eq!(options.status(), StatusCode::NO_CONTENT);
    assert_eq!(options.headers()["allow"], "GET, HEAD, OPTIONS");
    assert!(options.body().is_end_stream());
    assert_eq!(hub.stats().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn head_has_the_headers_of_a_stream_and_opens_nothing() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = opened.clone();
    let hub = Hub::builder()
        .on_connect(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let head = answer(&hub, "HEAD", "/realtime/events?channels=room:1").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    assert!(head.body().is_end_stream());
    assert_eq!((hub.stats().sessions, opened.load(Ordering::SeqCst)), (0, 0));
}

/// Row D7.
#[tokio::test(start_paused = true)]
async fn a_session_has_at_most_256_channels() {
    let hub = Hub::builder().channel("c:*", Policy::latest().public()).build().unwrap();
    let names = |count: usize| (0..count).map(|id| format!("c:{id}")).collect::<Vec<_>>().join(",");
    let stream = Visit::stranger().following(&names(256)).open(&hub).await;
    assert_eq!(stream.hello.json()["channels"].as_array().unwrap().len(), 256);
    assert_eq!(hub.stats().sessions, 1);

    let (status, error) = json(Visit::stranger().following(&names(257)).answer(&hub).await).await;
    assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &"malformed".into()));
    assert!(error["message"].as_str().unwrap().contains("256"), "{error}");
    let spread = format!("channels={}", names(200).replace(",", "&channels="));
    let twice = Visit::stranger().following(&names(256)).query(&spread);
    assert_eq!(
        twice.open(&hub).await.hello.json()["channels"].as_array().unwrap().len(),
        256,
        "a channel named twice is one"
    );
    assert_eq!(hub.stats().sessions, 1, "of those refused, nothing was opened");
}

#[tokio::test(start_paused = true)]
async fn a_query_has_at_most_8_kib() {
    let hub = Hub::new();
    let query = |bytes: usize| format!("/realtime/events?x={}", "y".repeat(bytes - 2));
    let opened = answer(&hub, "GET", &query(8192)).await;
    assert_eq!(opened.status(), StatusCode::OK);
    let (status, error) = json(answer(&hub, "GET", &query(8193)).await).await;
    assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &"malformed".into()));
    assert_eq!(hub.stats().sessions, 1);
    let hub = Hub::builder().max_query_bytes(16).max_channels(1).build().unwrap();
    assert_eq!(answer(&hub, "GET", &query(17)).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer(&hub, "GET", "/events?channels=a,b").await.status(), StatusCode::BAD_REQUEST);
}

/// Defect 10: one channel that is unknown, forbidden or no name does not fail the others.
#[tokio::test(start_paused = true)]
async fn a_channel_that_is_refused_is_listed_and_the_rest_opens() {
    let hub = Hub::builder().channel("news", Policy::history(8).public()).build().unwrap();
    let long = "x".repeat(257);
    let asked = format!("room:1,news,user:2:private,a*,{long},:, news,,");
    let mut stream = Visit::user("alice").following(&asked).open(&hub).await;
    let hello = stream.hello.json();
    assert_eq!(hello["channels"], serde_json::json!(["room:1", "news"]));
    assert_eq!(
        hello["denied"],
        serde_json::json!([
            {"channel": "user:2:private", "code": "accessdenied"},
            {"channel": "a*", "code": "malformed"},
            {"channel": long, "code": "malformed"},
            {"channel": ":", "code": "malformed"},
            {"channel": " news", "code": "accessdenied"},
        ])
    );
    for (channel, hears) in [("user:2:private", false), ("room:1", true), ("news", true)] {
        let channel = tower_revalidate::Channel::parse(channel).unwrap();
        hub.channel(&channel).publish("x", &hears).await.unwrap();
    }
    let heard = stream.until(|event| event.json()["channel"] == "news").await;
    assert!(heard.iter().all(|event| event.payload() == true), "{heard:?}");
}

/// Defect 3: who asks for nothing follows nothing.
#[tokio::test(start_paused = true)]
async fn no_channels_are_no_channels() {
    let hub = Hub::builder().channel("news", Policy::history(8).public()).build().unwrap();
    for path in ["/events", "/events?channels=", "/events?channels=,,&channels", "/events?channel=news"] {
        let response = answer(&hub, "GET", path).await;
        let mut stream = Stream::new(response.into_body(), None);
        stream.greet().await;
        assert_eq!(stream.hello.json()["channels"], serde_json::json!([]), "{path}");
        hub.channel("news").publish("x", &1).await.unwrap();
        hub.revalidate("sentinel").await.unwrap();
        assert_eq!(stream.next().await.keys(), [r#"["sentinel"]"#], "{path}");
    }
}

/// Row D2: what the authorizer says is obeyed (defect 16). E16: to the letter.
#[tokio::test(start_paused = true)]
async fn who_is_refused_is_told_why_and_nothing_opens() {
    let hub = Hub::builder()
        .authorize(|parts| async move {
            match parts.headers.get("x-case").and_then(|case| case.to_str().ok()) {
                Some("401") => Err(Refusal::unauthorized("Sign in first")),
                Some("403") => Err(Refusal::forbidden("Not a member of this room")),
                Some("error") => {
                    std::fs::read("/nonexistent/secret-of-the-server")?;
                    Ok(Grant::user("mallory"))
                }
                Some("panic") => panic!("an authorizer that panics, on purpose"),
                _ => Ok(Grant::user("alice")),
            }
        })
        .build()
        .unwrap();
    for (case, status, error) in [
        ("401", StatusCode::UNAUTHORIZED, r#"{"code":"unauthorized","message":"Sign in first"}"#),
        ("403", StatusCode::FORBIDDEN, r#"{"code":"accessdenied","message":"Not a member of this room"}"#),
        (
            "error",
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"code":"internal","message":"authorization failed"}"#,
        ),
        (
            "panic",
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"code":"internal","message":"authorization failed"}"#,
        ),
    ] {
        let response = Visit::stranger().header("x-case", case).answer(&hub).await;
        assert_eq!(response.status(), status, "{case}");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), error);
        assert_eq!(hub.stats().sessions, 0, "{case}");
    }
    Visit::stranger().open(&hub).await;
}

/// Also when it panics before it made a future.
#[tokio::test(start_paused = true)]
async fn an_authorizer_that_panics_at_once_opens_nothing() {
    fn broken(_: http::request::Parts) -> std::future::Ready<Result<Grant, Refusal>> {
        panic!("an authorizer that panics, on purpose")
    }
    let hub = Hub::builder().authorize(broken).build().unwrap();
    let (status, _) = json(Visit::stranger().answer(&hub).await).await;
    assert_eq!((status, hub.stats().sessions), (StatusCode::INTERNAL_SERVER_ERROR, 0));
}

/// An authorizer decides alone: a grant that stands in the extensions is not asked.
#[tokio::test(start_paused = true)]
async fn an_authorizer_gets_the_whole_request_and_decides_alone() {
    let hub = Hub::builder()
        .authorize(|parts| async move {
            assert_eq!(parts.uri.path(), "/realtime/events");
            let user = parts.headers["x-user"].to_str().unwrap_or_default().to_owned();
            Ok(Grant::user(user).follow("room:1"))
        })
        .build()
        .unwrap();
    let visit = Visit::of(Grant::user("root").scope("role:admin").follow("**"));
    let stream = visit.header("x-user", "alice").following("room:1,room:2").open(&hub).await;
    let hello = stream.hello.json();
    assert_eq!(hello["channels"], serde_json::json!(["room:1"]));
    assert_eq!(hello["denied"][0]["channel"], "room:2");
}

/// Row D2 and defect 17: while it is decided nothing is open, and what comes meanwhile is not lost.
#[tokio::test(start_paused = true)]
async fn a_slow_authorizer_opens_nothing_early_and_loses_nothing() {
    let decide = Arc::new(Notify::new());
    let decided = decide.clone();
    let hub = Hub::builder()
        .authorize(move |_| {
            let decided = decided.clone();
            async move {
                decided.notified().await;
                Ok(Grant::user("alice").follow("room:*"))
            }
        })
        .build()
        .unwrap();
    let cursor = hub.cursor();
    let service = hub.service();
    let request = Visit::stranger().following("room:1").from(cursor).request();
    let asked = tokio::spawn(async move { service.oneshot(request).await.unwrap() });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!asked.is_finished());
    assert_eq!(hub.stats().sessions, 0);
    hub.revalidate("posts").await.unwrap();
    hub.channel("room:1").publish("x", &1).await.unwrap();
    decide.notify_one();
    let response = soon("the decision", asked).await.unwrap();
    let mut stream = Stream::new(response.into_body(), Some(&cursor.to_string()));
    stream.greet().await;
    assert_eq!(stream.next().await.keys(), [r#"["posts"]"#]);
    assert_eq!(stream.next().await.payload(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_it_is_decided_leaves_nothing() {
    let hub = Hub::builder().authorize(|_| std::future::pending()).build().unwrap();
    let service = hub.service();
    let asked = tokio::spawn(service.oneshot(Visit::stranger().request()));
    tokio::task::yield_now().await;
    asked.abort();
    assert!(soon("the end", asked).await.unwrap_err().is_cancelled());
    assert_eq!(hub.stats().sessions, 0);
}

/// PROTOCOL R10: a grant that was being made while it was revoked is not used.
#[tokio::test(start_paused = true)]
async fn a_grant_that_changes_while_it_is_made_opens_nothing() {
    let decide = Arc::new(Notify::new());
    let decided = decide.clone();
    let hub = Hub::builder()
        .authorize(move |_| {
            let decided = decided.clone();
            async move {
                decided.notified().await;
                Ok(Grant::user("alice"))
            }
        })
        .build()
        .unwrap();
    for (client, status) in [("", StatusCode::OK), ("1", StatusCode::SERVICE_UNAVAILABLE)] {
        let mut visit = Visit::stranger();
        if !client.is_empty() {
            visit = visit.header("x-revalidate-client", client);
        }
        let asked = tokio::spawn(hub.service().oneshot(visit.request()));
        tokio::task::yield_now().await;
        hub.disconnect_user("alice").await.unwrap();
        decide.notify_one();
        let response = soon("the decision", asked).await.unwrap().unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(hub.stats().sessions, 0);
        if status == StatusCode::OK {
            assert_eq!(bye(response).await, "grant");
        }
    }
}

/// Row G2 and defect 2: the app's own middleware also guards the stream.
#[tokio::test(start_paused = true)]
async fn a_layer_outside_that_refuses_also_refuses_the_stream() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = opened.clone();
    let hub = Hub::builder()
        .on_connect(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let guard = middleware::from_fn(|request: axum::extract::Request, next: middleware::Next| async move {
        match request.headers().contains_key("authorization") {
            true => next.run(request).await,
            false => Response::builder().status(401).body(Body::empty()).unwrap(),
        }
    });
    let app = Router::new().nest_service("/realtime", hub.service()).layer(hub.layer()).layer(guard);
    let request = Request::get("/realtime/events").body(Body::empty()).unwrap();
    assert_eq!(app.clone().oneshot(request).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!((hub.stats().sessions, opened.load(Ordering::SeqCst)), (0, 0));
    let mut request = Request::get("/realtime/events").body(Body::empty()).unwrap();
    request.headers_mut().insert("authorization", "yes".parse().unwrap());
    let _stream = app.oneshot(request).await.unwrap();
    assert_eq!((hub.stats().sessions, opened.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_full_hub_turns_away_in_a_form_the_client_can_live_with() {
    let hub = Hub::builder().max_sessions(1).build().unwrap();
    let first = Visit::stranger().open(&hub).await;
    assert_eq!(bye(Visit::stranger().answer(&hub).await).await, "busy");

    let response = Visit::stranger().header("x-revalidate-client", "1").answer(&hub).await;
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait));
    let (status, error) = json(response).await;
    assert_eq!((status, &error["code"]), (StatusCode::SERVICE_UNAVAILABLE, &"busy".into()));
    assert_eq!(hub.stats().sessions, 1);

    drop(first);
    Visit::stranger().open(&hub).await;
}

#[tokio::test(start_paused = true)]
async fn places_in_lists_of_topics_are_bounded_too() {
    let hub = Hub::builder().max_subscriptions(4).build().unwrap();
    let first = Visit::of(Grant::user(1).follow("c:*")).following("c:1").open(&hub).await;
    assert_eq!(hub.stats().subscriptions, 4, "everyone, the user, the user's scope and a channel");
    assert_eq!(bye(Visit::stranger().answer(&hub).await).await, "busy");
    drop(first);
    assert_eq!(hub.stats().subscriptions, 0);
    let many = Visit::of(Grant::user(1).follow("c:*")).following("c:1,c:2");
    assert_eq!(bye(many.answer(&hub).await).await, "busy");
    assert_eq!(hub.stats().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_the_shutdown_is_turned_away() {
    let hub = Hub::new();
    hub.shutdown();
    assert_eq!(bye(Visit::stranger().answer(&hub).await).await, "shutdown");
    let response = Visit::stranger().header("x-revalidate-client", "1").answer(&hub).await;
    assert!(response.headers().contains_key("retry-after"));
    let (status, error) = json(response).await;
    assert_eq!((status, &error["code"]), (StatusCode::SERVICE_UNAVAILABLE, &"shutdown".into()));
}

/// Some clients take an event without an id for the end of theirs: turned away once, they would come back fresh.
#[tokio::test(start_paused = true)]
async fn who_is_turned_away_keeps_the_cursor_that_they_came_with() {
    let hub = Hub::builder().max_sessions(1).build().unwrap();
    hub.revalidate("posts").await.unwrap();
    let cursor = hub.cursor();
    let back = Visit::user("alice").from(cursor);
    let turned_away = async |response: Response<SseBody>| {
        let mut stream = Stream::new(response.into_body(), Some(&cursor.to_string()));
        let bye = stream.next().await;
        assert_eq!((bye.name.as_str(), bye.cursor()), ("bye", cursor));
        assert_eq!(stream.rest().await, []);
    };
    let first = Visit::stranger().open(&hub).await;
    turned_away(back.answer(&hub).await).await;
    drop(first);
    let opened = back.answer(&hub).await;
    hub.shutdown();
    turned_away(opened).await;
    turned_away(back.answer(&hub).await).await;

    let strange = Visit::user("alice").from("no cursor").answer(&hub).await;
    assert_eq!(Stream::new(strange.into_body(), None).next().await.id, None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_said_hello_ends_without_an_id() {
    let hub = Hub::new();
    let mut stream = Visit::user("alice").from(hub.cursor()).open(&hub).await;
    hub.revalidate("posts").await.unwrap();
    hub.shutdown();
    let bye = stream.rest().await.pop().unwrap();
    assert_eq!((bye.name.as_str(), bye.id), ("bye", None));
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_not_enabled_is_not_there() {
    let hub = Hub::builder().enabled(false).build().unwrap();
    let (status, error) = json(answer(&hub, "GET", "/realtime/events").await).await;
    assert_eq!((status, &error["code"]), (StatusCode::NOT_FOUND, &"notfound".into()));
}

/// Row G6.
#[tokio::test(start_paused = true)]
async fn hooks_hear_of_each_session_once_and_their_panics_are_their_own() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (connects, disconnects) = (heard.clone(), heard.clone());
    let hub = Hub::builder()
        .on_connect(move |info| {
            connects.lock().push(format!("+{} {:?} {:?}", info.id, info.identity, info.channels));
            panic!("a hook that panics, on purpose");
        })
        .on_disconnect(move |info, why| {
            disconnects.lock().push(format!("-{} {:?} {:?} {why}", info.id, info.identity, info.channels));
            panic!("a hook that panics, on purpose");
        })
        .build()
        .unwrap();
    let stream = Visit::user("alice").following("room:1,secret").open(&hub).await;
    let info = format!(r#"{} Some("alice") ["room:1"]"#, stream.session());
    assert_eq!(*heard.lock(), [format!("+{info}")]);
    drop(stream);
    assert_eq!(*heard.lock(), [format!("+{info}"), format!("-{info} closed")]);

    heard.lock().clear();
    let stranger = Visit::stranger().open(&hub).await;
    hub.shutdown();
    drop(stranger);
    let heard = heard.lock().clone();
    assert_eq!(heard.len(), 2, "an end and a drop are one disconnect: {heard:?}");
    assert!(heard[1].ends_with("None [] shutdown"));
}

/// Row A17: whatever ends a session, its hook hears of it once, and why.
#[tokio::test(start_paused = true)]
async fn a_hook_hears_what_ended_a_session() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let told = ended.clone();
    let hub = Hub::builder()
        .on_disconnect(move |info, why| {
            told.lock().push(format!("{}: {why}", info.identity.as_deref().unwrap()));
        })
        .build()
        .unwrap();
    let open = async |grant: Grant| Visit::of(grant).open(&hub).await;
    let closed = open(Grant::user("closed")).await;
    let revoked = open(Grant::user("revoked")).await;
    let expiring = open(Grant::user("expiring").expires_in(Duration::from_secs(5))).await;
    let mut last = open(Grant::user("last")).await;
    drop(closed);
    hub.disconnect_user("revoked").await.unwrap();
    common::eventually("the grant to expire", 1, async || hub.stats().sessions).await;
    let subscription = hub.subscribe(Grant::user("worker")).unwrap();
    drop(subscription);
    hub.shutdown();
    let bye = last.rest().await.pop().unwrap();
    let expected =
        ["closed: closed", "revoked: grant", "expiring: expired", "worker: closed", "last: shutdown"];
    assert_eq!(*ended.lock(), expected);
    assert_eq!(bye.json()["reason"], Disconnect::Bye(ByeReason::Shutdown).to_string());
    drop((revoked, expiring, last));
    assert_eq!(ended.lock().len(), expected.len(), "once");
}

/// What a hook does most often is to tell others: nothing is locked while it runs.
#[test]
fn a_hook_may_use_the_hub() {
    static HUB: std::sync::OnceLock<Hub> = std::sync::OnceLock::new();
    // The subscription that a hook opens calls the hooks in turn: they tell of it once, not for ever.
    let once = |hook: fn(&tower_revalidate::SessionInfo)| {
        move |info: &tower_revalidate::SessionInfo| {
            if info.identity.as_deref() != Some("auditor") {
                hook(info);
            }
        }
    };
    let left = once(|_| tells("left"));
    let hub = Hub::builder()
        .on_connect(once(|_| tells("joined")))
        .on_disconnect(move |info, _| left(info))
        .filter(|_, _, _| HUB.get().is_some_and(|hub| hub.stats().sessions < 100))
        .build()
        .unwrap();
    fn tells(what: &str) {
        let hub = HUB.get().unwrap();
        drop(hub.channel("lobby").publish(what, &hub.stats().sessions));
        drop(hub.subscribe(Grant::user("auditor").follow("**")).unwrap());
    }
    HUB.set(hub).unwrap();
    let hub = HUB.get().unwrap();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut lobby = hub.subscribe(Grant::user("auditor").follow("**")).unwrap().follow("lobby").unwrap();
        let heard = |lobby: &mut tower_revalidate::Subscription| {
            let event = futures_util::FutureExt::now_or_never(lobby.recv()).expect("an event").unwrap();
            match event {
                tower_revalidate::Event::Message(message) => message.event,
                other => panic!("{other:?}"),
            }
        };
        let sub = hub.subscribe(Grant::user("alice")).unwrap();
        assert_eq!(heard(&mut lobby), "joined");
        drop(sub);
        assert_eq!(heard(&mut lobby), "left");
        let sub = hub.subscribe(Grant::user("alice")).unwrap();
        assert_eq!(heard(&mut lobby), "joined");
        hub.disconnect_user("alice").wait().unwrap();
        assert_eq!(heard(&mut lobby), "left");
        drop(sub);
        done.send(()).unwrap();
    });
    ended.recv_timeout(common::HANG).expect("it hangs, or it failed");
}

/// No two sessions have the same name.
#[tokio::test(start_paused = true)]
async fn sessions_have_names_of_their_own() {
    let hub = Hub::new();
    let mut names = Vec::new();
    for _ in 0..100 {
        names.push(Visit::stranger().open(&hub).await.session());
    }
    assert!(names.iter().all(|name| name.len() > 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit())));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 100);
}

/// A time of for ever is refused or works; it never overflows.
#[tokio::test(start_paused = true)]
async fn times_of_for_ever_do_not_overflow() {
    let set: [fn(tower_revalidate::Builder) -> tower_revalidate::Builder; 5] = [
        |hub| hub.heartbeat(Duration::MAX),
        |hub| hub.stall_after(Duration::MAX),
        |hub| hub.min_interval(Duration::MAX),
        |hub| hub.gap_every(Duration::MAX),
        |hub| hub.retain_for(Duration::MAX),
    ];
    for (number, set) in set.into_iter().enumerate() {
        let Ok(hub) = set(Hub::builder()).build() else { continue };
        let grant = Grant::user("alice").follow("room:*").expires_in(Duration::MAX);
        let mut stream = Visit::of(grant).following("room:1").open(&hub).await;
        hub.channel("room:1").publish("x", &number).await.unwrap();
        hub.revalidate("posts").await.unwrap();
        drop(hub.revalidate(tower_revalidate::Revalidate::key("late").delay(Duration::MAX)));
        let frames = stream.until(|frame| frame.name == "message").await;
        assert_eq!(frames.len(), 2);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(hub.stats().sessions, 1);
    }
}

#[test]
fn a_wrong_option_is_named() {
    let hub = Hub::builder;
    for (builder, option) in [
        (hub().mount("realtime"), "mount"),
        (hub().mount("/realtime/"), "mount"),
        (hub().mount("/realtime?x"), "mount"),
        (hub().heartbeat(Duration::from_millis(1)), "heartbeat"),
        (hub().write_bytes(0), "write_bytes"),
        (hub().max_keys(0), "max_keys"),
        (hub().max_payload_bytes(1 << 20), "retain_channel_bytes"),
        (hub().retain_bytes(1), "retain_bytes"),
        (hub().channel("room:**:x", Policy::latest()), "channel"),
        (hub().channel(("room", "*"), Policy::latest()), "channel"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.option, option);
        assert!(error.to_string().contains(option), "{error}");
    }
}
