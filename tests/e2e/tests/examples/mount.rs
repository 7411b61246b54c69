//! Where the realtime endpoint begins and ends.

use e2e::{Client, Server};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, StatusCode};
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
