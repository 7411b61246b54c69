//! POSTs: what holds for each of them before an endpoint has its body.
//!
//! Whoever is refused is refused as early as can be: by the head of the request first (where it comes from, what it
//! brings), then by the limits and by whose it is; only then is the body read, no more of it than may be, and no
//! longer.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, combinators::UnsyncBoxBody};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::error::{Caller, Unopened};
use super::{RealtimeFuture, authorize, broadcast, cross_site, emit, not_found, other_method, revalidate};
use crate::access::{Authorizing, Coming, Gate};
use crate::hub::{Options, Seen};
use crate::{BoxError, Grant, Hub, Refusal, Revalidate, RevalidateExt, SseBody};

/// What stands around a payload: the names of a channel and an event, each byte of them perhaps an escape of six,
/// and blanks.
const ENVELOPE_BYTES: usize = 4096;

/// An endpoint that takes POSTs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Emit,
    Broadcast,
    Revalidate,
}

/// Any body. What it carries need be neither `Sync` nor `Unpin`.
type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// Answers a request that is to be a POST.
pub(super) fn answer<B>(hub: &Hub, endpoint: Endpoint, parts: Parts, body: B) -> RealtimeFuture
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    if !endpoint.is_there(&hub.shared.options) {
        return RealtimeFuture::ready(not_found());
    }
    if parts.method != Method::POST {
        let refusal = "this is asked for with POST";
        return RealtimeFuture::ready(other_method(&parts.method, "POST, OPTIONS", refusal));
    }
    let body = body.map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())));
    RealtimeFuture::later(take(hub.clone(), endpoint, parts, body.map_err(Into::into).boxed_unsync()))
}

async fn take(hub: Hub, endpoint: Endpoint, parts: Parts, body: AnyBody) -> Response<SseBody> {
    let caller = Caller::by_status(&hub, &parts, endpoint.name());
    let mut identity = None;
    match taken(&hub, endpoint, &caller, parts, body, &mut identity).await {
        Ok(json) => success(json),
        Err(why) => caller.refuse(&hub, &why, identity.as_deref()),
    }
}

/// The endpoint's answer, as JSON.
async fn taken(
    hub: &Hub,
    endpoint: Endpoint,
    caller: &Caller,
    parts: Parts,
    body: AnyBody,
    identity: &mut Option<String>,
) -> Result<Vec<u8>, Unopened> {
    let options = &hub.shared.options;
    authorize::require_https(options, &parts)?;
    cross_site::refuse(&options.trusted_origins, &parts)?;
    if !is_json(&parts.headers) {
        let message = "the content type must be application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "mediatype", message).into());
    }
    for gate in endpoint.gates(options) {
        gate.arrive(caller.counted, Coming::New).map_err(Unopened::Limited)?;
    }
    // From before the grant was made, as for a stream.
    let granted_at = Seen::by(hub, &parts.extensions).unwrap_or_else(|| hub.cursor());
    let grant = endpoint.authorize(options, parts).await?;
    grant.log_faults();
    *identity = grant.identity().map(str::to_owned);
    for gate in endpoint.gates(options) {
        gate.admit(grant.identity(), caller.counted, Coming::New).map_err(Unopened::Limited)?;
    }
    let body = read(body, options.payload_bytes.saturating_add(ENVELOPE_BYTES), options.body_timeout).await?;
    // Whoever signed out while the body was on its way says nothing any more.
    if grant.identity().is_some_and(|identity| hub.shared.board.regranted_since(identity, granted_at)) {
        return Err(Unopened::Closed(crate::hub::Closed::Grant));
    }
    Ok(endpoint.take(hub, grant, &body).await?)
}

impl Endpoint {
    fn name(self) -> &'static str {
        match self {
            Endpoint::Emit => "emit",
            Endpoint::Broadcast => "broadcast",
            Endpoint::Revalidate => "revalidate",
        }
    }

    /// Trusted senders have an authorizer of their own, and without it no door.
    fn is_there(self, options: &Options) -> bool {
        match self {
            Endpoint::Emit => true,
            Endpoint::Broadcast | Endpoint::Revalidate => options.broadcast.is_some(),
        }
    }

    fn gates(self, options: &Options) -> &[Box<dyn Gate>] {
        match self {
            Endpoint::Emit => &options.emit_gates,
            Endpoint::Broadcast | Endpoint::Revalidate => &options.broadcast_gates,
        }
    }

    fn authorize(self, options: &Options, parts: Parts) -> Authorizing<Grant> {
        match (self, &options.broadcast) {
            (Endpoint::Broadcast | Endpoint::Revalidate, Some(authorizer)) => authorizer.call(parts),
            (Endpoint::Broadcast | Endpoint::Revalidate, None) => Authorizing::known(Grant::anonymous()),
            (Endpoint::Emit, _) => authorize::grant(options, parts),
        }
    }

    async fn take(self, hub: &Hub, grant: Grant, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        match self {
            Endpoint::Emit => emit::take(hub, grant, body).await,
            Endpoint::Broadcast => broadcast::take(hub, &grant, body).await,
            Endpoint::Revalidate => revalidate::take(hub, body).await,
        }
    }
}

/// One value of it, which may have parameters (RFC 9110, 8.3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let essence = types.next().and_then(|kind| kind.to_str().ok()?.split(';').next());
    types.next().is_none() && essence.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The whole body, if it is no larger than this and there in time.
async fn read(mut body: AnyBody, limit: usize, time: Duration) -> Result<Vec<u8>, Refusal> {
    let too_large = || {
        let message = format!("the body is over the limit of {limit} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "toolarge", message)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let slow = || Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body took too long");
    let until = Instant::now() + time;
    let mut read = Vec::new();
    while let Some(frame) = timeout_at(until, body.frame()).await.map_err(|_| slow())? {
        // A timeout is not looked at where frames are always ready.
        if Instant::now() >= until {
            return Err(slow());
        }
        let frame = frame.map_err(|error| match is_over_limit(&*error) {
            true => too_large(),
            false => malformed("the body did not arrive whole"),
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - read.len() {
            return Err(too_large());
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}

/// Whether a layer outside of this service has a bound of its own.
fn is_over_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_over_limit)
}

/// What a body says.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| malformed(format!("the body is not what it must be: {error}")))
}

pub(super) fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "malformed", message)
}

/// What a handler gave; nothing is 204. What it made stale it said through the hub: the layer need not ask.
fn success(json: Vec<u8>) -> Response<SseBody> {
    let response = if json == b"null" {
        let mut response = Response::new(SseBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        super::json(json)
    };
    response.revalidate(Revalidate::nothing())
}
