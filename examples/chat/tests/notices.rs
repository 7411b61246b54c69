//! Notifications, and the feed of them.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tower_revalidate::{Event, revalidate};

use super::{Server, heard, messages, within};

/// C9, E14.
#[tokio::test(flavor = "multi_thread")]
async fn a_notification_stands_in_the_database_when_it_is_heard_and_is_the_same_there() {
    let server = Server::start();
    let mut bob = server.hears("bob", ["user:bob:notifications"]);
    let mut carol = server.hears("carol", ["user:carol:notifications"]);
    // Who is not in the room, and who writes, is not notified.
    server.say("alice", 1, "@bob, @dave and @alice: the chart, please").await;

    let heard = messages(&mut bob);
    assert_eq!(heard.len(), 1);
    let (event, notification) = &heard[0];
    assert_eq!(event, "notification");
    assert_eq!(server.get("bob", "/api/notifications").await["notifications"], json!([notification]));
    for (field, value) in [
        ("userId", json!("bob")),
        ("type", json!("mention")),
        ("title", json!("Alice named you")),
        ("body", json!("@bob, @dave and @alice: the chart, please")),
        ("read", json!(false)),
    ] {
        assert_eq!(notification[field], value, "{field}");
    }
    assert!(notification["createdAt"].is_i64() && notification["data"]["room"] == 1);
    assert_eq!(messages(&mut carol), []);
    for user in ["alice", "carol", "dave"] {
        assert_eq!(server.get(user, "/api/notifications").await["notifications"], json!([]), "{user}");
    }
}

/// C8, C1, C2, C3.
#[tokio::test(flavor = "multi_thread")]
async fn the_feed_begins_with_the_newest_ten_that_are_unread_and_goes_on_with_what_comes() {
    let server = Server::start();
    for n in 1..=12 {
        server.say("alice", 1, &format!("@bob {n}")).await;
    }
    let mut feed = server.opens("bob", "/api/notifications/stream", None).await;
    let (event, initial, _) = feed.next().await;
    let bodies: Vec<_> =
        initial["notifications"].as_array().unwrap().iter().map(|one| one["body"].clone()).collect();
    let expected: Vec<_> = (3..=12).rev().map(|n| json!(format!("@bob {n}"))).collect();
    assert_eq!((event.as_str(), bodies), ("initial", expected));

    // Neither another user's, nor a message, is on it.
    server.say("bob", 1, "@alice hello").await;
    server.say("alice", 1, "@bob 13").await;
    let (event, notification, place) = feed.next().await;
    assert_eq!((event.as_str(), &notification["body"]), ("notification", &json!("@bob 13")));
    assert_eq!(server.get("bob", "/api/notifications").await["notifications"][0], notification);

    // Whoever comes back with a place hears what was missed, and nothing a second time.
    drop(feed);
    server.say("alice", 1, "@bob 14").await;
    let mut feed = server.opens("bob", "/api/notifications/stream", place).await;
    let (event, notification, _) = feed.next().await;
    assert_eq!((event.as_str(), &notification["body"]), ("notification", &json!("@bob 14")));
}

/// C3: at the border of the two nothing is missing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_notified_while_a_feed_opens_is_in_its_beginning_or_behind_it() {
    let server = Arc::new(Server::start());
    let (alice, bob) = (server.sign_in("alice").await, server.sign_in("bob").await);
    for n in 1..=200 {
        let text = format!("@bob {n}");
        let (server_too, alice, body) = (Arc::clone(&server), alice.clone(), json!({ "content": text }));
        let said = tokio::spawn(async move {
            server_too.send(&alice, Method::POST, "/api/rooms/1/messages", body).await.status
        });
        let mut feed = server.opens_with(&bob, "/api/notifications/stream", None).await;
        let (_, initial, _) = feed.next().await;
        if initial["notifications"][0]["body"] != *text {
            let (event, notification, _) = feed.next().await;
            assert_eq!((event.as_str(), &notification["body"]), ("notification", &json!(text)));
        }
        assert_eq!(said.await.unwrap(), StatusCode::CREATED);
    }
}

/// C2, C16.
#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_for_who_is_signed_in_and_ends_with_that() {
    let server = Server::start();
    let answer = server.send("", Method::GET, "/api/notifications/stream", Value::Null).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let mut feed = server.opens("bob", "/api/notifications/stream", None).await;
    assert_eq!(feed.next().await.0, "initial");
    server.ask("bob", Method::DELETE, "/api/session", Value::Null).await;
    within(async { while feed.more().await {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_that_are_read_are_read_in_all_tabs() {
    let server = Server::start();
    server.say("alice", 1, "@bob").await;
    let mut there = server.hears("bob", ["user:bob:notifications"]);
    let answer = server.ask("bob", Method::POST, "/api/notifications/read", Value::Null).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get("bob", "/api/notifications").await["notifications"], json!([]));
    assert_eq!(messages(&mut there), [("notifications_read".to_owned(), Value::Null)]);
}

/// E7.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_reaches_each_officer_once_whatever_roles_they_have() {
    let server = Server::start();
    let id = server.say("dave", 2, "soup again").await;
    // Alice is admin and moderator, Bob is moderator.
    let mut alice = server.hears("alice", ["user:alice:notifications"]);
    let mut bob = server.hears("bob", ["user:bob:notifications"]);
    let mut dave = server.hears("dave", ["user:dave:notifications"]);
    let path = format!("/api/messages/{id}/report");
    assert_eq!(server.ask("carol", Method::POST, &path, Value::Null).await.status, StatusCode::NO_CONTENT);

    for officer in [&mut alice, &mut bob] {
        let heard = heard(officer);
        assert_eq!(heard.len(), 2, "{heard:?}");
        assert!(heard.contains(&revalidate("reports.list")));
        let alerts = heard.iter().filter_map(|event| match event {
            Event::Message(message) => Some(message.json::<Value>().unwrap()),
            _ => None,
        });
        let alerts: Vec<_> = alerts.collect();
        assert_eq!((&alerts[0]["type"], &alerts[0]["body"]), (&json!("admin_alert"), &json!("soup again")));
    }
    assert_eq!(heard(&mut dave), []);
    let reports = server.get("bob", "/api/reports").await;
    assert_eq!((&reports[0]["reporter"], &reports[0]["sender"]), (&json!("carol"), &json!("dave")));
    assert_eq!(
        server.ask("carol", Method::GET, "/api/reports", Value::Null).await.status,
        StatusCode::FORBIDDEN
    );
}
