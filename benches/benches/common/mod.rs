//! Sessions without sockets: bodies, and a runtime that turns only when it is told to.
#![allow(dead_code, clippy::unwrap_used)]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::{FutureExt, Stream};
use http::Request;
use http_body_util::Empty;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;
use tower_revalidate::{Grant, Hub, SseBody};

/// A runtime of this thread: nothing of it runs, dispatch included, before `block_on`.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Opens a stream of `room:1` and `room:2`. It is not read.
pub(crate) fn open(hub: &Hub, cursor: Option<&str>) -> SseBody {
    let mut request = Request::get("/events?channels=room:1,room:2").body(Empty::<Bytes>::new()).unwrap();
    request
        .headers_mut()
        .extend(cursor.map(|cursor| ("last-event-id".parse().ok(), cursor.parse().unwrap())));
    request.extensions_mut().insert(Grant::anonymous().follow("room:*"));
    hub.service().oneshot(request).now_or_never().unwrap().unwrap().into_body()
}

/// Reads what there is. Returns how many bytes that was.
pub(crate) fn read(body: &mut SseBody) -> usize {
    let mut bytes = 0;
    while let Poll::Ready(chunk) = Pin::new(&mut *body).poll_next(&mut Context::from_waker(Waker::noop())) {
        bytes += chunk.unwrap().unwrap().len();
    }
    bytes
}

/// Opens sessions that have read all there is and sleep.
pub(crate) fn asleep(hub: &Hub, sessions: usize) -> Vec<SseBody> {
    let mut bodies: Vec<_> = (0..sessions).map(|_| open(hub, None)).collect();
    bodies.iter_mut().for_each(|body| assert!(read(body) > 0));
    bodies
}
