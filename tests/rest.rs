//! The endpoints beside the stream: whom they answer, what with, and whom they refuse before they have read anything.
#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

mod common;

use std::cell::Cell;
use std::marker::{PhantomData, PhantomPinned};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::post::{Post, said};
use common::{Visit, soon};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, Limited, StreamBody};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_revalidate::{
    Audit, Builder, ClientEvent, Event, Grant, Hub, Refusal, Revalidate, SseBody, Subscription, message,
    revalidate,
};

fn with_token(builder: Builder) -> Builder {
    builder.broadcast(async |parts: http::request::Parts| match parts.headers.get("authorization") {
        Some(token) if token == "Bearer secret" => {
            Ok(Grant::user("billing").publish("room:*").publish("invoice:*"))
        }
        _ => Err(Refusal::unauthorized("a token is needed")),
    })
}

fn broadcast(body: Value) -> Post {
    Post::to("broadcast", body.to_string()).header("authorization", "Bearer secret")
}

fn revalidation(body: Value) -> Post {
    Post::to("revalidate", body.to_string()).header("authorization", "Bearer secret")
}

/// A hub that takes what alice says, and counts it.
fn talking(builder: Builder) -> (Hub, Arc<AtomicUsize>) {
    let hub = builder.build().unwrap();
    let said = Arc::new(AtomicUsize::new(0));
    let says = said.clone();
    hub.on("room:*", "said", move |_: ClientEvent| {
        says.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(()))
    });
    (hub, said)
}

fn emit() -> Post {
    Post::emit("room:1", "said", json!("hi")).user("alice")
}

async fn ask(hub: &Hub, method: &str, path: &str) -> Response<SseBody> {
    let request = Request::builder().method(method).uri(path).body(Empty::<Bytes>::new()).unwrap();
    hub.service().oneshot(request).await.unwrap()
}

fn heard(sub: &mut Subscription) -> Vec<Event> {
    std::iter::from_fn(|| sub.try_recv().unwrap()).collect()
}

/// Rows F6 and F10, the answer letter by letter.
#[tokio::test]
async fn a_broadcast_reaches_whoever_follows() {
    let hub = with_token(Hub::builder()).build().unwrap();
    let mut bob = hub.subscribe(Grant::user("bob").follow("room:*")).unwrap().follow("room:1").unwrap();
    let answer = broadcast(json!({"channel": "room:1", "payload": {"text": "hi"}})).answer(&hub).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"success":true,"channel":"room:1"}"#);
    assert_eq!(heard(&mut bob), [message("room:1", "broadcast", &json!({"text": "hi"}))]);

    // Defect 13: what is falsy is a payload, too, and what is none is not.
    for payload in [json!(0), json!(false), json!(""), json!(null), json!([]), json!({})] {
        let body = json!({"channel": "room:1", "payload": payload, "event": "alert"});
        assert_eq!(broadcast(body).said(&hub).await.0, 200);
        assert_eq!(heard(&mut bob), [message("room:1", "alert", &payload)]);
    }
    for (body, expected) in [
        (json!({"channel": "room:1"}), "400 malformed"),
        (json!({"payload": 1}), "400 malformed"),
        (json!({"channel": 1, "payload": 1}), "400 malformed"),
        (json!({"channel": "room:*", "payload": 1}), "400 malformed"),
        (json!({"channel": "room:1", "payload": 1, "event": ""}), "400 malformed"),
        (json!({"channel": "room:1", "payload": 1, "event": "hello"}), "400 malformed"),
        (json!({"channel": "user:1", "payload": 1}), "403 accessdenied"),
        (json!({"channel": "room:1:secret", "payload": 1}), "403 accessdenied"),
        (json!([]), "400 malformed"),
        (json!(null), "400 malformed"),
    ] {
        assert_eq!(broadcast(body.clone()).refused(&hub).await, expected, "{body}");
    }
    assert_eq!(heard(&mut bob), []);
}

