//! The dashboard, and what is in the binary.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Server, messages};
use crate::{Chat, seed};

/// E12, C15.
#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_has_the_newest_figures_and_who_is_slow_gets_those_alone() {
    let server = Server::start();
    let mut slow = server.hears("dave", ["dashboard:metrics"]);
    for n in 1..=5 {
        server.say("alice", 1, &n.to_string()).await;
    }
    let mut late = server.hears("bob", ["dashboard:metrics"]);
    for who in [&mut slow, &mut late] {
        let heard = messages(who);
        assert_eq!(heard.len(), 1);
        let (event, metrics) = &heard[0];
        assert_eq!((event.as_str(), &metrics["messagesLastHour"]), ("update", &json!(5)));
        assert_eq!(metrics["perMinute"].as_array().unwrap().len(), 60);
        assert!(metrics["updatedAt"].is_i64());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_reads_has_the_cursor_that_its_stream_begins_with() {
    let server = Server::start();
    for path in ["/api/rooms", "/api/rooms/1/messages", "/api/rooms/1/status", "/api/rooms/1/document"] {
        let answer = server.ask("alice", Method::GET, path, Value::Null).await;
        assert!(answer.headers.contains_key("x-revalidate-cursor"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_its_files_are_in_the_binary() {
    let server = Server::start();
    let page = server.send("", Method::GET, "/", Value::Null).await;
    let page = String::from_utf8(page.body).unwrap();
    for file in ["/app.js", "/app.css"] {
        assert!(page.contains(file), "the page does not name {file}: {page}");
        let answer = server.send("", Method::GET, file, Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.body.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_is_told_once_and_outlives_the_process() {
    let file = std::env::temp_dir().join(format!("example-chat-{}.db", std::process::id()));
    let mut counts = Vec::new();
    for _ in 0..2 {
        let chat = Chat::new(seed::open(Some(file.clone().into())).unwrap()).unwrap();
        chat.db.transaction(seed::tell_a_story).unwrap();
        let count = chat.db.transaction(|db| {
            Ok(db.query_row("SELECT count(*) FROM messages", [], |row| row.get::<_, i64>(0))?)
        });
        counts.push(count.unwrap());
    }
    std::fs::remove_file(file).unwrap();
    assert!(counts[0] > 100 && counts[0] == counts[1], "{counts:?}");
}
