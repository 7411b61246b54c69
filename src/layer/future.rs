use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use crate::hub::Observation;

pin_project! {
    /// The response to come; of [`Revalidated`](super::Revalidated).
    #[derive(Debug)]
    pub struct RevalidateFuture<F> {
        #[pin]
        pub(super) inner: F,
        pub(super) observation: Option<Observation>,
    }
}

impl<F, R, E> Future for RevalidateFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let (mut head, body) = response.into_parts();
        if let Some(observation) = this.observation.take() {
            observation.finish(head.status, &mut head.headers, &mut head.extensions);
        }
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}
