//! What is said, how far back one reads, and who has read it.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tower_revalidate::revalidate;

use super::{Server, heard, messages};
use crate::seed;

/// E8, E11.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_stored_with_the_sender_and_the_time_of_the_server() {
    let server = Server::start();
    let mut bob = server.hears("bob", ["room:1"]);
    let forged = json!({
        "content": "  hello ", "sender": "carol", "sender_id": "carol", "createdAt": 1, "id": 77, "room": 2,
    });
    let before = seed::now();
    let answer = server.ask("alice", Method::POST, "/api/rooms/1/messages", forged).await;
    let said = answer.json();
    assert_eq!(
        (&said["sender"], &said["content"], &said["room"]),
        (&json!("alice"), &json!("hello"), &json!(1))
    );
    assert!((before..=seed::now()).contains(&said["createdAt"].as_i64().unwrap()));

    assert_eq!(server.get("bob", "/api/rooms/1/messages").await["messages"], json!([said]));
    assert_eq!(messages(&mut bob), [("new_message".to_owned(), said)]);
}

/// E11.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_1001_characters_is_refused_and_nobody_hears() {
    let server = Server::start();
    let mut bob = server.hears("bob", ["room:1"]);
    let refused = ["ä".repeat(1001), "   ".to_owned(), String::new(), "a Mutiny".to_owned()];
    for content in refused {
        let body = json!({ "content": content });
        let answer = server.ask("alice", Method::POST, "/api/rooms/1/messages", body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{content:?}");
        assert!(answer.json()["message"].is_string());
    }
    assert_eq!(server.history("alice", "").await.0, [""; 0]);
    assert_eq!(heard(&mut bob), []);
    server.say("alice", 1, &"ä".repeat(1000)).await;
}

