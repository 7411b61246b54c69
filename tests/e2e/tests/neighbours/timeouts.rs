//! The timeouts of tower-http: of the request, of bodies, and deadlines.

use std::future::pending;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use e2e::Stream;
use e2e::stack::{Stack, hears, lets_through, routes};
use http::{Method, StatusCode};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::{
    RequestBodyDeadlineLayer, RequestBodyTimeoutLayer, ResponseBodyDeadlineLayer, ResponseBodyTimeoutLayer,
    TimeoutLayer,
};
use tower_revalidate::{Hub, Revalidate};

use super::{NEVER, hub, orders};

/// Long for what is at once, short for who waits for it.
const LIMIT: Duration = Duration::from_secs(4);

/// Reads heartbeats for longer than the limit, then an event.
async fn outlives(hub: &Hub, opened: Instant, stream: &mut Stream) {
    while opened.elapsed() < LIMIT + LIMIT / 4 {
        stream.heartbeat().await;
    }
    hub.revalidate("late");
    hears(stream, "late").await;
}

/// The stream is cut, something is published, and who comes back with its cursor hears it.
async fn cut_and_resumed(hub: &Hub, stack: &Stack) {
    let client = stack.client();
    let (mut stream, _) = client.follow("news").await;
    let (heard, whole) = stream.end().await;
    assert!(!whole, "it ended by a `bye` or so: {heard:?}");
    assert_eq!(heard, []);
    hub.revalidate("meanwhile");
    let (mut stream, hello) = client.resume("news", &stream).await;
    assert_eq!(hello["resumed"], true);
    hears(&mut stream, "meanwhile").await;
}

/// Right order: any. It ends when the head is answered; the stream lives on.
#[tokio::test]
async fn a_request_timeout_is_for_the_head_only() {
    for outside in [true, false] {
        let hub = hub();
        let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, LIMIT);
        let app = if outside {
            routes(&hub).layer(hub.layer()).layer(timeout)
        } else {
            routes(&hub).layer(timeout).layer(hub.layer())
        };
        let stack = Stack::start(&hub, app.route("/late", get(pending::<()>).layer(timeout))).await;
        lets_through(&hub, &stack.client()).await;
        let opened = Instant::now();
        let (mut stream, _) = stack.client().follow("news").await;
        outlives(&hub, opened, &mut stream).await;
        drop(stream);
        let late = stack.client().send(Method::GET, "/late", "").await;
        assert_eq!(late.status(), StatusCode::REQUEST_TIMEOUT, "it does time out");
    }
}

/// A handler that is timed out is dropped, perhaps after its commit: then only a pledge publishes, in any order
/// of the two layers.
#[tokio::test]
async fn a_handler_that_timed_out_publishes_by_its_pledge_alone() {
    async fn forgets() -> impl IntoResponse {
        pending::<()>().await;
        Revalidate::key("forgotten")
    }
    async fn pledges(State(hub): State<Hub>) -> impl IntoResponse {
        let stale = hub.pledge("pledged");
        pending::<()>().await;
        (stale, StatusCode::CREATED)
    }
    for (outside, hub) in orders() {
        let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(100));
        let slow = Router::new().route("/forgets", post(forgets)).route("/pledges", post(pledges));
        let slow = if outside {
            slow.layer(hub.layer()).layer(timeout)
        } else {
            slow.layer(timeout).layer(hub.layer())
        };
        let stack = Stack::start(&hub, routes(&hub).merge(slow.with_state(hub.clone()))).await;
        let client = stack.client();
        let (mut stream, _) = client.follow("news").await;
        for path in ["/forgets", "/pledges"] {
            let answer = client.send(Method::POST, path, "").await;
            assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
        }
        hears(&mut stream, "pledged").await;
    }
}

/// Right order: any, with a timeout longer than the heartbeat: each heartbeat winds it up again.
#[tokio::test]
async fn an_idle_timeout_longer_than_the_heartbeat_never_fires() {
    let hub = hub();
    let app = routes(&hub).layer(ResponseBodyTimeoutLayer::new(LIMIT)).layer(hub.layer());
    let stack = Stack::start(&hub, app).await;
    lets_through(&hub, &stack.client()).await;
    let opened = Instant::now();
    let (mut stream, _) = stack.client().follow("news").await;
    outlives(&hub, opened, &mut stream).await;
}

/// Wrong: an idle timeout shorter than the heartbeat. Each quiet stream is cut, and comes back.
#[tokio::test]
async fn an_idle_timeout_shorter_than_the_heartbeat_cuts_streams_and_nothing_is_lost() {
    let hub = e2e::stack::hub(NEVER);
    let app = routes(&hub).layer(ResponseBodyTimeoutLayer::new(LIMIT)).layer(hub.layer());
    let stack = Stack::start(&hub, app).await;
    cut_and_resumed(&hub, &stack).await;
}

/// Wrong: a deadline around the mount. It cuts each stream, heartbeats or not, and it comes back. To bound how
/// long a stream lives, there is `grant_lifetime`, which says `bye`.
#[tokio::test]
async fn a_deadline_around_the_mount_cuts_streams_and_nothing_is_lost() {
    let hub = hub();
    let app = routes(&hub).layer(ResponseBodyDeadlineLayer::new(LIMIT)).layer(hub.layer());
    let stack = Stack::start(&hub, app).await;
    cut_and_resumed(&hub, &stack).await;
}

/// Right order: a deadline on the app's own routes, before the service is nested.
#[tokio::test]
async fn a_deadline_on_the_routes_alone_leaves_streams_alone() {
    let hub = hub();
    let own =
        Router::new().route("/posts", post(async || (StatusCode::CREATED, Revalidate::key("posts.list"))));
    let app = own
        .layer(ResponseBodyDeadlineLayer::new(LIMIT))
        .nest_service("/realtime", hub.service())
        .layer(hub.layer());
    let stack = Stack::start(&hub, app).await;
    lets_through(&hub, &stack.client()).await;
    let opened = Instant::now();
    let (mut stream, _) = stack.client().follow("news").await;
    outlives(&hub, opened, &mut stream).await;
}

/// Right order: any. A stream's request has no body.
#[tokio::test]
async fn limits_of_request_bodies_leave_streams_alone() {
    let hub = hub();
    let app = routes(&hub)
        .layer(RequestBodyTimeoutLayer::new(LIMIT))
        .layer(hub.layer())
        .layer(RequestBodyDeadlineLayer::new(LIMIT))
        .layer(RequestBodyLimitLayer::new(16));
    let stack = Stack::start(&hub, app).await;
    lets_through(&hub, &stack.client()).await;
    let opened = Instant::now();
    let (mut stream, _) = stack.client().follow("news").await;
    outlives(&hub, opened, &mut stream).await;
}
