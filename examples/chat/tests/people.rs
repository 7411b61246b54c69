//! Who is who, and may what.

use axum::http::header::SET_COOKIE;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Server, ended, heard, messages};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_in_is_known_by_a_cookie_that_scripts_cannot_read() {
    let server = Server::start();
    let answer = server.send("", Method::POST, "/api/session", json!({ "user": "bob" })).await;
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let session = server.get("bob", "/api/session").await;
    assert_eq!(session["user"], json!({ "id": "bob", "name": "Bob", "roles": ["moderator"] }));

    let stranger = server.send("", Method::POST, "/api/session", json!({ "user": "eve" })).await;
    assert_eq!(stranger.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(stranger.headers.get(SET_COOKIE), None);
    let forged = server.send("session=alice", Method::GET, "/api/session", Value::Null).await;
    assert_eq!(forged.json(), json!({ "user": null }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reads_nothing_and_opens_no_stream() {
    let server = Server::start();
    for path in [
        "/api/rooms",
        "/api/rooms/1/messages",
        "/api/rooms/1/document",
        "/api/notifications",
        "/api/reports",
        "/realtime/events?channels=room:1",
    ] {
        let answer = server.send("session=0", Method::GET, path, Value::Null).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.json()["code"], "unauthorized", "{path}");
    }
}

/// C16.
#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_streams_of_that_user_and_every_session() {
    let server = Server::start();
    let (here, there) = (server.sign_in("alice").await, server.sign_in("alice").await);
    let (mut alice, mut bob) = (server.hears("alice", ["room:1"]), server.hears("bob", ["room:1"]));

    let answer = server.send(&here, Method::DELETE, "/api/session", Value::Null).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert!(answer.headers[SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    ended(&mut alice).await;
    let answer = server.send(&there, Method::GET, "/realtime/events", Value::Null).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    server.say("carol", 1, "hello").await;
    assert_eq!(messages(&mut bob).len(), 1);
}

/// E16.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_member_is_told_so_and_changes_nothing() {
    let server = Server::start();
    let mut bob = server.hears("bob", ["room:1"]);
    let id = server.say("alice", 1, "for the bridge").await;
    heard(&mut bob);
    let cases = [
        (Method::GET, "/api/rooms/1/messages".to_owned(), Value::Null),
        (Method::POST, "/api/rooms/1/messages".to_owned(), json!({ "content": "hello" })),
        (Method::POST, "/api/rooms/1/read".to_owned(), json!({ "upTo": id })),
        (Method::GET, "/api/rooms/1/status".to_owned(), Value::Null),
        (Method::GET, "/api/rooms/1/document".to_owned(), Value::Null),
        (Method::PUT, "/api/rooms/1/members/dave".to_owned(), Value::Null),
        (Method::POST, format!("/api/messages/{id}/report"), Value::Null),
        (Method::GET, "/api/rooms/99/messages".to_owned(), Value::Null),
    ];
    for (method, path, body) in cases {
        let answer = server.ask("dave", method, &path, body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        let expected = json!({ "code": "accessdenied", "message": "Not a member of this room" });
        assert_eq!(answer.json(), expected, "{path}");
    }
    assert_eq!(heard(&mut bob), []);
    assert_eq!(server.history("alice", "").await.0, ["for the bridge"]);
}

/// E16, on the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_follows_the_rooms_of_its_user_and_no_other() {
    let server = Server::start();
    let path = "/realtime/events?channels=room:1,room:2,doc:1,doc:2,room:1:typing,user:alice:notifications";
    let (_, hello, _) = server.opens("dave", path, None).await.next().await;
    assert_eq!(hello["channels"], json!(["room:2", "doc:2"]));
    let denied: Vec<_> = hello["denied"].as_array().unwrap().iter().map(|one| &one["channel"]).collect();
    assert_eq!(denied, ["room:1", "doc:1", "room:1:typing", "user:alice:notifications"]);
    assert!(hello["denied"].as_array().unwrap().iter().all(|one| one["code"] == "accessdenied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_comes_back_with_a_grant_to_the_room() {
    let server = Server::start();
    assert!(server.try_hears("dave", "room:1").is_err());
    let mut dave = server.hears("dave", ["room:2"]);
    let answer = server.ask("bob", Method::PUT, "/api/rooms/1/members/dave", Value::Null).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    ended(&mut dave).await;
    let mut dave = server.hears("dave", ["room:1"]);
    server.say("bob", 1, "welcome").await;
    assert_eq!(messages(&mut dave).len(), 1);

    // Only an admin puts somebody out, whose stream ends.
    let path = "/api/rooms/1/members/dave";
    assert_eq!(server.ask("bob", Method::DELETE, path, Value::Null).await.status, StatusCode::FORBIDDEN);
    assert_eq!(server.ask("alice", Method::DELETE, path, Value::Null).await.status, StatusCode::NO_CONTENT);
    ended(&mut dave).await;
    assert!(server.try_hears("dave", "room:1").is_err());
    let nobody = server.ask("bob", Method::PUT, "/api/rooms/1/members/eve", Value::Null).await;
    assert_eq!(nobody.status, StatusCode::UNPROCESSABLE_ENTITY);
}

/// Nobody says what only the server says.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_does_not_speak_in_the_servers_name() {
    let server = Server::start();
    let mut bob = server.hears("bob", ["room:1", "doc:1", "user:bob:notifications", "dashboard:metrics"]);
    for (channel, event, status) in [
        ("room:1", "new_message", StatusCode::NOT_FOUND),
        ("doc:1", "conflict", StatusCode::NOT_FOUND),
        ("user:bob:notifications", "notification", StatusCode::FORBIDDEN),
        ("dashboard:metrics", "update", StatusCode::FORBIDDEN),
    ] {
        let answer = server.emit("alice", channel, event, json!({ "content": "forged" })).await;
        assert_eq!(answer.status, status, "{channel} {event}");
    }
    assert_eq!(heard(&mut bob), []);
}