/// E8, E11: the event is the same as the request.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_says_is_checked_before_any_handler_and_stamped_by_the_server() {
    let server = Server::start();
    let mut bob = server.hears("bob", ["room:1"]);
    let long = json!({ "content": "ä".repeat(1001) });
    for data in [long, json!({ "content": " " }), json!({}), json!("hello"), Value::Null] {
        let answer = server.emit("alice", "room:1", "said", data.clone()).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid")),
            "{data}"
        );
    }
    let answer = server.emit("alice", "room:1", "said", json!({ "content": "mutiny" })).await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid"))
    );
    let answer = server.emit("dave", "room:1", "said", json!({ "content": "hello" })).await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::FORBIDDEN, &json!("accessdenied")));
    assert_eq!(heard(&mut bob), []);

    let forged = json!({ "content": " hello ", "sender": "carol", "createdAt": 1 });
    let answer = server.emit("alice", "room:1", "said", forged).await;
    assert_eq!((answer.status, &answer.json()["sender"]), (StatusCode::OK, &json!("alice")));
    assert_eq!(messages(&mut bob), [("new_message".to_owned(), answer.json())]);
    assert_eq!(server.history("bob", "").await.0, ["hello"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_with_the_same_key_says_nothing_twice() {
    let server = Server::start();
    let body = json!({ "content": "once", "key": "k1" });
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = server.ask("alice", Method::POST, "/api/rooms/1/messages", body.clone()).await;
        ids.push(answer.json()["id"].as_i64().unwrap());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(server.history("alice", "").await.0, ["once"]);
    // Another sender's key is another's.
    let other = server.ask("bob", Method::POST, "/api/rooms/1/messages", body).await;
    assert_ne!(other.json()["id"], ids[0]);
}

/// B13.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_makes_the_lists_of_the_members_stale_and_no_others() {
    let server = Server::start();
    let (mut alice, mut carol, mut dave) =
        (server.hears("alice", []), server.hears("carol", []), server.hears("dave", []));
    server.say("bob", 1, "hello").await;
    assert_eq!(heard(&mut alice), [revalidate("rooms.list")]);
    assert_eq!(heard(&mut carol), [revalidate("rooms.list")]);
    assert_eq!(heard(&mut dave), []);
}

/// C11.
#[tokio::test(flavor = "multi_thread")]
async fn the_history_comes_in_pages_of_50_from_the_newest_back() {
    let server = Server::start();
    let cookie = server.sign_in("alice").await;
    for n in 1..=120 {
        let body = json!({ "content": n.to_string() });
        server.send(&cookie, Method::POST, "/api/rooms/1/messages", body).await;
    }
    let numbers = |from: i32, to: i32| (from..=to).map(|n| n.to_string()).collect::<Vec<_>>();
    let (page, before) = server.history("bob", "").await;
    assert_eq!(page, numbers(71, 120));
    // What is said meanwhile moves no border.
    server.say("carol", 1, "121").await;
    let (page, before) = server.history("bob", &format!("?before={before}")).await;
    assert_eq!(page, numbers(21, 70));
    let (page, before) = server.history("bob", &format!("?before={before}")).await;
    assert_eq!((page, before), (numbers(1, 20), Value::Null));

    let (page, before) = server.history("bob", "?limit=3").await;
    assert_eq!((page, before.is_i64()), (numbers(119, 121), true));
    for (limit, length) in [(0, 1), (100, 100), (5000, 100)] {
        assert_eq!(server.history("bob", &format!("?limit={limit}")).await.0.len(), length);
    }
    let nonsense = server.ask("bob", Method::GET, "/api/rooms/1/messages?before=x", Value::Null).await;
    assert_eq!((nonsense.status, &nonsense.json()["code"]), (StatusCode::BAD_REQUEST, &json!("malformed")));
}

/// B12.
#[tokio::test(flavor = "multi_thread")]
async fn three_messages_of_two_senders_that_are_read_are_one_event_to_each_sender() {
    let server = Server::start();
    let (first, _) = (server.say("bob", 1, "one").await, server.say("bob", 1, "two").await);
    let last = server.say("carol", 1, "three").await;
    let (mut alice, mut bob, mut carol) =
        (server.hears("alice", []), server.hears("bob", []), server.hears("carol", []));

    let body = json!({ "upTo": last });
    let answer = server.ask("alice", Method::POST, "/api/rooms/1/read", body.clone()).await;
    assert_eq!(answer.json(), json!({ "marked": 3 }));
    assert_eq!(heard(&mut bob), [revalidate("messages.status")]);
    assert_eq!(heard(&mut carol), [revalidate("messages.status")]);
    assert_eq!(heard(&mut alice), [revalidate("rooms.list")]);

    let receipts = server.get("bob", "/api/rooms/1/status").await;
    let receipt = &receipts[0];
    assert_eq!(receipts.as_array().unwrap().len(), 2);
    assert_eq!(
        (&receipt["messageId"], &receipt["userId"], &receipt["status"]),
        (&json!(first), &json!("alice"), &json!("read"))
    );
    assert!(receipt["readAt"].is_i64());

    // Read twice is read once, and nobody is told.
    let again = server.ask("alice", Method::POST, "/api/rooms/1/read", body).await;
    assert_eq!(again.json(), json!({ "marked": 0 }));
    assert_eq!([heard(&mut alice), heard(&mut bob), heard(&mut carol)], [vec![], vec![], vec![]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_counts_what_is_unread() {
    let server = Server::start();
    let unread = async |user| {
        let rooms = server.get(user, "/api/rooms").await;
        let rooms = rooms.as_array().unwrap().clone();
        rooms
            .iter()
            .map(|room| (room["id"].as_i64().unwrap(), room["unread"].as_i64().unwrap()))
            .collect::<Vec<_>>()
    };
    server.say("bob", 1, "one").await;
    let last = server.say("bob", 1, "two").await;
    server.say("dave", 2, "three").await;
    assert_eq!(unread("alice").await, [(1, 2), (2, 1), (3, 0)]);
    assert_eq!(unread("bob").await, [(1, 0), (2, 1)]);
    server.ask("alice", Method::POST, "/api/rooms/1/read", json!({ "upTo": last })).await;
    assert_eq!(unread("alice").await, [(1, 0), (2, 1), (3, 0)]);
    // What one has read the others have not.
    assert_eq!(unread("carol").await, [(1, 2), (2, 1), (3, 0)]);
}
