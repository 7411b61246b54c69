//! [`Client`]: HTTP as a user of the examples speaks it.

use std::fmt::Debug;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::{Stream, soon};

/// Which HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1
    Http1,
    /// HTTP/2, with prior knowledge.
    Http2,
}

/// A client of one server, perhaps signed in.
#[derive(Debug, Clone)]
pub struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    version: Version,
    base: String,
    headers: HeaderMap,
}

impl Client {
    /// With connections of its own.
    #[must_use]
    pub fn new(base: String, version: Version) -> Self {
        let mut connector = HttpConnector::new();
        // Else a request's body waits for the acknowledgement of its head: 40 ms each over HTTP/2.
        connector.set_nodelay(true);
        let http2_only = version == Version::Http2;
        let http = legacy::Client::builder(TokioExecutor::new()).http2_only(http2_only).build(connector);
        Client { http, version, base, headers: HeaderMap::from_iter([(CONTENT_TYPE, JSON)]) }
    }

    /// Of any server, over HTTP/1.1.
    #[must_use]
    pub fn of(base: String) -> Self {
        Self::new(base, Version::Http1)
    }

    /// Which HTTP it speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The same, with new connections to this address.
    #[must_use]
    pub fn through(&self, base: String) -> Self {
        Client { headers: self.headers.clone(), ..Client::new(base, self.version) }
    }

    /// The same client, signed in.
    #[must_use]
    pub fn signed_in(&self, user: &'static str) -> Self {
        self.with(COOKIE, &format!("user={user}"))
    }

    /// The same client, with one more header in every request.
    #[must_use]
    pub fn with<N: TryInto<HeaderName, Error: Debug>>(&self, name: N, value: &str) -> Self {
        let mut client = self.clone();
        let name = name.try_into().expect("tests send proper headers");
        client.headers.append(name, HeaderValue::from_str(value).expect("tests send proper headers"));
        client
    }

    /// Sends a request, and returns the response as it begins.
    pub async fn send(&self, method: Method, path: &str, body: &str) -> Response<Incoming> {
        let mut request = Request::new(body.to_owned().into());
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.base).parse().expect("tests ask for proper paths");
        *request.headers_mut() = self.headers.clone();
        let sent = self.http.request(request);
        soon("a response", sent).await.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    /// Sends a request, and reads the answer as JSON, `null` where it is none.
    pub async fn json(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let response = self.send(method, path, body).await;
        let status = response.status();
        let endless = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        assert!(!endless, "{path} opened a stream");
        let body = soon("a body", response.into_body().collect()).await.expect("it is whole").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Posts JSON where it is taken.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.json(Method::POST, path, &body.to_string()).await;
        assert_eq!(status, StatusCode::CREATED, "{path}: {answer}");
        answer
    }

    /// Opens a stream with this query, and reads its `hello`.
    pub async fn open(&self, query: &str) -> (Stream, Value) {
        let response = self.send(Method::GET, &format!("/realtime/events?{query}"), "").await;
        assert_eq!(response.status(), StatusCode::OK, "{query}");
        Stream::greeted(response).await
    }

    /// Opens a stream of these channels, and reads its `hello`.
    pub async fn follow(&self, channels: &str) -> (Stream, Value) {
        self.open(&format!("channels={channels}")).await
    }

    /// Opens a stream where another one ended, and reads its `hello`.
    pub async fn resume(&self, channels: &str, ended: &Stream) -> (Stream, Value) {
        self.with("last-event-id", ended.last_event_id()).follow(channels).await
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
