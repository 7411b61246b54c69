//! Errors as they are answered: JSON `{"code","message"}`.

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::{Refusal, SseBody};

/// An error answer.
pub(super) fn response(status: StatusCode, code: &str, message: &str) -> Response<SseBody> {
    #[derive(Serialize)]
    struct Error<'a> {
        code: &'a str,
        message: &'a str,
    }
    // Two strings always serialise.
    let json = serde_json::to_vec(&Error { code, message }).unwrap_or_default();
    let mut response = Response::new(SseBody::once(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What an authorizer's refusal is answered with. Its source is for the log only.
pub(super) fn refusal(refusal: &Refusal) -> Response<SseBody> {
    if let Some(source) = &refusal.source {
        tracing::error!(error = %source, "authorization failed");
    }
    response(refusal.status, refusal.code, &refusal.message)
}
