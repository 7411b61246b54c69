//! The hook that makes a [`Grant`] of a request, for stacks without a middleware that does.

use std::borrow::Cow;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::StatusCode;
use http::request::Parts;

use crate::PublishError;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an authorizer or a handler says no. Answered as JSON `{"code","message"}`.
///
/// Any error converts to one with `?`: it is answered 500 without its text, and logged.
///
/// ```
/// use http::StatusCode;
/// use tower_revalidate::Refusal;
///
/// let too_long = Refusal::invalid("at most 1 000 characters");
/// let stale = Refusal::conflict("somebody else saved version 8");
/// let unpaid = Refusal::new(StatusCode::PAYMENT_REQUIRED, "unpaid", "the trial is over");
/// ```
#[derive(Debug)]
pub struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    pub(crate) source: Option<BoxError>,
}

impl Refusal {
    /// A refusal with a status and a code of your own. A status that is no error becomes 500.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let is_error = status.is_client_error() || status.is_server_error();
        let status = if is_error { status } else { StatusCode::INTERNAL_SERVER_ERROR };
        Refusal { status, code: code.into(), message: message.into(), source: None }
    }

    /// 400 `invalid`: what was sent is not what it must be.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// 401: sign in first.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403 `accessdenied`: signed in, and not allowed.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "accessdenied", message)
    }

    /// 409 `conflict`: somebody else was faster.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 500: it could not be told. The error is logged and not sent.
    pub fn error(source: impl Into<BoxError>) -> Self {
        let internal = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "authorization failed");
        Refusal { source: Some(source.into()), ..internal }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal::error(error)
    }
}

/// What a client is told whose request was published from, and the log, the filter or a bound said no.
pub(crate) fn publish_refusal(error: PublishError) -> Refusal {
    let message = error.to_string();
    match error {
        PublishError::Log(_) | PublishError::Full => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
        PublishError::TooLarge { .. } => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "toolarge", message),
        PublishError::TooMany { .. } => Refusal::new(StatusCode::BAD_REQUEST, "malformed", message),
        PublishError::Filtered(_)
        | PublishError::Undeclared(_)
        | PublishError::Unscoped(_)
        | PublishError::Refused(_) => Refusal::forbidden(message),
        PublishError::Channel(_)
        | PublishError::EventName(_)
        | PublishError::Serialize(_)
        | PublishError::Change(_) => Refusal::error(error),
    }
}

type Authorized<T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send>>;

/// A hook as it is kept, by what it gives. The parts come by value: a closure over `&Parts` cannot be required
/// `Send`.
pub(crate) struct Authorizer<T>(Box<dyn Fn(Parts) -> Authorized<T> + Send + Sync>);

impl<T> Authorizer<T> {
    pub(crate) fn new<F, Fut>(authorize: F) -> Self
    where
        F: Fn(Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        Authorizer(Box::new(move |parts| Box::pin(authorize(parts))))
    }

    pub(crate) fn call(&self, parts: Parts) -> Authorizing<T> {
        let at_work = catch_unwind(AssertUnwindSafe(|| (self.0)(parts)));
        Authorizing(at_work.map_or(State::Panicked, State::AtWork))
    }
}

/// The hook at work. A panic is a refusal: it opens nothing and takes nothing else down.
pub(crate) struct Authorizing<T>(State<T>);

enum State<T> {
    /// Nothing to ask.
    Known(Option<T>),
    AtWork(Authorized<T>),
    Panicked,
}

impl<T> Authorizing<T> {
    /// What is known without a hook.
    pub(crate) fn known(granted: T) -> Self {
        Authorizing(State::Known(Some(granted)))
    }
}

impl<T: Unpin> Future for Authorizing<T> {
    type Output = Result<T, Refusal>;

    #[allow(clippy::expect_used)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let panicked = || Err(Refusal::error("the authorizer panicked"));
        let polled = match &mut self.0 {
            State::Known(granted) => {
                Poll::Ready(Ok(granted.take().expect("a future is not polled after it completed")))
            }
            State::AtWork(future) => catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)))
                .unwrap_or_else(|_| Poll::Ready(panicked())),
            State::Panicked => Poll::Ready(panicked()),
        };
        if polled.is_ready() {
            self.0 = State::Known(None);
        }
        polled
    }
}
