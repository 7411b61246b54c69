//! [`MountLayer`]: the service under a path, for stacks without a router.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use http_body_util::Either;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::service::{RealtimeFuture, RealtimeService, strip};
use crate::{BoxError, Hub, SseBody};

/// Answers under a path with the hub's service and passes on the rest; of [`Hub::mount_layer`].
///
/// For bare hyper and other stacks without a router. In axum use `nest_service`: a layer there sees only what
/// its routes match. Put authentication *outside* of it, for a layer inside does not guard the mount, and the
/// hub's [`layer`](Hub::layer) outside of both: then a grant that is revoked while a request is on its way
/// opens nothing.
#[derive(Debug, Clone)]
pub struct MountLayer {
    service: RealtimeService,
    path: Arc<str>,
}

impl MountLayer {
    pub(crate) fn new(hub: &Hub, path: &str) -> Self {
        let path: Arc<str> = format!("/{}", path.trim_matches('/')).into();
        MountLayer { service: hub.service().at(path.clone()), path }
    }
}

impl<S> Layer<S> for MountLayer {
    type Service = Mount<S>;
    fn layer(&self, inner: S) -> Mount<S> {
        Mount { service: self.service.clone(), path: self.path.clone(), inner }
    }
}

/// A service with a mount beside it; of [`MountLayer`].
#[derive(Debug, Clone)]
pub struct Mount<S> {
    service: RealtimeService,
    path: Arc<str>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Mount<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Either<SseBody, R>>;
    type Error = S::Error;
    type Future = MountFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = match strip(request.uri().path(), &self.path) {
            Some(_) => State::Mount { future: self.service.call(request) },
            None => State::Inner { future: self.inner.call(request) },
        };
        MountFuture { state }
    }
}

pin_project! {
    /// The response to come; of [`Mount`].
    #[derive(Debug)]
    pub struct MountFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjection]
    enum State<F> {
        Mount { future: RealtimeFuture },
        Inner { #[pin] future: F },
    }
}

impl<F, R, E> Future for MountFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<Either<SseBody, R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Mount { future } => {
                let Ok(response) = ready!(Pin::new(future).poll(cx));
                Poll::Ready(Ok(response.map(Either::Left)))
            }
            StateProjection::Inner { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(response.map(Either::Right)))
            }
        }
    }
}
