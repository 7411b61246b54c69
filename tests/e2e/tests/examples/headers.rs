//! The headers of responses, as they reach a client.

use e2e::{Client, Server};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;

fn are_of_a_stream(headers: &HeaderMap) {
    assert_eq!(headers[CONTENT_TYPE], "text/event-stream");
    assert_eq!(headers[CACHE_CONTROL], "no-store, no-transform");
    assert_eq!(headers["x-accel-buffering"], "no");
    for absent in [CONNECTION.as_str(), CONTENT_LENGTH.as_str(), "x-revalidate-cursor", "keep-alive"] {
        assert_eq!(headers.get(absent), None, "{absent}");
    }
}

pub(crate) async fn a_stream_has_the_headers_of_one(_server: Server, nobody: Client) {
    // Nothing happens on this server, so `hello` came at once and not with the first event.
    let (stream, _) = nobody.follow("announcements").await;
    are_of_a_stream(stream.headers());

    let head = nobody.send(Method::HEAD, "/realtime/events?channels=announcements", "").await;
    assert_eq!(head.status(), StatusCode::OK);
    are_of_a_stream(head.headers());
    let body = e2e::soon("the end", head.into_body().collect()).await.expect("it is whole").to_bytes();
    assert!(body.is_empty(), "{body:?}");
}

pub(crate) async fn what_was_read_has_a_cursor_and_nothing_else(_server: Server, nobody: Client) {
    let alice = nobody.signed_in("alice");
    let stamped = async |method, path, body: &str| {
        let response = alice.send(method, path, body).await;
        response.headers().contains_key("x-revalidate-cursor")
    };
    for path in ["/", "/posts", "/profile"] {
        assert!(stamped(Method::GET, path, "").await, "{path}");
    }
    let post = json!({"title": "one"}).to_string();
    for (method, path, body) in [
        (Method::POST, "/posts", &*post),
        (Method::PATCH, "/profile", r#"{"name":"Al"}"#),
        (Method::GET, "/nowhere", ""),
        (Method::DELETE, "/posts", ""),
        (Method::GET, "/realtime/nothing", ""),
    ] {
        assert!(!stamped(method, path, body).await, "{path}");
    }
}