/// Defect 14: a client that follows several channels hears a broadcast once.
#[tokio::test(start_paused = true)]
async fn who_follows_many_channels_hears_a_broadcast_once() {
    let hub = with_token(Hub::builder()).build().unwrap();
    let mut bob = Visit::user("bob").following("room:1,room:2,room:3").open(&hub).await;
    assert_eq!(broadcast(json!({"channel": "room:2", "payload": 1})).said(&hub).await.0, 200);
    assert_eq!(bob.next().await.json(), json!({"channel": "room:2", "event": "broadcast", "data": 1}));
    assert_eq!(bob.ready().await, []);
}

#[tokio::test]
async fn a_trusted_sender_says_what_became_stale() {
    let hub = with_token(Hub::builder().scoped_key("users.me").max_keys(8)).build().unwrap();
    let [mut alice, mut bob] = ["alice", "bob"].map(|user| hub.subscribe(Grant::user(user)).unwrap());
    let both = json!({"keys": ["posts.list", ["posts", "detail", 7]]});
    assert_eq!(revalidation(both).said(&hub).await, (200, json!({"success": true})));
    let keys = Revalidate::key("posts.list").and(Revalidate::key(("posts", "detail", 7)));
    for user in [&mut alice, &mut bob] {
        assert_eq!(heard(user), [revalidate(keys.clone())]);
    }
    let mine = json!({"keys": ["users.me"], "to": ["user:alice"]});
    assert_eq!(revalidation(mine).said(&hub).await.0, 200);
    assert_eq!((heard(&mut alice), heard(&mut bob)), (vec![revalidate("users.me")], vec![]));
    assert_eq!(revalidation(json!({"keys": [[]], "to": []})).said(&hub).await.0, 200, "to nobody");

    for (body, expected) in [
        (json!({"keys": []}), "400 malformed"),
        (json!({}), "400 malformed"),
        (json!({"keys": "posts"}), "400 malformed"),
        (json!({"keys": [""]}), "400 malformed"),
        (json!({"keys": ["posts..list"]}), "400 malformed"),
        (json!({"keys": [7]}), "400 malformed"),
        (json!({"keys": [{"posts": 1}]}), "400 malformed"),
        (json!({"keys": ["posts"], "to": null}), "400 malformed"), // not everyone
        (json!({"keys": ["posts"], "to": "user:alice"}), "400 malformed"),
        (json!({"keys": ["posts"], "to": ["user:alice", "user:*"]}), "400 malformed"),
        (json!({"keys": ["users.me"]}), "403 accessdenied"),
        (json!({"keys": ["posts", "users.me.name"]}), "403 accessdenied"),
        (json!({"keys": ["a", "b", "c", "d", "e", "f", "g", "h", "i"]}), "400 malformed"),
    ] {
        assert_eq!(revalidation(body.clone()).refused(&hub).await, expected, "{body}");
    }
    assert_eq!((heard(&mut alice), heard(&mut bob)), (vec![], vec![]), "all of it or nothing");
}

