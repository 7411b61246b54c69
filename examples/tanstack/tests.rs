//! The server's side, without a socket: what is answered, what is stored, and who hears of it.

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_revalidate::{Event, Grant, Hub, Revalidate, Subscription, revalidate};

use crate::db;

struct Server {
    hub: Hub,
    app: Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Server {
    fn start() -> Self {
        let hub = Hub::new();
        let app = crate::app(&hub, db::open(None).unwrap());
        Server { hub, app }
    }

    fn hears(&self, user: &str) -> Subscription {
        self.hub.subscribe(Grant::user(user)).unwrap()
    }

    async fn ask(&self, user: &str, method: Method, path: &str, body: Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(COOKIE, format!("user={user}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let (head, body) = self.app.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    async fn get(&self, user: &str, path: &str) -> Value {
        self.ask(user, Method::GET, path, Value::Null).await.json()
    }

    async fn post(&self, title: &str) -> i64 {
        let answer = self.ask("alice", Method::POST, "/api/posts", json!({ "title": title })).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        answer.json()["id"].as_i64().unwrap()
    }
}

/// What this one has heard by now, in the order in which it was said.
fn heard(sub: &mut Subscription) -> Vec<Event> {
    std::iter::from_fn(|| sub.try_recv().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_stored_and_everyone_hears_that_the_list_is_stale() {
    let server = Server::start();
    let (mut alice, mut bob) = (server.hears("alice"), server.hears("bob"));
    let id = server.post("hello").await;

    let expected = json!([{ "id": id, "title": "hello", "author": "alice" }]);
    assert_eq!(server.get("bob", "/api/posts").await, expected);
    assert_eq!(heard(&mut alice), [revalidate("posts.list")]);
    assert_eq!(heard(&mut bob), [revalidate("posts.list")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_post_is_not_stored_and_nobody_hears() {
    let server = Server::start();
    let mut bob = server.hears("bob");
    for (user, title, status) in [("alice", "this will Fail", 422), ("alice", " ", 422), ("", "hello", 401)] {
        let answer = server.ask(user, Method::POST, "/api/posts", json!({ "title": title })).await;
        assert_eq!(answer.status, status, "{title:?} by {user:?}");
        assert!(answer.json()["message"].is_string());
    }
    assert_eq!(server.get("alice", "/api/posts").await, json!([]));
    assert_eq!(heard(&mut bob), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_in_the_database_is_rolled_back_and_nobody_hears() {
    let server = Server::start();
    let mut alice = server.hears("alice");
    let edit = server.ask("alice", Method::PUT, "/api/posts/7", json!({ "title": "x" })).await;
    let star = server.ask("alice", Method::PUT, "/api/stars/7", Value::Null).await;
    assert_eq!((edit.status, star.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert_eq!(server.get("alice", "/api/stars").await, json!([]));
    assert_eq!(heard(&mut alice), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_concerns_the_list_and_that_post_alone() {
    let server = Server::start();
    let (_, second) = (server.post("one").await, server.post("two").await);
    let mut bob = server.hears("bob");

    let path = format!("/api/posts/{second}");
    let answer = server.ask("bob", Method::PUT, &path, json!({ "title": "2", "body": "more" })).await;
    assert_eq!(answer.status, StatusCode::OK);
    let expected = json!({ "id": second, "title": "2", "body": "more", "author": "alice" });
    assert_eq!(server.get("alice", &path).await, expected);
    let stale = Revalidate::key("posts.list").and(("posts", "detail", second));
    assert_eq!(heard(&mut bob), [revalidate(stale)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_is_hers_and_only_her_sessions_hear() {
    let server = Server::start();
    let id = server.post("one").await;
    let (mut here, mut there, mut bob) = (server.hears("alice"), server.hears("alice"), server.hears("bob"));

    let path = format!("/api/stars/{id}");
    for (method, stars) in [(Method::PUT, json!([id])), (Method::DELETE, json!([]))] {
        let answer = server.ask("alice", method, &path, Value::Null).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert_eq!(server.get("alice", "/api/stars").await, stars);
        assert_eq!(server.get("bob", "/api/stars").await, json!([]));
        assert_eq!(heard(&mut here), [revalidate("stars")]);
        assert_eq!(heard(&mut there), [revalidate("stars")]);
    }
    assert_eq!(heard(&mut bob), []);
}

/// What the stream says, up to the news of a post.
async fn stream_until_a_post(server: &Server, mut body: Body) -> String {
    let mut text = String::new();
    server.post("the end").await;
    while !text.contains("posts") {
        let frame = body.frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_says_whose_stream_it_is() {
    let server = Server::start();
    let id = server.post("one").await;
    let open = async |user: &str| {
        let request = Request::get("/realtime/events").header(COOKIE, format!("user={user}"));
        server.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().into_body()
    };
    let (alice, nobody) = (open("alice").await, open("").await);
    server.ask("alice", Method::PUT, &format!("/api/stars/{id}"), Value::Null).await;
    assert!(stream_until_a_post(&server, alice).await.contains("stars"));
    assert!(!stream_until_a_post(&server, nobody).await.contains("stars"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_post_takes_its_stars_along() {
    let server = Server::start();
    let id = server.post("one").await;
    server.ask("bob", Method::PUT, &format!("/api/stars/{id}"), Value::Null).await;
    let mut bob = server.hears("bob");

    let path = format!("/api/posts/{id}");
    let answer = server.ask("alice", Method::DELETE, &path, Value::Null).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get("bob", "/api/posts").await, json!([]));
    assert_eq!(server.get("bob", "/api/stars").await, json!([]));
    assert_eq!(server.ask("bob", Method::GET, &path, Value::Null).await.status, StatusCode::NOT_FOUND);
    let stale = Revalidate::keys(["posts.list", "stars"]).and(("posts", "detail", id));
    assert_eq!(heard(&mut bob), [revalidate(stale)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_in_anew_tells_the_other_tabs_of_who_was_signed_in() {
    let server = Server::start();
    let (mut alice, mut bob) = (server.hears("alice"), server.hears("bob"));
    let answer = server.ask("alice", Method::PUT, "/api/session", json!({ "user": "bob" })).await;
    assert!(answer.headers[SET_COOKIE].to_str().unwrap().starts_with("user=bob; "));
    assert_eq!(server.get("bob", "/api/session").await, json!({ "user": "bob" }));
    assert_eq!(heard(&mut alice), [revalidate("session")]);
    assert_eq!(heard(&mut bob), []);

    let stranger = server.ask("alice", Method::PUT, "/api/session", json!({ "user": "eve" })).await;
    assert_eq!(stranger.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(stranger.headers.get(SET_COOKIE), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_reads_has_the_cursor_that_its_stream_begins_with() {
    let server = Server::start();
    for path in ["/api/posts", "/api/stars", "/api/session"] {
        let answer = server.ask("alice", Method::GET, path, Value::Null).await;
        assert!(answer.headers.contains_key("x-revalidate-cursor"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_its_files_are_in_the_binary() {
    let server = Server::start();
    let page = server.ask("", Method::GET, "/", Value::Null).await;
    let page = String::from_utf8(page.body).unwrap();
    for file in ["/app.js", "/app.css"] {
        assert!(page.contains(file), "the page does not name {file}: {page}");
        let answer = server.ask("", Method::GET, file, Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.body.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_outlives_the_process() {
    let file = std::env::temp_dir().join(format!("example-tanstack-{}.db", std::process::id()));
    for expected in [1, 2] {
        let hub = Hub::new();
        let app = crate::app(&hub, db::open(Some(file.clone().into())).unwrap());
        let server = Server { hub, app };
        assert_eq!(server.post("again").await, expected);
    }
    std::fs::remove_file(file).unwrap();
}
