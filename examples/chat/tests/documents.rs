//! The shared document, and where its readers are.

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::{Server, messages};

/// C13, E4.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_changed_the_same_version_one_is_told_of_the_conflict_and_nobody_else() {
    let server = Server::start();
    let mut carol = server.hears("carol", ["doc:1"]);
    let first = json!({ "baseVersion": 0, "text": "alice's" });
    let second = json!({ "baseVersion": 0, "text": "bob's" });
    let (alice, bob) = tokio::join!(
        server.emit("alice", "doc:1", "change", first),
        server.emit("bob", "doc:1", "change", second)
    );
    assert_eq!((alice.status, bob.status), (StatusCode::OK, StatusCode::OK));
    let mut outcomes = [alice.json(), bob.json()];
    outcomes.sort_by_key(|outcome| outcome["outcome"].to_string());
    let [change, conflict] = outcomes;

    assert_eq!((&change["outcome"], &change["version"]), (&json!("change"), &json!(1)));
    assert_eq!((&conflict["outcome"], &conflict["currentVersion"]), (&json!("conflict"), &json!(1)));
    assert_eq!((&conflict["resolution"], &conflict["change"]["text"]), (&json!("manual"), &change["text"]));
    let heard = messages(&mut carol);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!((heard[0].0.as_str(), &heard[0].1["text"]), ("change", &change["text"]));
    assert_eq!(server.get("carol", "/api/rooms/1/document").await["text"], change["text"]);

    // With the version of now it goes through.
    let again = server.emit("bob", "doc:1", "change", json!({ "baseVersion": 1, "text": "of both" })).await;
    assert_eq!(again.json()["version"], 2);
    let stranger = server.emit("dave", "doc:1", "change", json!({ "baseVersion": 2, "text": "" })).await;
    assert_eq!(stranger.status, StatusCode::FORBIDDEN);
}

/// E13.
#[tokio::test(flavor = "multi_thread")]
async fn versions_are_heard_in_their_order_by_everyone_who_looks() {
    let server = Server::start();
    let mut carol = server.hears("carol", ["doc:1"]);
    let cookies = [server.sign_in("alice").await, server.sign_in("bob").await];
    let edit = async |cookie: &str| {
        let mut base = 0;
        let mut written = 0;
        while written < 10 {
            let data = json!({ "baseVersion": base, "text": format!("{cookie} {written}") });
            let body = json!({ "channel": "doc:1", "event": "change", "data": data });
            let outcome = server.send(cookie, Method::POST, "/realtime/emit", body).await.json();
            if outcome["outcome"] == "change" {
                written += 1;
                base = outcome["version"].as_i64().unwrap();
            } else {
                base = outcome["currentVersion"].as_i64().unwrap();
            }
        }
    };
    tokio::join!(edit(&cookies[0]), edit(&cookies[1]));
    let versions: Vec<_> =
        messages(&mut carol).iter().map(|(_, change)| change["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, (1..=20).collect::<Vec<_>>());
}

/// E10.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_seen_by_the_others_who_look_and_not_by_its_own_user() {
    let server = Server::start();
    let mut alice = server.hears("alice", ["doc:1:cursors"]);
    let mut bob = server.hears("bob", ["doc:1:cursors"]);
    let mut elsewhere = server.hears("bob", ["doc:2:cursors"]);
    let answer = server.emit("alice", "doc:1:cursors", "cursor_move", json!({ "position": 7 })).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let expected = json!({ "userId": "alice", "userName": "Alice", "position": 7 });
    assert_eq!(messages(&mut bob), [("cursor_update".to_owned(), expected)]);
    assert_eq!([messages(&mut alice), messages(&mut elsewhere)], [vec![], vec![]]);
}
