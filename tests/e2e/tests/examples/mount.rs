//! Where the realtime endpoint begins and ends.

use e2e::{Client, Server};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;

pub(crate) async fn it_ends_at_the_borders_of_segments(_server: Server, nobody: Client) {
    for path in [
        "/realtime",
        "/realtime/",
        "/realtime/eventsx",
        "/realtime/events/",
        "/realtime/events/x",
        "/realtimex/events",
        "/realtimeevents",
        "/events",
        "/Realtime/events",
        "/x/realtime/events",
    ] {
        for query in ["", "?channels=announcements"] {
            let path = format!("{path}{query}");
            let (status, failure) = nobody.json(Method::GET, &path, "").await;
            assert_eq!((status.as_u16(), &failure["code"]), (404, &json!("notfound")), "{path}: {failure}");
            assert!(failure["message"].is_string());
        }
    }
}

pub(crate) async fn it_says_which_methods_it_has(_server: Server, nobody: Client) {
    const METHODS: &str = "GET, HEAD, OPTIONS";
    let options = nobody.send(Method::OPTIONS, "/realtime/events", "").await;
    assert_eq!(options.status(), StatusCode::NO_CONTENT);
    assert_eq!(options.headers()[ALLOW], METHODS);
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let refused = nobody.send(method.clone(), "/realtime/events", "").await;
        assert_eq!(refused.headers()[ALLOW], METHODS, "{method}");
        assert_eq!(refused.headers()[CONTENT_TYPE], "application/json", "{method}");
        let (status, failure) = nobody.json(method, "/realtime/events", "").await;
        assert_eq!((status.as_u16(), &failure["code"]), (405, &json!("methodnotallowed")));
    }
}

pub(crate) async fn it_has_the_browser_client(_server: Server, nobody: Client) {
    for file in ["client.js", "worker.js", "auto.js"] {
        let path = format!("/realtime/{file}");
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../client/dist");
        let built = std::fs::read(format!("{built}/{file}")).expect("it is committed");
        let are_of_a_script = |headers: &HeaderMap| {
            assert_eq!(headers[CONTENT_TYPE], "text/javascript; charset=utf-8", "{path}");
            assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
            assert_eq!(headers[CONTENT_LENGTH], built.len().to_string().as_str(), "{path}");
            assert_eq!(headers[CACHE_CONTROL], "no-cache", "{path}");
        };

        let script = nobody.send(Method::GET, &path, "").await;
        assert_eq!(script.status(), StatusCode::OK, "{path}");
        are_of_a_script(script.headers());
        let tag = script.headers()[ETAG].to_str().expect("it is text").to_owned();
        let body = e2e::soon("the script", script.into_body().collect()).await.expect("it is whole");
        assert!(body.to_bytes() == built, "{path} is not what was built");

        let head = nobody.send(Method::HEAD, &path, "").await;
        assert_eq!(head.status(), StatusCode::OK, "{path}");
        are_of_a_script(head.headers());
        assert_eq!(head.headers()[ETAG], tag.as_str(), "{path}");

        let known = nobody.with(IF_NONE_MATCH, &format!("\"a\", W/{tag}"));
        for method in [Method::GET, Method::HEAD] {
            let same = known.send(method, &path, "").await;
            assert_eq!(same.status(), StatusCode::NOT_MODIFIED, "{path}");
            assert_eq!(same.headers()[ETAG], tag.as_str(), "{path}");
            let body =
                e2e::soon("the end", same.into_body().collect()).await.expect("it is whole").to_bytes();
            assert!(body.is_empty(), "{path}");
        }

        let version = format!("{path}?v={}", tag.trim_matches('"'));
        let version = nobody.send(Method::GET, &version, "").await;
        assert_eq!(version.headers()[CACHE_CONTROL], "public, max-age=31536000, immutable", "{path}");
        assert!(!version.headers().contains_key("x-revalidate-cursor"), "it is kept for ever, for everyone");

        let refused = nobody.send(Method::POST, &path, "").await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(refused.headers()[ALLOW], "GET, HEAD, OPTIONS", "{path}");
    }
}
