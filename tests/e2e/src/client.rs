//! [`Client`]: HTTP as a user of the examples speaks it; [`Stream`]: the events it hears.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::{Server, soon};

/// A client of one server, perhaps signed in.
#[derive(Debug, Clone)]
pub struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    base: String,
    user: Option<&'static str>,
}

/// An event as it came.
#[derive(Debug, PartialEq)]
pub struct Event {
    /// `hello`, `revalidate`, `message`, `gap`, `bye`.
    pub name: String,
    /// Its data.
    pub data: Value,
}

/// An open stream of events.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    unread: String,
}

impl Client {
    /// Over HTTP/1.1.
    #[must_use]
    pub fn http1(server: &Server) -> Self {
        Self::new(server, false)
    }

    /// Over HTTP/2, with prior knowledge.
    #[must_use]
    pub fn http2(server: &Server) -> Self {
        Self::new(server, true)
    }

    fn new(server: &Server, http2_only: bool) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new()).http2_only(http2_only).build_http();
        Client { http, base: server.url(), user: None }
    }

    /// The same client, signed in.
    #[must_use]
    pub fn signed_in(&self, user: &'static str) -> Self {
        Client { user: Some(user), ..self.clone() }
    }

    /// Sends a request, and returns the response as it begins.
    pub async fn send(&self, method: Method, path: &str, body: &str) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(user) = self.user {
            request = request.header(COOKIE, format!("user={user}"));
        }
        let request = request.header(CONTENT_TYPE, "application/json").body(body.to_owned().into());
        let sent = self.http.request(request.expect("tests ask for proper paths"));
        soon("a response", sent).await.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    /// Sends a request, and reads the answer as JSON, `null` where it is none.
    pub async fn json(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let response = self.send(method, path, body).await;
        let status = response.status();
        let body = soon("a body", response.into_body().collect()).await.expect("it is whole").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Opens a stream, and reads its `hello`.
    pub async fn follow(&self, channels: &str) -> (Stream, Value) {
        let path = format!("/realtime/events?channels={channels}");
        let response = self.send(Method::GET, &path, "").await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut stream = Stream { body: response.into_body(), unread: String::new() };
        let hello = stream.next().await.expect("a stream begins with hello");
        assert_eq!(hello.name, "hello");
        (stream, hello.data)
    }
}

impl Stream {
    /// The next event that has data; none where the stream ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
                let event = field("data: ").map(|data| Event {
                    name: field("event: ").unwrap_or("message").to_owned(),
                    data: serde_json::from_str(data).expect("data is JSON"),
                });
                self.unread = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            let frame = soon("an event", self.body.frame()).await?;
            let bytes = frame.expect("the stream is whole").into_data().unwrap_or_default();
            self.unread.push_str(std::str::from_utf8(&bytes).expect("events do not split characters"));
        }
    }
}
