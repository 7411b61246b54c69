//! `CatchPanicLayer`.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use e2e::stack::{Stack, hears, lets_through, routes};
use http::{Method, StatusCode};
use tower_http::catch_panic::CatchPanicLayer;
use tower_revalidate::{Hub, Revalidate};

use super::orders;

/// Right order: any. A panic is a 500 that publishes nothing but what was pledged, and is nobody else's matter.
#[tokio::test]
async fn a_panic_is_a_500_that_publishes_nothing_but_its_pledge() {
    #[allow(unreachable_code)]
    async fn panics() -> Revalidate {
        let _stale = Revalidate::key("forgotten");
        panic!("on purpose")
    }
    #[allow(unreachable_code)]
    async fn pledges(State(hub): State<Hub>) -> Revalidate {
        let _stale = hub.pledge("pledged");
        panic!("on purpose")
    }
    for (outside, hub) in orders() {
        let own = Router::new().route("/panics", post(panics)).route("/pledges", post(pledges));
        let app = routes(&hub).merge(own.with_state(hub.clone()));
        let app = if outside {
            app.layer(hub.layer()).layer(CatchPanicLayer::new())
        } else {
            app.layer(CatchPanicLayer::new()).layer(hub.layer())
        };
        let stack = Stack::start(&hub, app).await;
        let client = stack.client();
        lets_through(&hub, &client).await;

        let (mut stream, _) = client.follow("news").await;
        for path in ["/panics", "/pledges"] {
            let answer = client.send(Method::POST, path, "").await;
            assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        }
        hears(&mut stream, "pledged").await;
        client.send(Method::POST, "/posts", "").await;
        hears(&mut stream, "posts.list").await;
    }
}
