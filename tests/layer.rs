//! The layer: what a handler says reaches those who may know, after the change and never without it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::routing::post;
use axum::{Extension, Router};
use common::stack::{App, request};
use common::{Visit, soon};
use http::{Request, Response, StatusCode, header};
use serde_json::json;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_revalidate::{
    Audit, Event, Fault, Grant, Hub, QueryKey, Revalidate, RevalidateExt, Scope, message, revalidate,
};

type Stack = fn(&Hub) -> App;

on_every_stack!(
    a_mutation_tells_every_other_client,
    only_a_success_or_a_redirect_is_published,
    a_handler_that_panics_publishes_nothing,
    every_session_of_the_user_hears_and_no_other,
    pages_open_their_stream_where_their_data_was_read,
    a_client_knows_its_own_change,
);

async fn answer(app: &App, request: Request<Body>) -> Response<Body> {
    soon("an answer", app.clone().oneshot(request)).await.unwrap()
}

async fn a_mutation_tells_every_other_client(stack: Stack) {
    let hub = Hub::new();
    let app = stack(&hub);
    let mut one = Visit::stranger().open(&hub).await;
    let mut other = Visit::user("bob").open(&hub).await;
    let created = answer(&app, request("POST", "/posts", "alice", "")).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert!(created.extensions().get::<Revalidate>().is_none(), "the layer takes it out");
    for stream in [&mut one, &mut other] {
        let heard = stream.next().await;
        assert_eq!(heard.json(), json!({"keys": [["posts", "list"]], "spreadMs": 0}));
        assert_eq!(heard.cursor(), hub.cursor(), "alone in its batch it carries the id");
    }
}

async fn only_a_success_or_a_redirect_is_published(stack: Stack) {
    for (status, published) in [
        (200, true),
        (204, true),
        (303, true),
        (307, true),
        (400, false),
        (401, false),
        (404, false),
        (409, false),
        (422, false),
        (500, false),
        (503, false),
    ] {
        let hub = Hub::new();
        let app = stack(&hub);
        let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
        let response = answer(&app, request("POST", &format!("/posts?status={status}"), "alice", "")).await;
        assert_eq!(response.status(), status);
        hub.revalidate("sentinel").await.unwrap();
        let heard = soon("an event", sub.recv()).await.unwrap();
        let both = revalidate(["posts.list", "sentinel"]);
        assert_eq!(heard, if published { both } else { revalidate("sentinel") }, "{status}");
    }
}

async fn a_handler_that_panics_publishes_nothing(stack: Stack) {
    let hub = Hub::new();
    let app = stack(&hub);
    let before = hub.cursor();
    let asked = tokio::spawn(app.clone().oneshot(request("POST", "/panic", "alice", "")));
    assert!(soon("the panic", asked).await.unwrap_err().is_panic());
    assert_eq!(hub.cursor(), before);
    let created = answer(&app, request("POST", "/posts", "alice", "")).await;
    assert_eq!(created.status(), StatusCode::CREATED, "the panic took nothing down");
}