/// Row F8, the answer letter by letter; defect 19: nothing but identities.
#[tokio::test(start_paused = true)]
async fn stats_tell_who_follows_what_and_nothing_else_of_them() {
    let hub = Hub::builder()
        .stats(async |parts: http::request::Parts| match parts.headers.get("x-admin") {
            Some(_) => Ok(()),
            None => Err(Refusal::unauthorized("for operators")),
        })
        .build()
        .unwrap();
    let stats = async || {
        let request = Request::get("/realtime/stats").header("x-admin", "1").body(Empty::<Bytes>::new());
        let answer = hub.service().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert_eq!(stats().await, r#"{"connected":0,"channels":[]}"#);
    let visit = |user: &str| {
        let info = json!({"name": "secret name", "token": "secret token"});
        Visit::of(Grant::user(user).follow("room:*").info(info).scope("role:secret"))
    };
    let in_process = hub.subscribe(Grant::user("worker").follow("room:*")).unwrap();
    let worker = in_process.follow("room:1").unwrap();
    let streams = [
        visit("bob").following("room:1,secret").open(&hub).await,
        visit("alice").following("room:1,room:2").open(&hub).await,
        visit("alice").following("room:1").open(&hub).await,
        visit("carol").open(&hub).await,
    ];
    assert_eq!(
        stats().await,
        r#"{"connected":4,"channels":[{"name":"room:1","clients":3,"onlineUsers":["alice","bob"]},{"name":"room:2","clients":1,"onlineUsers":["alice"]}]}"#
    );
    drop((streams, worker));
    assert_eq!(stats().await, r#"{"connected":0,"channels":[]}"#, "the counters come back to 0");

    let (status, error) = said(ask(&hub, "GET", "/realtime/stats").await).await;
    assert_eq!((status, error), (401, json!({"code": "unauthorized", "message": "for operators"})));
}

#[tokio::test(start_paused = true)]
async fn stats_of_more_sessions_than_are_counted_at_once_are_whole() {
    let hub = Hub::builder().stats(async |_| Ok(())).build().unwrap();
    let mut streams = Vec::new();
    for nth in 0..2500 {
        streams.push(Visit::user(&format!("{}", nth % 1500)).following("room:1").answer(&hub).await);
    }
    drop(streams.drain(..100));
    let (_, stats) = said(ask(&hub, "GET", "/realtime/stats").await).await;
    assert_eq!((&stats["connected"], &stats["channels"][0]["clients"]), (&json!(2400), &json!(2400)));
    let users = stats["channels"][0]["onlineUsers"].as_array().unwrap();
    assert!(users.len() == 1000 && users.is_sorted_by_key(|user| user.as_str().unwrap().to_owned()));
    assert_eq!(stats["channels"][0]["more"], true);
    assert_eq!(stats.get("more"), None);
}

#[tokio::test]
async fn what_nobody_may_use_is_not_there() {
    let hub = Hub::new();
    for (method, path) in
        [("GET", "stats"), ("POST", "broadcast"), ("POST", "revalidate"), ("OPTIONS", "stats")]
    {
        let (status, error) = said(ask(&hub, method, &format!("/realtime/{path}")).await).await;
        assert_eq!((status, &error["code"]), (404, &json!("notfound")), "{path}");
    }
    assert_eq!(broadcast(json!({"channel": "room:1", "payload": 1})).refused(&hub).await, "404 notfound");
    let off = with_token(Hub::builder().enabled(false).stats(async |_| Ok(()))).build().unwrap();
    off.relay("room:*", "said");
    for (method, path) in [("GET", "stats"), ("POST", "broadcast"), ("POST", "revalidate"), ("POST", "emit")]
    {
        assert_eq!(ask(&off, method, &format!("/{path}")).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn another_method_is_answered_with_those_that_are_allowed() {
    let hub = with_token(Hub::builder().stats(async |_| Ok(()))).build().unwrap();
    for path in ["emit", "broadcast", "revalidate", "stats"] {
        let allowed = if path == "stats" { "GET, HEAD, OPTIONS" } else { "POST, OPTIONS" };
        let others: &[&str] =
            if path == "stats" { &["POST", "PUT", "X"] } else { &["GET", "HEAD", "PUT", "X"] };
        for method in others {
            let answer = ask(&hub, method, &format!("/realtime/{path}")).await;
            assert_eq!(answer.headers()["allow"], allowed, "{method} {path}");
            let (status, error) = said(answer).await;
            assert_eq!((status, &error["code"]), (405, &json!("methodnotallowed")), "{method} {path}");
        }
        let options = ask(&hub, "OPTIONS", &format!("/realtime/{path}")).await;
        assert_eq!(
            (options.status().as_u16(), &options.headers()["allow"]),
            (204, &allowed.parse().unwrap())
        );
    }
    let head = ask(&hub, "HEAD", "/realtime/stats").await;
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    assert!(head.into_body().is_end_stream());
}

/// Defect 16: a no is a no, and a panic takes nothing down.
#[tokio::test]
async fn an_authorizer_that_says_no_or_panics_is_obeyed() {
    let parts = |parts: &http::request::Parts| parts.headers["x-case"].to_str().unwrap().to_owned();
    let judge = move |head: http::request::Parts| {
        let case = parts(&head);
        async move {
            match &*case {
                "no" => Err(Refusal::forbidden("not you")),
                "error" => Err(Refusal::error("the database is away")),
                "panic" => panic!("on purpose"),
                _ => Ok(Grant::user("x").publish("**")),
            }
        }
    };
    let guard = move |head| {
        let judged = judge(head);
        async move { judged.await.map(drop) }
    };
    let hub = Hub::builder().authorize(judge).broadcast(judge).stats(guard).build().unwrap();
    let (_, count) = (hub.relay("room:*", "said"), hub.cursor());
    for (case, expected) in [("no", "403 accessdenied"), ("error", "500 internal"), ("panic", "500 internal")]
    {
        for post in [
            emit(),
            broadcast(json!({"channel": "room:1", "payload": 1})),
            revalidation(json!({"keys": ["posts"]})),
        ] {
            assert_eq!(post.header("x-case", case).refused(&hub).await, expected);
        }
        let request = Request::get("/stats").header("x-case", case).body(Empty::<Bytes>::new()).unwrap();
        let (status, error) = said(hub.service().oneshot(request).await.unwrap()).await;
        assert_eq!(format!("{status} {}", error["code"].as_str().unwrap()), expected);
    }
    assert_eq!(hub.cursor(), count, "nothing was published");
    assert_eq!(emit().header("x-case", "yes").said(&hub).await.0, 204);
}

/// Cross-site request forgery, by the means that a page of another site has.
#[tokio::test]
async fn a_form_of_another_site_does_nothing() {
    let (hub, count) = talking(Hub::builder().trust_origin("https://app.example.com"));
    let browser = |post: Post| {
        post.header("cookie", "session=alice")
            .header("host", "example.com")
            .header("sec-fetch-mode", "navigate")
    };
    let evil = |post: Post| {
        browser(post).header("sec-fetch-site", "cross-site").header("origin", "https://evil.example")
    };
    // <form method=post action=https://example.com/realtime/emit>, with each `enctype`.
    let json = r#"{"channel":"room:1","event":"said","data":"hi"}"#;
    let encoded: String = form_urlencoded::byte_serialize(json.as_bytes()).collect();
    let multipart = format!("--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{json}\r\n--x--\r\n");
    for (kind, body) in [
        ("application/x-www-form-urlencoded", format!("{encoded}=")),
        ("text/plain", format!("{json}=\r\n")),
        ("text/plain;charset=UTF-8", json.to_owned()),
        ("multipart/form-data; boundary=x", multipart),
        ("application/json", json.to_owned()), // what only a preflight would let through
    ] {
        let form = Post::to("emit", body).user("alice").header("content-type", kind);
        assert_eq!(evil(form.clone()).refused(&hub).await, "403 crosssite", "{kind}");
        assert_eq!(
            evil(form.clone()).header("sec-fetch-site", "same-site").refused(&hub).await,
            "403 crosssite",
            "a subdomain of somebody else's"
        );
        let older = evil(form.clone()).without("sec-fetch-site");
        assert_eq!(older.refused(&hub).await, "403 crosssite", "{kind}");
        assert_eq!(evil(form.clone()).header("origin", "null").refused(&hub).await, "403 crosssite");
        // Its own forms are refused, too, for they are no JSON.
        if kind != "application/json" {
            let own = browser(form).header("sec-fetch-site", "same-origin");
            assert_eq!(own.refused(&hub).await, "415 mediatype", "{kind}");
        }
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
    for own in [
        browser(emit()).header("sec-fetch-site", "same-origin").header("origin", "https://example.com"),
        browser(emit()).header("sec-fetch-site", "none"),
        browser(emit()).header("origin", "https://example.com"),
        browser(emit()).header("sec-fetch-site", "same-site").header("origin", "https://app.example.com"),
        browser(emit()).header("sec-fetch-site", "cross-site").header("origin", "https://app.example.com"),
        evil(emit()).without("cookie").header("authorization", "Bearer token"),
        browser(emit()),
    ] {
        assert_eq!(own.said(&hub).await.0, 204);
    }
    let basic = evil(emit()).without("cookie").header("authorization", "Basic YTpi");
    assert_eq!(basic.refused(&hub).await, "403 crosssite");
    assert_eq!(count.load(Ordering::SeqCst), 7);
    assert!(Hub::builder().trust_origin("https://app.example.com/").build().is_err());
    assert!(Hub::builder().trust_origin("*").build().is_err());

    let trusted = with_token(Hub::builder()).build().unwrap();
    for post in [broadcast(json!({"channel": "room:1", "payload": 1})), revalidation(json!({"keys": ["a"]}))]
    {
        assert_eq!(evil(post).refused(&trusted).await, "403 crosssite", "every POST");
    }
}

#[tokio::test]
async fn only_json_is_read() {
    let (hub, count) = talking(Hub::builder());
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON ;x=y"] {
        assert_eq!(emit().header("content-type", kind).said(&hub).await.0, 204, "{kind}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 3);
    for kind in ["text/json", "application/json5", "application", "", "text/plain, application/json"] {
        assert_eq!(emit().header("content-type", kind).refused(&hub).await, "415 mediatype", "{kind}");
    }
    assert_eq!(emit().without("content-type").refused(&hub).await, "415 mediatype");
    let mut twice = emit().request();
    twice.headers_mut().append("content-type", "text/plain".parse().unwrap());
    assert_eq!(said(hub.service().oneshot(twice).await.unwrap()).await.0, 415);
    for body in [
        "",
        "{",
        "null",
        "[]",
        r#"{"channel":"room:1","event":"said","data":"hi"}}"#,
        r#"{"channel":"room:1","event":"said","data":"hi""#,
        r#"{"channel":"room:1","channel":"room:1","event":"said"}"#,
        r#"{"channel":"room:1","event":"said","data":"\ud800"}"#,
        r#"{"channel":"room:1","event":"said","data":1e999}"#,
        r#"{"channel":null,"event":"said"}"#,
        r#"{"channel":"room:1"}"#,
        "\u{feff}{}",
    ] {
        let post = Post::to("emit", body.to_owned()).user("alice");
        assert_eq!(post.refused(&hub).await, "400 malformed", "{body}");
    }
    let invalid_utf8 =
        Post::to("emit", &b"{\"channel\":\"room:1\",\"event\":\"said\",\"data\":\"\xff\"}"[..]);
    assert_eq!(invalid_utf8.user("alice").refused(&hub).await, "400 malformed");
    let nested = |depth| {
        let data = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        Post::to("emit", format!(r#"{{"channel":"room:1","event":"said","data":{data}}}"#)).user("alice")
    };
    assert_eq!(nested(100).said(&hub).await.0, 204);
    assert_eq!(nested(101).refused(&hub).await, "400 malformed");
    assert_eq!(nested(30_000).refused(&hub).await, "400 malformed");
    assert_eq!(count.load(Ordering::SeqCst), 4);
}

/// A body of some frames.
fn frames<S>(frames: S) -> Request<StreamBody<S>> {
    let (mut head, _) = emit().request().into_parts();
    head.headers.remove("content-length");
    Request::from_parts(head, StreamBody::new(frames))
}

fn piece(bytes: impl Into<Bytes>) -> Result<Frame<Bytes>, std::io::Error> {
    Ok(Frame::data(bytes.into()))
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read_to_its_end() {
    let (hub, count) = talking(Hub::builder().max_payload_bytes(1000));
    let of = |bytes: usize| Post::emit("room:1", "said", json!("x".repeat(bytes - 2))).user("alice");
    assert_eq!(of(1000).said(&hub).await.0, 204);
    assert_eq!(of(1001).refused(&hub).await, "413 toolarge");
    let blank = |bytes: usize| Post::to("emit", " ".repeat(bytes)).user("alice");
    assert_eq!(blank(1000 + 4096).refused(&hub).await, "400 malformed");
    assert_eq!(blank(1000 + 4097).refused(&hub).await, "413 toolarge");

    let read = Arc::new(AtomicUsize::new(0));
    let reads = read.clone();
    let endless = futures_util::stream::repeat_with(move || {
        reads.fetch_add(1, Ordering::SeqCst);
        piece(&[b' '; 100][..])
    });
    let (status, error) = said(hub.service().oneshot(frames(endless)).await.unwrap()).await;
    assert_eq!((status, &error["code"]), (413, &json!("toolarge")));
    assert_eq!(read.load(Ordering::SeqCst), 51, "one more than fits");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

/// Nothing is read of who may not be heard anyway.
#[tokio::test]
async fn who_is_refused_by_the_head_is_not_listened_to() {
    let hub = with_token(Hub::builder()).build().unwrap();
    hub.relay("room:*", "said");
    let body = futures_util::stream::repeat_with(|| -> Result<Frame<Bytes>, std::io::Error> {
        panic!("the body was read")
    });
    for (header, value, path, expected) in [
        ("content-type", "text/plain", "emit", 415),
        ("sec-fetch-site", "cross-site", "emit", 403),
        ("authorization", "Bearer wrong", "broadcast", 401),
    ] {
        let mut request = frames(body.clone());
        *request.uri_mut() = format!("/realtime/{path}").parse().unwrap();
        request.headers_mut().insert("cookie", "a=b".parse().unwrap());
        request.headers_mut().insert(header, value.parse().unwrap());
        assert_eq!(hub.service().oneshot(request).await.unwrap().status(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (hub, count) = talking(Hub::builder());
    let began = tokio::time::Instant::now();
    let never = futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
    let (status, error) =
        soon("an answer", async { said(hub.service().oneshot(frames(never)).await.unwrap()).await }).await;
    assert_eq!((status, &error["code"]), (408, &json!("timeout")));
    assert_eq!(began.elapsed(), Duration::from_secs(10));

    // A byte at a time is no way around it, nor are frames of nothing.
    let (hub, _) = talking(Hub::builder().body_timeout(Duration::from_secs(3)));
    let began = tokio::time::Instant::now();
    let drips = futures_util::stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(700)).await;
        Some((piece(" "), ()))
    });
    let request = frames(Box::pin(drips));
    let answer = soon("an answer", async { said(hub.service().oneshot(request).await.unwrap()).await }).await;
    assert_eq!(answer.0, 408);
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

/// On the real clock: where a frame is always there, a timer is never looked at.
#[tokio::test]
async fn frames_of_nothing_end_too() {
    let (hub, _) = talking(Hub::builder().body_timeout(Duration::from_millis(20)));
    let nothing = futures_util::stream::repeat_with(|| piece(""));
    assert_eq!(said(hub.service().oneshot(frames(nothing)).await.unwrap()).await.0, 408);
}

#[tokio::test]
async fn a_body_that_breaks_off_says_nothing() {
    let (hub, count) = talking(Hub::builder());
    let json = r#"{"channel":"room:1","event":"said"}"#;
    let broken = futures_util::stream::iter([piece(json), Err(std::io::Error::other("reset"))]);
    let (status, error) = said(hub.service().oneshot(frames(broken)).await.unwrap()).await;
    assert_eq!((status, &error["code"]), (400, &json!("malformed")));
    assert_eq!(count.load(Ordering::SeqCst), 0);

    let pieces = json.as_bytes().chunks(3).map(piece).collect::<Vec<_>>();
    let whole =
        futures_util::stream::iter(pieces.into_iter().chain([Ok(Frame::trailers(http::HeaderMap::new()))]));
    assert_eq!(said(hub.service().oneshot(frames(whole)).await.unwrap()).await.0, 204);

    let (head, body) = emit().request().into_parts();
    let limited = Request::from_parts(head, Limited::new(body, 10));
    let (status, error) = said(hub.service().oneshot(limited).await.unwrap()).await;
    assert_eq!((status, &error["code"]), (413, &json!("toolarge")), "by a layer's own bound");
}

/// Neither `Sync` nor `Unpin`, and its error is any.
struct Awkward {
    body: Full<Bytes>,
    _not_sync: PhantomData<Cell<()>>,
    _not_unpin: PhantomPinned,
}

impl Body for Awkward {
    type Data = bytes::buf::Chain<Bytes, Bytes>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        // No unsafe: a body of its own stands for the one inside.
        let mut body = self.body.clone();
        let frame = std::task::ready!(Pin::new(&mut body).poll_frame(cx)).unwrap().unwrap();
        Poll::Ready(Some(Ok(frame.map_data(|data| {
            let (one, two) = (data.slice(..9), data.slice(9..));
            bytes::Buf::chain(one, two)
        }))))
    }
}

#[tokio::test]
async fn any_body_is_taken() {
    let (hub, _) = talking(Hub::builder().max_payload_bytes(100));
    let (head, body) = emit().request().into_parts();
    let body = Awkward { body, _not_sync: PhantomData, _not_unpin: PhantomPinned };
    // It never ends, so that the bound does.
    let (status, _) = said(hub.service().oneshot(Request::from_parts(head, body)).await.unwrap()).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn https_is_asked_for_everywhere() {
    let is_https = |parts: &http::request::Parts| parts.headers.contains_key("x-https");
    let hub = with_token(Hub::builder().require_https(is_https).stats(async |_| Ok(()))).build().unwrap();
    hub.relay("room:*", "said");
    for post in
        [emit(), broadcast(json!({"channel": "room:1", "payload": 1})), revalidation(json!({"keys": ["a"]}))]
    {
        assert_eq!(post.refused(&hub).await, "403 httpsrequired");
        assert!(post.header("x-https", "1").said(&hub).await.0 < 300);
    }
    let (status, error) = said(ask(&hub, "GET", "/stats").await).await;
    assert_eq!((status, &error["code"]), (403, &json!("httpsrequired")));
}

#[tokio::test]
async fn an_operator_is_told_for_what_who_was_refused() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = told.clone();
    let hook = move |audit: &Audit<'_>| match audit {
        Audit::Refused { path, status, code, identity, .. } => {
            tells.lock().push(format!("{path} {} {code} {}", status.as_u16(), identity.unwrap_or("-")));
        }
        other => panic!("{other:?}"),
    };
    let builder = with_token(Hub::builder()).on_audit(hook).stats(async |_| Err(Refusal::forbidden("no")));
    let hub = builder.build().unwrap();
    hub.on("room:*", "said", async |_: ClientEvent| -> Result<(), Refusal> {
        Err(Refusal::conflict("late"))
    });
    emit().refused(&hub).await;
    Post::emit("doc:7", "said", json!(1)).by(Grant::user("eve")).refused(&hub).await;
    emit().header("content-type", "text/plain").refused(&hub).await;
    broadcast(json!({"channel": "user:1", "payload": 1})).refused(&hub).await;
    revalidation(json!({})).header("authorization", "x").refused(&hub).await;
    drop(ask(&hub, "GET", "/stats").await);
    assert_eq!(
        *told.lock(),
        [
            "emit 409 conflict alice",
            "emit 403 accessdenied eve",
            "emit 415 mediatype -",
            "broadcast 403 accessdenied billing",
            "revalidate 401 unauthorized -",
            "stats 403 accessdenied -",
        ]
    );
}

/// Through the layer: what goes through the hub itself is no mutation that forgot to say something.
#[tokio::test]
async fn the_layer_does_not_miss_what_was_said_here() {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let tells = told.clone();
    let hook = move |audit: &Audit<'_>| tells.lock().push(format!("{audit:?}"));
    let hub = with_token(Hub::builder().audit_mutations(true)).on_audit(hook).build().unwrap();
    hub.relay("room:*", "said");
    let app = axum::Router::new().nest_service("/realtime", hub.service()).layer(hub.layer());
    for post in
        [emit(), broadcast(json!({"channel": "room:1", "payload": 1})), revalidation(json!({"keys": ["a"]}))]
    {
        let answer = app.clone().oneshot(post.request()).await.unwrap();
        assert!(answer.status().is_success());
    }
    assert_eq!(*told.lock(), [""; 0]);
}
