//! What the app answers, and who hears of it.

use e2e::{Client, Event, Server};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, StatusCode};
use serde_json::{Value, json};

pub(crate) async fn every_route_answers(_server: Server, nobody: Client) {
    let (alice, carol) = (nobody.signed_in("alice"), nobody.signed_in("carol"));

    let page = nobody.send(Method::GET, "/", "").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    let (status, posts) = nobody.json(Method::GET, "/posts", "").await;
    assert_eq!((status.as_u16(), posts), (200, json!({"posts": []})));
    let post = nobody.post("/posts", &json!({"title": "one"})).await;
    assert_eq!(post, json!({"id": 1, "title": "one"}));
    let (_, posts) = nobody.json(Method::GET, "/posts", "").await;
    assert_eq!(posts, json!({"posts": [{"id": 1, "title": "one"}]}));
    let (status, profile) = alice.json(Method::PATCH, "/profile", r#"{"name":"Al"}"#).await;
    assert_eq!((status.as_u16(), profile), (200, json!({"name": "Al"})));
    let (_, profile) = alice.json(Method::GET, "/profile", "").await;
    assert_eq!(profile, json!({"name": "Al"}));
    let message = alice.post("/rooms/1/messages", &json!({"text": "hi"})).await;
    assert_eq!(message, json!({"text": "hi", "sender": "alice"}));
    assert_eq!(nobody.post("/announce", &json!({"text": "hear"})).await, json!({"text": "hear"}));

    for (client, method, path, body, status, code) in [
        (&nobody, Method::POST, "/posts", r#"{"title":" "}"#, 422, "invalid"),
        (&nobody, Method::POST, "/posts", r#"{"title":"#, 400, "malformed"),
        (&nobody, Method::PATCH, "/profile", r#"{"name":"x"}"#, 401, "unauthorized"),
        (&nobody, Method::GET, "/profile", "", 401, "unauthorized"),
        (&nobody, Method::POST, "/rooms/1/messages", r#"{"text":"hi"}"#, 403, "accessdenied"),
        (&carol, Method::POST, "/rooms/1/messages", r#"{"text":"hi"}"#, 403, "accessdenied"),
        (&alice, Method::POST, "/rooms/2/messages", r#"{"text":"hi"}"#, 403, "accessdenied"),
        (&nobody, Method::GET, "/nowhere", "", 404, "notfound"),
        (&nobody, Method::POST, "/posts", &too_long(), 413, "toolarge"),
    ] {
        let (answered, failure) = client.json(method, path, body).await;
        assert_eq!((answered.as_u16(), &failure["code"]), (status, &json!(code)), "{path} {failure}");
        assert!(failure["message"].is_string());
    }

    for (path, methods) in [
        ("/", vec!["GET", "HEAD"]),
        ("/posts", vec!["GET", "HEAD", "POST"]),
        ("/profile", vec!["GET", "HEAD", "PATCH"]),
        ("/rooms/1/messages", vec!["POST"]),
        ("/announce", vec!["POST"]),
    ] {
        let refused = nobody.send(Method::DELETE, path, "").await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = refused.headers()[ALLOW].to_str().expect("they are names");
        assert_eq!(allowed.split(',').map(str::trim).collect::<Vec<_>>(), methods, "{path}");
        let (_, failure) = nobody.json(Method::DELETE, path, "").await;
        assert_eq!(failure["code"], "methodnotallowed", "{path}");
        if methods.contains(&"HEAD") {
            let status = alice.send(Method::HEAD, path, "").await.status();
            assert_eq!(status, StatusCode::OK, "{path}");
        }
    }
}

fn too_long() -> String {
    json!({"title": "x".repeat(50_000)}).to_string()
}

pub(crate) async fn everyone_hears_what_is_theirs(_server: Server, nobody: Client) {
    let alice = nobody.signed_in("alice");
    let (mut hers, hello) = alice.follow("announcements,room:1,user:alice:notices").await;
    assert_eq!(hello["denied"], json!([]), "{hello}");
    let (mut strangers, hello) = nobody.follow("announcements,room:1").await;
    assert_eq!(hello["channels"], json!(["announcements"]), "{hello}");
    assert_eq!(hello["denied"][0]["channel"], "room:1", "{hello}");

    // Nobody hears of what was refused: what comes first is of what follows.
    nobody.json(Method::POST, "/posts", r#"{"title":""}"#).await;
    nobody.json(Method::POST, "/posts", &too_long()).await;
    alice.post("/posts", &json!({"title": "one"})).await;
    for stream in [&mut hers, &mut strangers] {
        assert_eq!(stream.keys().await, json!([["posts", "list"]]));
    }
    alice.json(Method::PATCH, "/profile", r#"{"name":"Al"}"#).await;
    assert_eq!(hers.keys().await, json!([["users", "me"]]));
    alice.post("/rooms/1/messages", &json!({"text": "hi"})).await;
    let said = json!({"text": "hi", "sender": "alice"});
    assert_eq!(hers.next().await, Some(message("room:1", "new_message", &said)));

    nobody.post("/announce", &json!({"text": "hear"})).await;
    for stream in [&mut hers, &mut strangers] {
        let announced = message("announcements", "announcement", &json!({"text": "hear"}));
        assert_eq!(stream.next().await, Some(announced));
    }
}

fn message(channel: &str, event: &str, data: &Value) -> Event {
    Event { name: "message".to_owned(), data: json!({"channel": channel, "event": event, "data": data}) }
}
