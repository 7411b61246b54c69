//! [`Client`]: HTTP as a user of the examples speaks it; [`Stream`]: the events it hears.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
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
    headers: HeaderMap,
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
    last_event_id: String,
}

impl Client {
    /// Over HTTP/1.1.
    #[must_use]
    pub fn http1(server: &Server) -> Self {
        Self::new(server.url(), false)
    }

    /// Over HTTP/2, with prior knowledge.
    #[must_use]
    pub fn http2(server: &Server) -> Self {
        Self::new(server.url(), true)
    }

    /// Of any server, over HTTP/1.1.
    #[must_use]
    pub fn of(base: String) -> Self {
        Self::new(base, false)
    }

    fn new(base: String, http2_only: bool) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new()).http2_only(http2_only).build_http();
        Client { http, base, headers: HeaderMap::new() }
    }

    /// The same client, signed in.
    #[must_use]
    pub fn signed_in(&self, user: &'static str) -> Self {
        self.with(COOKIE, &format!("user={user}"))
    }

    /// The same client, with one more header in every request.
    #[must_use]
    pub fn with(&self, name: impl Into<HeaderName>, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.append(name.into(), HeaderValue::try_from(value).expect("tests say proper headers"));
        client
    }

    /// Sends a request, and returns the response as it begins.
    pub async fn send(&self, method: Method, path: &str, body: &str) -> Response<Incoming> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request.header(CONTENT_TYPE, "application/json").body(body.to_owned().into());
        let mut request = request.expect("tests ask for proper paths");
        request.headers_mut().extend(self.headers.clone());
        let sent = self.http.request(request);
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
        Stream::greeted(response).await
    }

    /// Opens a stream where another one ended, and reads its `hello`.
    pub async fn resume(&self, channels: &str, ended: &Stream) -> (Stream, Value) {
        self.with(HeaderName::from_static("last-event-id"), &ended.last_event_id).follow(channels).await
    }
}

impl Stream {
    /// The stream of a response, and its `hello`.
    pub async fn greeted(response: Response<Incoming>) -> (Self, Value) {
        let mut stream =
            Stream { body: response.into_body(), unread: String::new(), last_event_id: String::new() };
        let hello = stream.next().await.expect("a stream begins with hello");
        assert_eq!(hello.name, "hello");
        (stream, hello.data)
    }

    /// The next event that has data; none where the stream ended.
    pub async fn next(&mut self) -> Option<Event> {
        let event = async {
            while let Some(block) = self.block().await.expect("the stream is whole") {
                let event = event(&block);
                if event.is_some() {
                    return event;
                }
            }
            None
        };
        soon("an event", event).await
    }

    /// Reads the next block, which is a heartbeat.
    pub async fn heartbeat(&mut self) {
        let block = soon("a heartbeat", self.block()).await.expect("the stream is whole");
        let block = block.expect("the stream goes on");
        assert!(block.starts_with(':'), "a heartbeat was expected, and {block:?} came");
    }

    /// Reads on to the end, which comes: what was heard, and whether the end was one, or the stream was cut.
    pub async fn end(&mut self) -> (Vec<Event>, bool) {
        let mut events = Vec::new();
        let end = async {
            loop {
                match self.block().await {
                    Ok(Some(block)) => events.extend(event(&block)),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        };
        let whole = soon("the end", end).await;
        (events, whole)
    }

    /// The next lines up to an empty one; an error where the connection was cut.
    async fn block(&mut self) -> Result<Option<String>, hyper::Error> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                if let Some(id) = field(&block, "id: ") {
                    id.clone_into(&mut self.last_event_id);
                }
                return Ok(Some(block));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let bytes = frame?.into_data().unwrap_or_default();
            self.unread.push_str(std::str::from_utf8(&bytes).expect("events do not split characters"));
        }
    }
}

fn field<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    block.lines().find_map(|line| line.strip_prefix(name))
}

fn event(block: &str) -> Option<Event> {
    field(block, "data: ").map(|data| Event {
        name: field(block, "event: ").unwrap_or("message").to_owned(),
        data: serde_json::from_str(data).expect("data is JSON"),
    })
}
