//! Responses that are streams.

use http::{HeaderValue, Response, header};

use super::SseBody;
use super::body;
use crate::Cursor;
use crate::hub::{ByeReason, HubSession};
use crate::sse::Denied;

/// A stream that is open, for a client that came with this cursor.
pub(crate) fn stream(
    session: HubSession,
    denied: Vec<Denied>,
    came_with: Option<Cursor>,
) -> Response<SseBody> {
    // One value a session, so that clients of a server that went down do not come back in step.
    let retry_ms = 1000 + session.shared().board.draw(3001);
    with_headers(SseBody::live(session, denied, came_with, retry_ms))
}

/// A stream that is refused for a while: a status other than 200 would end a native `EventSource` for good
/// (WHATWG HTML, 9.2.3), so it is told to come back, with the cursor that it came with.
pub(crate) fn goodbye(came_with: Option<Cursor>, reason: ByeReason, retry_ms: u64) -> Response<SseBody> {
    with_headers(SseBody::once(body::goodbye(came_with, reason, Some(retry_ms))))
}

/// The headers of a stream. No `Connection`: it is the server's, and forbidden in HTTP/2.
pub(crate) fn with_headers(body: SseBody) -> Response<SseBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
