//! [`Post`]: what a client sends.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_revalidate::{Grant, Hub, SseBody};

/// One POST, in process.
#[derive(Clone)]
pub struct Post {
    path: String,
    grant: Option<Grant>,
    headers: HeaderMap,
    body: Bytes,
}

impl Post {
    /// JSON to an endpoint below the mount.
    pub fn to(path: &str, body: impl Into<Bytes>) -> Self {
        let headers = [("content-type", "application/json")]
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        Post {
            path: format!("/realtime/{path}"),
            grant: None,
            headers: HeaderMap::from_iter(headers),
            body: body.into(),
        }
    }

    pub fn emit(channel: &str, event: &str, data: Value) -> Self {
        Post::to("emit", json!({"channel": channel, "event": event, "data": data}).to_string())
    }

    pub fn by(mut self, grant: Grant) -> Self {
        self.grant = Some(grant);
        self
    }

    /// By a user who may publish to rooms and documents.
    pub fn user(self, id: &str) -> Self {
        self.by(Grant::user(id).publish("room:*").publish("doc:*"))
    }

    /// In the place of what was there.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub fn without(mut self, name: &'static str) -> Self {
        self.headers.remove(name);
        self
    }

    pub fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::post(&self.path).body(Full::new(self.body.clone())).unwrap();
        *request.headers_mut() = self.headers.clone();
        if let Some(grant) = &self.grant {
            request.extensions_mut().insert(grant.clone());
        }
        request
    }

    pub async fn answer(&self, hub: &Hub) -> Response<SseBody> {
        hub.service().oneshot(self.request()).await.unwrap()
    }

    /// The status and what it says.
    pub async fn said(&self, hub: &Hub) -> (u16, Value) {
        said(self.answer(hub).await).await
    }

    /// The status and the code of a refusal.
    pub async fn refused(&self, hub: &Hub) -> String {
        let (status, error) = self.said(hub).await;
        let (code, message) = (&error["code"], &error["message"]);
        let is_error = error.as_object().is_some_and(|error| error.len() == 2) && message.is_string();
        assert!(status >= 400 && is_error, "{status} {error}");
        format!("{status} {}", code.as_str().unwrap())
    }
}

/// An answer that is JSON, or 204 and nothing.
pub async fn said(response: Response<SseBody>) -> (u16, Value) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    if head.status == 204 {
        assert!(body.is_empty() && !head.headers.contains_key("content-type"));
        return (204, Value::Null);
    }
    assert_eq!(head.headers["content-type"], "application/json");
    assert_eq!(head.headers["cache-control"], "no-store");
    (head.status.as_u16(), serde_json::from_slice(&body).unwrap())
}
