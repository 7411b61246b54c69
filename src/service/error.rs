//! Errors as they are answered: JSON `{"code","message"}`; or, to those who cannot read a status, a stream that
//! ends.

use std::net::IpAddr;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::access::{UNKNOWN, Wait};
use crate::hub::{ByeReason, Closed};
use crate::stream::Why;
use crate::{Audit, Cursor, Hub, Refusal, SseBody, StreamError, SubscribeError, stream};

/// An error answer.
pub(super) fn response(status: StatusCode, code: &str, message: &str) -> Response<SseBody> {
    #[derive(Serialize)]
    struct Error<'a> {
        code: &'a str,
        message: &'a str,
    }
    // Two strings always serialise.
    let json = serde_json::to_vec(&Error { code, message }).unwrap_or_default();
    let mut response = super::json(json);
    *response.status_mut() = status;
    response
}

/// Who asks, as far as that concerns a refusal.
pub(super) struct Caller {
    /// For what: the endpoint's path.
    path: &'static str,
    /// Where from, as far as it can be told.
    address: Option<IpAddr>,
    /// What it is counted as, if the hub was told how to tell.
    pub(super) counted: Option<IpAddr>,
    /// The cursor that it came with, which it keeps: some clients take an event without an id for the end of
    /// theirs.
    pub(super) came_with: Option<Cursor>,
    /// The project's own client, which can read a status; a native `EventSource` cannot.
    reads_status: bool,
    /// Over how many milliseconds those spread who come back: as many as they wait, within these bounds.
    spread_ms: (u64, u64),
}

/// Why a stream is not opened, or a POST not taken.
pub(super) enum Unopened {
    Malformed(String),
    /// Not over HTTPS.
    Plain,
    Refused(Refusal),
    Limited(Wait),
    Closed(Closed),
}

impl Caller {
    /// For a stream.
    pub(super) fn of(hub: &Hub, parts: &Parts, path: &'static str) -> Self {
        let how = hub.shared.options.client_address.as_ref();
        let address = how.and_then(|how| how.of(parts));
        Caller {
            path,
            address,
            counted: how.map(|_| address.unwrap_or(UNKNOWN)),
            came_with: None,
            reads_status: parts.headers.contains_key("x-revalidate-client"),
            spread_ms: (9000, 60_000),
        }
    }

    /// For anything but a stream: who asks reads the status, and others do not wait for the same moment.
    pub(super) fn by_status(hub: &Hub, parts: &Parts, path: &'static str) -> Self {
        Caller { reads_status: true, spread_ms: (1000, 1000), ..Self::of(hub, parts, path) }
    }

    /// Answers, and tells the audit.
    pub(super) fn refuse(&self, hub: &Hub, why: &Unopened, identity: Option<&str>) -> Response<SseBody> {
        let (status, code, message) = why.said();
        let (path, address) = (self.path, self.address);
        hub.shared.audit(&Audit::Refused { path, status, code, message, identity, address });
        if let Unopened::Refused(Refusal { source: Some(source), .. }) = why {
            tracing::error!(error = %source, path, "{message}"); // for the log only
        }
        let Some((reason, wait)) = why.passes() else { return response(status, code, message) };
        // Spread, so that those who were refused together do not come back together.
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1000);
        let (least, most) = self.spread_ms;
        let retry_ms = wait_ms.saturating_add(hub.shared.board.draw(wait_ms.clamp(least, most) + 1));
        if !self.reads_status {
            return stream::goodbye(self.came_with, reason, retry_ms);
        }
        let mut response = response(status, code, message);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_ms.div_ceil(1000)));
        response
    }
}

/// Of a handler's own stream, what the mount would answer.
impl StreamError {
    /// The response.
    #[must_use]
    pub fn into_response(self) -> Response<SseBody> {
        let closed = match &self.why {
            Why::Send(error) => {
                tracing::error!(%error, "a stream could not begin");
                return response(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the stream could not begin");
            }
            Why::Subscribe(SubscribeError::Denied(channel)) => {
                let message = format!("{channel} may not be followed");
                return response(StatusCode::FORBIDDEN, "accessdenied", &message);
            }
            Why::Subscribe(SubscribeError::Channel(error)) => {
                return response(StatusCode::BAD_REQUEST, "malformed", &error.to_string());
            }
            Why::Subscribe(SubscribeError::Shutdown) => Closed::Shutdown,
            Why::Subscribe(SubscribeError::Busy) => Closed::Busy,
            Why::Subscribe(SubscribeError::Grant) => Closed::Grant,
        };
        let why = Unopened::Closed(closed);
        let caller = Caller {
            path: "stream",
            address: None,
            counted: None,
            came_with: self.came_with,
            reads_status: self.reads_status,
            spread_ms: (9000, 60_000),
        };
        match &self.hub {
            Some(hub) => caller.refuse(hub, &why, None),
            None => {
                let (status, code, message) = why.said();
                response(status, code, message)
            }
        }
    }
}

impl From<Refusal> for Unopened {
    fn from(refusal: Refusal) -> Self {
        Unopened::Refused(refusal)
    }
}

impl Unopened {
    fn said(&self) -> (StatusCode, &str, &str) {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Unopened::Malformed(message) => (StatusCode::BAD_REQUEST, "malformed", message),
            Unopened::Plain => (StatusCode::FORBIDDEN, "httpsrequired", "this is served over HTTPS only"),
            Unopened::Refused(refusal) => (refusal.status, &refusal.code, &refusal.message),
            Unopened::Limited(wait) => (StatusCode::TOO_MANY_REQUESTS, "limited", wait.reason),
            Unopened::Closed(Closed::Shutdown) => (unavailable, "shutdown", "the server shuts down"),
            Unopened::Closed(Closed::Busy) => (unavailable, "busy", "too many streams are open"),
            Unopened::Closed(Closed::Grant) => (unavailable, "grant", "the grant changed meanwhile"),
        }
    }

    /// Whether it passes, and after which time at least.
    fn passes(&self) -> Option<(ByeReason, Duration)> {
        match self {
            Unopened::Limited(wait) => Some((ByeReason::Limited, wait.time)),
            Unopened::Closed(Closed::Shutdown) => Some((ByeReason::Shutdown, Duration::ZERO)),
            Unopened::Closed(Closed::Busy) => Some((ByeReason::Busy, Duration::ZERO)),
            Unopened::Closed(Closed::Grant) => Some((ByeReason::Grant, Duration::ZERO)),
            Unopened::Refused(refusal) => match refusal.status {
                StatusCode::TOO_MANY_REQUESTS => Some((ByeReason::Limited, Duration::ZERO)),
                StatusCode::SERVICE_UNAVAILABLE => Some((ByeReason::Busy, Duration::ZERO)),
                _ => None,
            },
            Unopened::Malformed(_) | Unopened::Plain => None,
        }
    }
}
