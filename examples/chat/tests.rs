//! The server's side, without a socket: what is answered, what is stored, and who hears of it.

mod documents;
mod notices;
mod pages;
mod people;
mod talk;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_revalidate::{Event, SubscribeError, Subscription};

use crate::{Chat, seed, session};

struct Server {
    chat: Chat,
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
        let chat = Chat::new(seed::open(None).unwrap()).unwrap();
        let app = crate::app(&chat);
        Server { chat, app }
    }

    /// As the page of this user, with the grant that the sign-in makes, following these channels.
    fn hears<const N: usize>(&self, user: &str, channels: [&'static str; N]) -> Subscription {
        let grant = self.chat.db.transaction(|db| {
            let user = session::user(db, user)?.unwrap();
            session::grant(db, &user)
        });
        let sub = self.chat.hub.subscribe(grant.unwrap()).unwrap();
        channels.into_iter().fold(sub, |sub, channel| sub.follow(channel).unwrap())
    }

    fn try_hears(&self, user: &str, channel: &'static str) -> Result<Subscription, SubscribeError> {
        self.hears(user, []).follow(channel)
    }

    /// A cookie of this user's; of `""` none.
    async fn sign_in(&self, user: &str) -> String {
        if user.is_empty() {
            return String::new();
        }
        let body = json!({ "user": user });
        let answer = self.send("", Method::POST, "/api/session", body).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let cookie = answer.headers[SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn send(&self, cookie: &str, method: Method, path: &str, body: Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(COOKIE, cookie)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let (head, body) = self.app.clone().oneshot(request).await.unwrap().into_parts();
        let body = within(body.collect()).await.unwrap().to_bytes().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    async fn ask(&self, user: &str, method: Method, path: &str, body: Value) -> Answer {
        self.send(&self.sign_in(user).await, method, path, body).await
    }

    async fn get(&self, user: &str, path: &str) -> Value {
        self.ask(user, Method::GET, path, Value::Null).await.json()
    }

    /// A stream.
    async fn opens(&self, user: &str, path: &str, place: Option<String>) -> Heard {
        self.opens_with(&self.sign_in(user).await, path, place).await
    }

    async fn opens_with(&self, cookie: &str, path: &str, place: Option<String>) -> Heard {
        let mut request = Request::get(path).header(COOKIE, cookie);
        if let Some(place) = place {
            request = request.header("last-event-id", place);
        }
        let answer = self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/event-stream");
        Heard { body: answer.into_body(), text: String::new() }
    }

    async fn say(&self, user: &str, room: i64, content: &str) -> i64 {
        let path = format!("/api/rooms/{room}/messages");
        let answer = self.ask(user, Method::POST, &path, json!({ "content": content })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        answer.json()["id"].as_i64().unwrap()
    }

    /// As the page does.
    async fn emit(&self, user: &str, channel: &str, event: &str, data: Value) -> Answer {
        let body = json!({ "channel": channel, "event": event, "data": data });
        self.ask(user, Method::POST, "/realtime/emit", body).await
    }

    async fn history(&self, user: &str, query: &str) -> (Vec<String>, Value) {
        let history = self.get(user, &format!("/api/rooms/1/messages{query}")).await;
        let messages = history["messages"].as_array().unwrap_or_else(|| panic!("{history}"));
        let said = messages.iter().map(|one| one["content"].as_str().unwrap().to_owned());
        (said.collect(), history["before"].clone())
    }
}

/// What this one has heard by now, in the order in which it was said.
fn heard(sub: &mut Subscription) -> Vec<Event> {
    std::iter::from_fn(|| sub.try_recv().unwrap()).collect()
}

/// Events of a stream as an `EventSource` sees them, each with its id.
struct Heard {
    body: Body,
    text: String,
}

impl Heard {
    /// The next one that has a name: its name, its data, and where the stream goes on after it.
    async fn next(&mut self) -> (String, Value, Option<String>) {
        within(self.named()).await
    }

    async fn named(&mut self) -> (String, Value, Option<String>) {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(|value| value.trim().to_owned())
                };
                let found = field("event:").map(|event| (event, field("data:").unwrap(), field("id:")));
                self.text = rest.to_owned();
                if let Some((event, data, id)) = found {
                    return (event, serde_json::from_str(&data).unwrap(), id);
                }
            }
            assert!(self.more().await, "the stream ended");
        }
    }

    /// Reads on; false when the stream has ended.
    async fn more(&mut self) -> bool {
        let Some(frame) = self.body.frame().await else { return false };
        self.text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        true
    }
}

/// It ends, whatever it hears before.
async fn ended(sub: &mut Subscription) {
    within(async { while sub.recv().await.is_ok() {} }).await;
}

/// What works comes nowhere near it.
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it hangs")
}

/// The messages among it.
fn messages(sub: &mut Subscription) -> Vec<(String, Value)> {
    let messages = heard(sub).into_iter().filter_map(|event| match event {
        Event::Message(message) => Some((message.event.to_string(), message.json().unwrap())),
        _ => None,
    });
    messages.collect()
}
