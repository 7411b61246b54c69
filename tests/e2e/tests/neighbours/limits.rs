//! tower's limits: concurrency, load shedding, a buffer.

use std::sync::Arc;

use axum::error_handling::HandleErrorLayer;
use axum::extract::State;
use axum::routing::post;
use axum::{BoxError, Router};
use e2e::soon;
use e2e::stack::{Stack, hears, lets_through, routes};
use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower::buffer::BufferLayer;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower_revalidate::{Hub, Policy};

use super::{HEARTBEAT, hub, orders};

async fn unavailable(_: BoxError) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

/// Right order: any. A permit is held until the head is answered and not for as long as the stream lives: one
/// permit serves many streams, and so it is no bound for them. (That is `max_sessions`.)
#[tokio::test]
async fn a_stream_holds_no_permit() {
    for (outside, hub) in orders() {
        let one = GlobalConcurrencyLimitLayer::new(1);
        let app = if outside {
            routes(&hub).layer(hub.layer()).layer(one)
        } else {
            routes(&hub).layer(one).layer(hub.layer())
        };
        let stack = Stack::start(&hub, app).await;
        let client = stack.client();
        lets_through(&hub, &client).await;
        let mut streams = Vec::new();
        for _ in 0..8 {
            streams.push(client.follow("news").await.0);
        }
        assert_eq!(hub.stats().sessions, 8);
        client.send(Method::POST, "/posts", "").await;
        for stream in &mut streams {
            hears(stream, "posts.list").await;
        }
    }
}

/// What bounds streams: the hub's own option, which turns away in words that a browser understands.
#[tokio::test]
async fn the_hub_bounds_its_streams_itself() {
    let news = Policy::history(64).public();
    let hub = Hub::builder().channel("news", news).heartbeat(HEARTBEAT).max_sessions(1);
    let hub = hub.build().expect("the options are valid");
    let stack = Stack::start(&hub, routes(&hub).layer(hub.layer())).await;
    let client = stack.client();
    let _one = client.follow("news").await;
    let another = client.send(Method::GET, "/realtime/events", "").await;
    assert_eq!(another.status(), StatusCode::OK);
    let body = soon("a body", http_body_util::BodyExt::collect(another.into_body())).await.expect("it ends");
    let body = String::from_utf8(body.to_bytes().to_vec()).expect("it is text");
    assert!(body.starts_with("retry: ") && body.contains(r#"{"reason":"busy"}"#), "{body}");
}

/// Right order: on the app's own routes, before the service is nested. Around the mount it answers streams with
/// 503 while the app is busy, and that ends a browser's `EventSource` for good.
#[tokio::test]
async fn load_shedding_around_the_mount_refuses_streams() {
    let gate = Arc::new(Semaphore::new(0));
    let entered = Arc::new(Semaphore::new(0));
    let busy = Router::new()
        .route(
            "/busy",
            post(async |State([entered, gate]): State<[Arc<Semaphore>; 2]>| {
                entered.add_permits(1);
                gate.acquire().await.expect("it is open").forget();
            }),
        )
        .with_state([entered.clone(), gate.clone()]);
    for around_the_mount in [true, false] {
        let hub = hub();
        let shed = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(unavailable))
            .layer(LoadShedLayer::new())
            .layer(GlobalConcurrencyLimitLayer::new(1));
        let app = if around_the_mount {
            routes(&hub).merge(busy.clone()).layer(shed).layer(hub.layer())
        } else {
            busy.clone().layer(shed).merge(routes(&hub)).layer(hub.layer())
        };
        let stack = Stack::start(&hub, app).await;
        let client = stack.client();
        let sent = client.clone();
        let held = tokio::spawn(async move { sent.send(Method::POST, "/busy", "").await.status() });
        soon("the handler", entered.acquire()).await.expect("it is open").forget();

        assert_eq!(client.send(Method::POST, "/busy", "").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        if around_the_mount {
            let refused = client.send(Method::GET, "/realtime/events", "").await;
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        } else {
            lets_through(&hub, &client).await;
        }
        gate.add_permits(1);
        assert_eq!(held.await.expect("it does not panic"), StatusCode::OK);
        lets_through(&hub, &client).await;
    }
}

/// Right order: any.
#[tokio::test]
async fn a_buffer_lets_streams_through() {
    for (outside, hub) in orders() {
        let buffer =
            ServiceBuilder::new().layer(HandleErrorLayer::new(unavailable)).layer(BufferLayer::new(8));
        let app = if outside {
            routes(&hub).layer(hub.layer()).layer(buffer)
        } else {
            routes(&hub).layer(buffer).layer(hub.layer())
        };
        let stack = Stack::start(&hub, app).await;
        lets_through(&hub, &stack.client()).await;
    }
}
