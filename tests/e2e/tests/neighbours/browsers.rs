//! What protects browsers: CORS and CSRF.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use e2e::stack::{Stack, hears, lets_through, routes};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, COOKIE,
    HOST, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tower_http::cors::CorsLayer;
use tower_http::csrf::CsrfLayer;

use super::{hub, orders};

const PAGE: &str = "https://app.example";
const ID: HeaderName = HeaderName::from_static("x-revalidate-id");
const CLIENT: HeaderName = HeaderName::from_static("x-revalidate-client");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const CURSOR: HeaderName = HeaderName::from_static("x-revalidate-cursor");

/// What to put for a page of another origin with cookies: that origin by name, the headers that a client
/// sends, and those that it reads. (A browser's own `EventSource` needs no preflight; `fetch` does.)
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(HeaderValue::from_static(PAGE))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([http::header::CONTENT_TYPE, ID, CLIENT, LAST_EVENT_ID])
        .expose_headers([http::header::RETRY_AFTER, CURSOR])
}

/// The app's own sign-in, which a preflight does not pass: it never has cookies.
async fn only_with_cookies(request: Request, next: Next) -> Response {
    if request.headers().contains_key(COOKIE) {
        return next.run(request).await;
    }
    StatusCode::UNAUTHORIZED.into_response()
}

async fn preflight(stack: &Stack, path: &str) -> http::Response<hyper::body::Incoming> {
    let asking = stack
        .client()
        .with(ORIGIN, PAGE)
        .with(ACCESS_CONTROL_REQUEST_METHOD, "GET")
        .with(ACCESS_CONTROL_REQUEST_HEADERS, "last-event-id,x-revalidate-client,x-revalidate-id");
    asking.send(Method::OPTIONS, path, "").await
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().expect("it is text"))
}

/// Right order: outside of the authentication and around the mount, on either side of the hub's layer.
#[tokio::test]
async fn cors_lets_another_origin_follow_and_read_cursors() {
    for (outside, hub) in orders() {
        let app = routes(&hub).layer(from_fn(only_with_cookies));
        let app =
            if outside { app.layer(hub.layer()).layer(cors()) } else { app.layer(cors()).layer(hub.layer()) };
        let stack = Stack::start(&hub, app).await;
        for path in ["/realtime/events?channels=news", "/posts"] {
            let allowed = preflight(&stack, path).await;
            assert_eq!(allowed.status(), StatusCode::OK);
            assert_eq!(allowed.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
            assert_eq!(allowed.headers()[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
            let headers = text(allowed.headers(), &ACCESS_CONTROL_ALLOW_HEADERS);
            for name in [ID, CLIENT, LAST_EVENT_ID] {
                assert!(headers.split(',').any(|allowed| allowed == name.as_str()), "{headers}");
            }
        }

        let client = stack.client().signed_in("alice").with(ORIGIN, PAGE);
        lets_through(&hub, &client).await;
        let stream = client.send(Method::GET, "/realtime/events", "").await;
        let page = client.send(Method::GET, "/posts", "").await;
        for answer in [&stream, &page] {
            assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
            assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
            assert_eq!(
                text(answer.headers(), &ACCESS_CONTROL_EXPOSE_HEADERS),
                "retry-after,x-revalidate-cursor"
            );
        }
        assert!(page.headers().contains_key(CURSOR));
    }
}

/// Wrong: inside of the authentication, which refuses the preflight; and before the service is nested, where it
/// does not see the stream. A browser lets the page read neither.
#[tokio::test]
async fn cors_in_the_wrong_place_lets_nobody_follow() {
    let hub = hub();
    let inside = routes(&hub).layer(cors()).layer(from_fn(only_with_cookies)).layer(hub.layer());
    let stack = Stack::start(&hub, inside).await;
    let refused = preflight(&stack, "/realtime/events").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(!refused.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));

    let own = Router::new().route("/own", get(async || "own")).layer(cors());
    let stack = Stack::start(&hub, own.merge(routes(&hub)).layer(hub.layer())).await;
    let asking = stack.client().with(ORIGIN, PAGE);
    let own = asking.send(Method::GET, "/own", "").await;
    assert_eq!(own.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
    let stream = asking.send(Method::GET, "/realtime/events", "").await;
    assert_eq!(stream.status(), StatusCode::OK);
    assert!(!stream.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
}

/// Right order: any. A stream is a GET, which passes; a mutation that is refused publishes nothing.
#[tokio::test]
async fn csrf_refuses_mutations_and_leaves_streams_alone() {
    for (outside, hub) in orders() {
        let app = if outside {
            routes(&hub).layer(hub.layer()).layer(CsrfLayer::new())
        } else {
            routes(&hub).layer(CsrfLayer::new()).layer(hub.layer())
        };
        let stack = Stack::start(&hub, app).await;
        let site = HeaderName::from_static("sec-fetch-site");
        lets_through(&hub, &stack.client().with(site.clone(), "same-origin")).await;

        let stranger = stack.client().with(site, "cross-site").with(ORIGIN, "https://evil.example");
        let (mut stream, _) = stranger.follow("news").await;
        assert_eq!(stranger.send(Method::POST, "/posts", "").await.status(), StatusCode::FORBIDDEN);
        hub.revalidate("and.nothing.else");
        hears(&mut stream, "and.nothing.else").await;

        // A proxy that does not keep `Host` makes a stranger of an old browser's own page.
        let old = stack.client().with(ORIGIN, PAGE);
        let kept = old.with(HOST, "app.example").send(Method::POST, "/posts", "").await;
        assert_eq!(kept.status(), StatusCode::CREATED);
        let lost = old.with(HOST, "127.0.0.1:3000").send(Method::POST, "/posts", "").await;
        assert_eq!(lost.status(), StatusCode::FORBIDDEN);
    }
}
