use std::task::{Context, Poll};

use http::{Request, Response};
use tower::Service;

use super::RevalidateFuture;
use crate::Hub;

/// A service under the [`RevalidateLayer`](super::RevalidateLayer). See the [module docs](super).
#[derive(Debug, Clone)]
pub struct Revalidated<S> {
    pub(super) inner: S,
    pub(super) hub: Hub,
}

impl<S, B, R> Service<Request<B>> for Revalidated<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RevalidateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let observation = self.hub.observe(request.method(), request.uri(), request.headers());
        observation.mark(request.extensions_mut());
        RevalidateFuture { inner: self.inner.call(request), observation: Some(observation) }
    }
}
