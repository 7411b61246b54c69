//! The HTTP surface: [`RealtimeService`], a file an endpoint.
//!
//! `GET {mount}/events?channels=room:42,announcements` streams. The service answers with and without the mount
//! prefix, because some routers strip it and some do not, and at borders of segments only.
//!
//! ```
//! use http::{Request, StatusCode};
//! use http_body_util::Empty;
//! use bytes::Bytes;
//! use tower::{Service, ServiceExt};
//! use tower_revalidate::Hub;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new();
//! let request = Request::get("/realtime/events").body(Empty::<Bytes>::new())?;
//! let response = hub.service().oneshot(request).await?;
//! assert_eq!(response.headers()["content-type"], "text/event-stream");
//! # Ok(()) }
//! ```
//!
//! `GET {mount}/client.js` is the browser client, with its `worker.js`, and `auto.js` for pages without a build step.
//!
//! The promise: nothing is opened before the request is authorised, and a stream that is refused for a while
//! tells a browser to come back.
//!
#![doc = include_str!("../../docs/wire.md")]

mod assets;
mod authorize;
mod broadcast;
mod cross_site;
mod emit;
mod error;
mod events;
mod operator;

mod post;
mod revalidate;
mod stats;
mod users;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use tower::Service;

pub(crate) use self::cross_site::origin;
use self::post::Endpoint;
use crate::{BoxError, Hub, SseBody};

/// The service that streams events; of [`Hub::service`]. See the [module docs](self).
#[derive(Debug, Clone)]
pub struct RealtimeService {
    hub: Hub,
    mount: Arc<str>,
}

impl RealtimeService {
    pub(crate) fn new(hub: Hub) -> Self {
        let mount = hub.shared.options.mount.as_str().into();
        RealtimeService { hub, mount }
    }

    /// The service under another path than the hub's.
    #[must_use]
    pub fn at(mut self, mount: impl Into<Arc<str>>) -> Self {
        self.mount = mount.into();
        self
    }
}

/// The rest of a path below a prefix, if the prefix ends at the border of a segment.
pub(crate) fn strip<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

impl<B> Service<Request<B>> for RealtimeService
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<SseBody>;
    type Error = Infallible;
    type Future = RealtimeFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> RealtimeFuture {
        let (parts, body) = request.into_parts();
        if !self.hub.shared.options.enabled {
            return RealtimeFuture::ready(not_found());
        }
        let path = parts.uri.path();
        match strip(path, &self.mount).unwrap_or(path) {
            "/events" => events::answer(&self.hub, parts),
            "/emit" => post::answer(&self.hub, Endpoint::Emit, parts, body),
            "/broadcast" => post::answer(&self.hub, Endpoint::Broadcast, parts, body),
            "/revalidate" => post::answer(&self.hub, Endpoint::Revalidate, parts, body),
            "/stats" => operator::answer::<stats::Stats>(&self.hub, parts),
            "/channel/users" => operator::answer::<users::Users>(&self.hub, parts),
            path => RealtimeFuture::ready(assets::answer(path, &parts).unwrap_or_else(not_found)),
        }
    }
}

fn not_found() -> Response<SseBody> {
    error::response(StatusCode::NOT_FOUND, "notfound", "there is nothing at this path")
}

/// An answer that is JSON.
fn json(json: Vec<u8>) -> Response<SseBody> {
    let mut response = Response::new(SseBody::once(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to any method but those that are allowed, of which OPTIONS is one.
fn other_method(method: &Method, allowed: &'static str, refusal: &str) -> Response<SseBody> {
    let mut response = match *method {
        Method::OPTIONS => {
            let mut response = Response::new(SseBody::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        _ => error::response(StatusCode::METHOD_NOT_ALLOWED, "methodnotallowed", refusal),
    };
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The response to come; of [`RealtimeService`].
pub struct RealtimeFuture(State);

enum State {
    Ready(Option<Response<SseBody>>),
    Later(Pin<Box<dyn Future<Output = Response<SseBody>> + Send>>),
}

impl RealtimeFuture {
    fn ready(response: Response<SseBody>) -> Self {
        RealtimeFuture(State::Ready(Some(response)))
    }

    fn later(response: impl Future<Output = Response<SseBody>> + Send + 'static) -> Self {
        RealtimeFuture(State::Later(Box::pin(response)))
    }
}

impl Future for RealtimeFuture {
    type Output = Result<Response<SseBody>, Infallible>;

    #[allow(clippy::expect_used)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(response) => {
                Poll::Ready(Ok(response.take().expect("a future is not polled after it completed")))
            }
            State::Later(response) => response.as_mut().poll(cx).map(Ok),
        }
    }
}

impl std::fmt::Debug for RealtimeFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RealtimeFuture").finish_non_exhaustive()
    }
}