async fn every_session_of_the_user_hears_and_no_other(stack: Stack) {
    let hub = Hub::new();
    let app = stack(&hub);
    let mut tabs = [Visit::user("alice").open(&hub).await, Visit::user("alice").open(&hub).await];
    let mut other = Visit::user("alic").open(&hub).await;
    let mut stranger = Visit::stranger().open(&hub).await;
    answer(&app, request("PATCH", "/profile", "alice", "")).await;
    for tab in &mut tabs {
        assert_eq!(tab.next().await.keys(), [r#"["users","me"]"#]);
    }
    hub.revalidate("sentinel").await.unwrap();
    for stream in [&mut other, &mut stranger] {
        assert_eq!(stream.next().await.keys(), [r#"["sentinel"]"#]);
    }
}

/// PROTOCOL R8: what changes between the page's data and its stream is heard.
async fn pages_open_their_stream_where_their_data_was_read(stack: Stack) {
    let hub = Hub::new();
    let app = stack(&hub);
    hub.revalidate("before").await.unwrap();
    let page = answer(&app, request("GET", "/posts", "alice", "")).await;
    let stamp = page.headers()["x-revalidate-cursor"].to_str().unwrap().to_owned();
    assert_eq!(stamp, hub.cursor().to_string());
    answer(&app, request("POST", "/posts", "bob", "")).await;
    let mut stream = Visit::user("alice").from(stamp).open(&hub).await;
    assert!(stream.resumed());
    assert_eq!(stream.next().await.keys(), [r#"["posts","list"]"#]);
}

/// PROTOCOL R11.
async fn a_client_knows_its_own_change(stack: Stack) {
    let hub = Hub::new();
    let app = stack(&hub);
    let mut stream = Visit::stranger().open(&hub).await;
    let id = "0123456789abcdef0123456789abcdef";
    for (sent, told) in [
        (id, true),
        ("0123456789ABCDEF0123456789ABCDEF", false),
        ("0123456789abcdef0123456789abcde", false),
        ("0123456789abcdef0123456789abcdef0", false),
        ("\"},\"keys\":[[]],\"x\":{\"y\":\"1234567", false),
    ] {
        let mut create = request("POST", "/posts", "alice", "");
        create.headers_mut().insert("x-revalidate-id", sent.parse().unwrap());
        answer(&app, create).await;
        let heard = stream.next().await.json();
        assert_eq!(heard.get("origin"), told.then(|| json!(id)).as_ref(), "{sent}");
        assert_eq!(heard["keys"], json!([["posts", "list"]]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_two_requests_is_nobodys_own() {
    let hub = Hub::new();
    let app = common::stack::axum(&hub);
    let mut stream = Visit::stranger().open(&hub).await;
    let (alice, bob) = ("a".repeat(32), "b".repeat(32));
    for id in [&alice, &bob] {
        let mut create = request("POST", "/posts", "alice", "");
        create.headers_mut().insert("x-revalidate-id", id.parse().unwrap());
        answer(&app, create).await;
    }
    // Both before the stream was polled, so that one frame stands for both.
    assert_eq!(stream.next().await.json(), json!({"keys": [["posts", "list"]], "spreadMs": 0}));
}

/// A service that answers with what `respond` gives.
fn app<R: 'static>(
    hub: &Hub,
    respond: impl Fn() -> Response<R> + Clone,
) -> impl tower::Service<Request<()>, Response = Response<R>, Error = Infallible> + Clone {
    let service = service_fn(move |_: Request<()>| {
        let response = respond();
        async { Ok(response) }
    });
    hub.layer().layer(service)
}

async fn respond<R: 'static>(hub: &Hub, respond: impl Fn() -> Response<R> + Clone) -> Response<R> {
    app(hub, respond).oneshot(Request::get("/").body(()).unwrap()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_string_and_an_array_give_equal_frames() {
    let mut frames = Vec::new();
    for revalidate in [Revalidate::from("users.list"), ["users.list"].into(), vec!["users.list"].into()] {
        let hub = Hub::new();
        let mut stream = Visit::stranger().open(&hub).await;
        respond(&hub, || Response::new(()).revalidate(revalidate.clone())).await;
        frames.push(stream.next().await.data);
    }
    assert_eq!(frames[0].as_deref(), Some(r#"{"keys":[["users","list"]],"spreadMs":0}"#));
    assert!(frames.iter().all(|frame| *frame == frames[0]), "{frames:?}");
}

/// Keys go over the wire as segments, so that no client can take a prefix of text for one.
#[tokio::test(start_paused = true)]
async fn a_prefix_is_of_whole_segments() {
    let hub = Hub::new();
    let mut stream = Visit::stranger().open(&hub).await;
    hub.revalidate(["posts.list", "posts.listArchived", "posts.list.page"]).await.unwrap();
    assert_eq!(
        stream.next().await.keys(),
        [r#"["posts","list"]"#, r#"["posts","listArchived"]"#],
        "`posts.list` stands for what is below it, and not for what begins alike"
    );
    let list = QueryKey::new("posts.list").unwrap();
    assert!(list.covers(&QueryKey::new(("posts", "list", json!({"page": 1}))).unwrap()));
    assert!(!list.covers(&QueryKey::new("posts.listArchived").unwrap()));
}

#[tokio::test(start_paused = true)]
async fn an_audience_hears_and_nobody_else() {
    let nobody: Vec<Scope> = Vec::new();
    for (audience, heard) in [
        (Revalidate::key("secret").to("role:admin"), true),
        (Revalidate::key("secret").to_any(["role:guest", "role:admin"]), true),
        (Revalidate::key("secret").to(("role", "guest")), false),
        (Revalidate::key("secret").to_any(nobody), false),
        (Revalidate::key("secret").to(("role", "*")), false),
        (Revalidate::key("secret").to(("role", "")), false),
        (Revalidate::key("secret").to(("role", "x:admin")), false),
        (Revalidate::key("secret").to("role:**"), false),
    ] {
        let hub = Hub::new();
        let mut admin = Visit::of(Grant::user(1).scope("role:admin")).open(&hub).await;
        let mut stranger = Visit::stranger().open(&hub).await;
        respond(&hub, || Response::new(()).revalidate(audience.clone())).await;
        hub.revalidate("sentinel").await.unwrap();
        let keys = admin.next().await.keys();
        assert_eq!(keys.contains(&r#"["secret"]"#.to_owned()), heard, "{audience:?}");
        assert_eq!(stranger.next().await.keys(), [r#"["sentinel"]"#], "{audience:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_is_told_through_its_members_scope() {
    let hub = Hub::new();
    let mut member = Visit::of(Grant::user(1).scope(("room", 7))).open(&hub).await;
    let mut other = Visit::of(Grant::user(2).scope(("room", 70))).open(&hub).await;
    respond(&hub, || Response::new(()).revalidate(Revalidate::key("room.messages").to(("room", 7)))).await;
    hub.revalidate("sentinel").await.unwrap();
    assert_eq!(member.next().await.keys(), [r#"["room","messages"]"#, r#"["sentinel"]"#]);
    assert_eq!(other.next().await.keys(), [r#"["sentinel"]"#]);
}

/// Scopes come from what the app's own middleware put into the request.
#[tokio::test(start_paused = true)]
async fn a_scope_comes_from_the_requests_extensions() {
    #[derive(Clone)]
    struct Tenant(&'static str);
    let hub = Hub::new();
    let app = Router::new()
        .route(
            "/orders",
            post(|Extension(Tenant(tenant)): Extension<Tenant>| async move {
                Revalidate::key("orders").to(("tenant", tenant))
            }),
        )
        .layer(hub.layer())
        .layer(Extension(Tenant("acme")));
    let mut acme = hub.subscribe(Grant::user(1).scope("tenant:acme")).unwrap();
    let mut other = hub.subscribe(Grant::user(2).scope("tenant:other")).unwrap();
    app.oneshot(request("POST", "/orders", "", "")).await.unwrap();
    hub.revalidate("sentinel").await.unwrap();
    assert_eq!(soon("an event", acme.recv()).await.unwrap(), revalidate(["orders", "sentinel"]));
    assert_eq!(soon("an event", other.recv()).await.unwrap(), revalidate("sentinel"));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_twice_merges() {
    let hub = Hub::new();
    let mut sub = hub.subscribe(Grant::user("alice")).unwrap();
    let mine = Revalidate::key("mine").to(("user", "alice"));
    respond(&hub, || Response::new(()).revalidate("a").revalidate("b").revalidate(mine.clone())).await;
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), revalidate(["a", "b", "mine"]));

    let app = Router::new()
        .route("/", post(|| async { (Revalidate::key("a"), Revalidate::key("b"), "done") }))
        .layer(hub.layer());
    app.oneshot(request("POST", "/", "", "")).await.unwrap();
    assert_eq!(
        soon("an event", sub.recv()).await.unwrap(),
        revalidate(["a", "b"]),
        "and so do the parts of axum's tuples"
    );
}

/// Row B14: many updates, one revalidation for all.
#[tokio::test(start_paused = true)]
async fn a_batch_of_updates_is_one_frame() {
    let hub = Hub::new();
    let mut stream = Visit::stranger().open(&hub).await;
    let before = hub.cursor();
    let updates = Revalidate::keys((0..100).map(|id| ("posts", "detail", id)));
    respond(&hub, || Response::new(()).revalidate(updates.clone())).await;
    assert_eq!(hub.cursor().offset, before.offset + 1, "one event");
    assert_eq!(stream.next().await.keys().len(), 100);

    for id in 0..100 {
        respond(&hub, || Response::new(()).revalidate(("posts", "detail", id))).await;
    }
    assert_eq!(
        stream.next().await.keys().len(),
        100,
        "and what many responses said before it could be written"
    );
    hub.revalidate("sentinel").await.unwrap();
    assert_eq!(stream.next().await.keys(), [r#"["sentinel"]"#]);
}

#[tokio::test(start_paused = true)]
async fn two_stacked_layers_publish_once() {
    let hub = Hub::new();
    let app = hub.layer().layer(app(&hub, || Response::new(()).revalidate("posts")));
    let before = hub.cursor();
    let response = app.oneshot(Request::get("/").body(()).unwrap()).await.unwrap();
    assert_eq!(hub.cursor().offset, before.offset + 1);
    assert_eq!(
        response.headers()["x-revalidate-cursor"].to_str().unwrap(),
        before.to_string(),
        "the stamp is of before the handler ran"
    );
}

/// A body that is none, and an error that is none: nothing is asked of either.
#[tokio::test(start_paused = true)]
async fn bodies_and_errors_pass_as_they_are() {
    struct Opaque(Cell<u32>);
    let hub = Hub::new();
    let Opaque(body) =
        respond(&hub, || Response::new(Opaque(Cell::new(7))).revalidate("posts")).await.into_body();
    assert_eq!(body.get(), 7);

    let before = hub.cursor();
    let failing = hub.layer().layer(service_fn(|_: Request<()>| async { Err::<Response<()>, _>("broken") }));
    let error = failing.oneshot(Request::get("/").body(()).unwrap()).await.unwrap_err();
    assert_eq!(error, "broken");
    assert_eq!(hub.cursor(), before);
}

#[tokio::test(start_paused = true)]
async fn no_response_is_stamped_that_a_shared_cache_or_a_stream_would_keep() {
    let hub = Hub::new();
    let with = |name: header::HeaderName, value: &'static str| {
        let response = Response::builder().header(name, value).body(()).unwrap();
        let hub = hub.clone();
        async move {
            let (head, ()) = response.into_parts();
            let again = move || Response::from_parts(head.clone(), ());
            respond(&hub, again).await.headers().contains_key("x-revalidate-cursor")
        }
    };
    assert!(with(header::CACHE_CONTROL, "private, max-age=60").await);
    assert!(with(header::CONTENT_TYPE, "text/html").await);
    assert!(!with(header::CACHE_CONTROL, "public, max-age=60").await);
    assert!(!with(header::CACHE_CONTROL, "max-age=1,  S-MaxAge=60").await);
    assert!(!with(header::CONTENT_TYPE, "text/event-stream; charset=utf-8").await);
    let failed = respond(&hub, || Response::builder().status(404).body(()).unwrap()).await;
    assert!(!failed.headers().contains_key("x-revalidate-cursor"));
    let posted = app(&hub, || Response::new(())).oneshot(Request::post("/").body(()).unwrap()).await.unwrap();
    assert!(!posted.headers().contains_key("x-revalidate-cursor"));
}

/// PROTOCOL R8: the stamp is read before the inner service ran, whatever happens while it does.
#[tokio::test(start_paused = true)]
async fn what_changes_while_a_page_is_made_is_after_its_stamp() {
    let hub = Hub::new();
    let before = hub.cursor();
    let publisher = hub.clone();
    let page = hub.layer().layer(service_fn(move |_: Request<()>| {
        let hub = publisher.clone();
        async move {
            hub.revalidate("posts").await.unwrap();
            Ok::<_, Infallible>(Response::new(()))
        }
    }));
    let response = page.oneshot(Request::get("/").body(()).unwrap()).await.unwrap();
    let stamp = response.headers()["x-revalidate-cursor"].to_str().unwrap();
    assert_eq!(stamp, before.to_string());
    let mut stream = Visit::stranger().from(stamp).open(&hub).await;
    assert_eq!(stream.next().await.keys(), [r#"["posts"]"#]);
}

/// The core of the layer, for stacks whose layers are not tower's.
#[tokio::test(start_paused = true)]
async fn observe_and_finish_do_what_the_layer_does() {
    let hub = Hub::new();
    let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
    let id = "c".repeat(32);
    let request = Request::get("/").header("x-revalidate-id", &id).body(()).unwrap();
    let seen = hub.observe(request.method(), request.uri(), request.headers());
    let stamp = seen.cursor().to_string();
    let (mut head, ()) = Response::new(()).revalidate("posts").into_parts();
    seen.finish(head.status, &mut head.headers, &mut head.extensions);
    assert!(head.extensions.get::<Revalidate>().is_none());
    assert_eq!(head.headers["x-revalidate-cursor"].to_str().unwrap(), stamp);
    match soon("an event", sub.recv()).await.unwrap() {
        Event::Revalidate(stale) => assert_eq!(stale.origin.unwrap().to_string(), id),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_never_waits_for_its_news() {
    let hub = Hub::builder().min_interval(Duration::from_secs(20)).build().unwrap();
    let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
    let began = tokio::time::Instant::now();
    for key in ["a", "b", "c"] {
        respond(&hub, || Response::new(()).revalidate(key)).await;
    }
    let late = Revalidate::key("d").delay(Duration::from_secs(50));
    respond(&hub, || Response::new(()).revalidate(late.clone())).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "on the paused clock");
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), revalidate("a"));
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), revalidate(["b", "c"]));
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), revalidate("d"));
    assert!(began.elapsed() >= Duration::from_secs(50));
}

/// A handler has nobody to tell: what is over a bound is cut to prefixes, never dropped, and never an error.
#[tokio::test(start_paused = true)]
async fn over_the_cap_keys_collapse_and_nothing_is_lost() {
    let hub = Hub::builder().max_keys(64).build().unwrap();
    let mut stream = Visit::of(Grant::user(1).scope("role:b")).open(&hub).await;
    let many: Vec<_> = (0..1000).map(|id| QueryKey::new(("posts", "detail", id)).unwrap()).collect();
    let audience = Revalidate::keys(many.clone()).to_any(["role:a", "role:b"]);
    respond(&hub, || Response::new(()).revalidate(audience.clone())).await;
    let told: Vec<QueryKey> = serde_json::from_value(stream.next().await.json()["keys"].clone()).unwrap();
    assert!(told.len() <= 32, "keys times scopes are at most 64: {}", told.len());
    assert!(many.iter().all(|key| told.iter().any(|told| told.covers(key))), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_told_to_the_hook_and_the_rest_is_published() {
    let faults = Arc::new(AtomicUsize::new(0));
    let audiences = Arc::new(AtomicUsize::new(0));
    let (counted, refused) = (faults.clone(), audiences.clone());
    let hub = Hub::builder()
        .on_audit(move |audit| {
            counted.fetch_add(1, Ordering::SeqCst);
            let is_audience = matches!(audit, Audit::Fault(Fault::Audience(_)));
            refused.fetch_add(usize::from(is_audience), Ordering::SeqCst);
            panic!("a hook that panics, on purpose");
        })
        .build()
        .unwrap();
    let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
    let said = Revalidate::key("posts..list").and(Revalidate::key("secret").to(("user", "*"))).and("c");
    let response = respond(&hub, || Response::new(()).revalidate(said.clone())).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        soon("an event", sub.recv()).await.unwrap(),
        revalidate(["posts", "c"]),
        "a refused part leaves the prefix before it"
    );
    assert_eq!(faults.load(Ordering::SeqCst), 2);
    assert_eq!(audiences.load(Ordering::SeqCst), 1);
}

/// A layer is made once a route, and its state is the hub's.
#[tokio::test(start_paused = true)]
async fn layers_of_one_hub_are_one() {
    let hub = Hub::new();
    let route = |key: &'static str| post(move || async move { Revalidate::key(key) }).layer(hub.layer());
    let app = Router::new().route("/a", route("a")).route("/b", route("b"));
    let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
    for path in ["/a", "/b"] {
        app.clone().oneshot(request("POST", path, "", "")).await.unwrap();
    }
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), revalidate(["a", "b"]));
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_not_enabled_publishes_nothing() {
    let hub = Hub::builder().enabled(false).build().unwrap();
    let before = hub.cursor();
    respond(&hub, || Response::new(()).revalidate("posts")).await;
    hub.revalidate("posts").await.unwrap();
    hub.channel("room:1").publish("x", &1).await.unwrap();
    assert_eq!(hub.cursor(), before);
}

/// As the crate's documents show it: `ServiceBuilder`, the mount outside, the layer inside.
#[tokio::test(start_paused = true)]
async fn a_users_own_test_needs_a_subscription_only() {
    let hub = Hub::new();
    let app = ServiceBuilder::new().layer(hub.mount_layer("/realtime")).layer(hub.layer()).service(
        service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::empty()).revalidate("posts.list"))
        }),
    );
    let mut sub = hub.subscribe(Grant::user("alice").follow("room:*")).unwrap().follow(("room", 42)).unwrap();
    app.oneshot(request("POST", "/posts", "", "")).await.unwrap();
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), revalidate("posts.list"));
    hub.channel(("room", 42)).publish("new_message", &json!({"text": "hello"})).await.unwrap();
    assert_eq!(
        soon("an event", sub.recv()).await.unwrap(),
        message("room:42", "new_message", &json!({"text": "hello"}))
    );
}
