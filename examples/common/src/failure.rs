//! [`Failure`]: what every handler answers when it refuses.

use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest body of a request, in bytes: what it holds fits into an event, whose bound is 64 KiB.
pub const MAX_BODY: usize = 48 * 1024;

/// A refusal: a status, and `{"code","message"}` as its body.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    #[serde(skip)]
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Failure {
    /// A refusal with this status. The code follows from it.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let code = match status {
            StatusCode::BAD_REQUEST => "malformed",
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "accessdenied",
            StatusCode::NOT_FOUND => "notfound",
            StatusCode::METHOD_NOT_ALLOWED => "methodnotallowed",
            StatusCode::CONFLICT => "conflict",
            StatusCode::PAYLOAD_TOO_LARGE => "toolarge",
            StatusCode::UNPROCESSABLE_ENTITY => "invalid",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "error",
        };
        Failure { status, code, message: message.into() }
    }

    /// The status to answer with; the body is the failure itself, as JSON.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What a program tells failures apart by.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// 404.
    #[must_use]
    pub fn not_found() -> Self {
        Failure::new(StatusCode::NOT_FOUND, "There is nothing here")
    }

    /// 405. The caller adds `Allow`.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, "This resource does not know that method")
    }

    /// 422.
    #[must_use]
    pub fn invalid(message: &str) -> Self {
        Failure::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Reads a JSON body.
///
/// # Errors
/// 400 when it is not JSON, 422 when it is another shape of JSON.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Failure::invalid(&error.to_string()),
        _ => Failure::new(StatusCode::BAD_REQUEST, error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(body: &str) -> u16 {
        parse::<crate::NewPost>(body.as_bytes()).map_or_else(|failure| failure.status().as_u16(), |_| 200)
    }

    #[test]
    fn broken_json_is_malformed_and_a_wrong_shape_is_invalid() {
        assert_eq!(status(r#"{"title":"one"}"#), 200);
        assert_eq!(status(r#"{"title":"#), 400);
        assert_eq!(status(""), 400);
        assert_eq!(status(r#"{"title":5}"#), 422);
        assert_eq!(status("{}"), 422);
    }

    #[test]
    fn a_failure_is_a_code_and_a_message() {
        let body = serde_json::to_string(&Failure::new(StatusCode::FORBIDDEN, "no")).expect("plain strings");
        assert_eq!(body, r#"{"code":"accessdenied","message":"no"}"#);
    }
}
