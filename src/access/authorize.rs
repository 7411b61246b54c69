//! The hook that makes a [`Grant`] of a request, for stacks without a middleware that does.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::StatusCode;
use http::request::Parts;

use crate::Grant;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an authorizer opens nothing. Answered as JSON `{"code","message"}`.
///
/// Any error converts to one with `?`: it is answered 500 without its text, and logged.
#[derive(Debug)]
pub struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) source: Option<BoxError>,
}

impl Refusal {
    /// 401: sign in first.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Refusal {
            status: StatusCode::UNAUTHORIZED,
            code: "unauthorized",
            message: message.into(),
            source: None,
        }
    }

    /// 403 `accessdenied`: signed in, and not allowed.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Refusal { status: StatusCode::FORBIDDEN, code: "accessdenied", message: message.into(), source: None }
    }

    /// 500: the authorizer could not tell. The error is logged and not sent.
    pub fn error(source: impl Into<BoxError>) -> Self {
        Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "internal",
            message: "authorization failed".into(),
            source: Some(source.into()),
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal::error(error)
    }
}

pub(crate) type AuthorizeFuture = Pin<Box<dyn Future<Output = Result<Grant, Refusal>> + Send>>;

/// A hook as it is kept. The parts come by value: a closure over `&Parts` cannot be required `Send`.
pub(crate) struct Authorizer(Box<dyn Fn(Parts) -> AuthorizeFuture + Send + Sync>);

impl Authorizer {
    pub(crate) fn new<F, Fut>(authorize: F) -> Self
    where
        F: Fn(Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Grant, Refusal>> + Send + 'static,
    {
        Authorizer(Box::new(move |parts| Box::pin(authorize(parts))))
    }

    pub(crate) fn call(&self, parts: Parts) -> Authorizing {
        Authorizing(catch_unwind(AssertUnwindSafe(|| (self.0)(parts))).ok())
    }
}

/// The hook at work. A panic is a refusal: it opens nothing and takes nothing else down.
pub(crate) struct Authorizing(Option<AuthorizeFuture>);

impl Future for Authorizing {
    type Output = Result<Grant, Refusal>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled =
            self.0.as_mut().map(|future| catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))));
        let ready = match polled {
            Some(Ok(Poll::Pending)) => return Poll::Pending,
            Some(Ok(Poll::Ready(result))) => result,
            Some(Err(_)) | None => Err(Refusal::error("the authorizer panicked")),
        };
        self.0 = None;
        Poll::Ready(ready)
    }
}
