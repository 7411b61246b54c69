//! `TraceLayer` and request ids: those who look and change little.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use e2e::stack::{Stack, lets_through, routes};
use e2e::{Client, eventually};
use http::{HeaderName, HeaderValue, Method, Request};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::TraceLayer;
use tower_revalidate::Revalidate;

use super::orders;

#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn add(&self, one: bool) {
        self.0.fetch_add(usize::from(one), Ordering::SeqCst);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Right order: any. Inside of the hub's layer it sees the `Revalidate` of a response; outside it is taken out
/// already. A stream's chunks are seen one by one, its end is an end of stream, a client that goes is no failure.
#[tokio::test]
async fn tracing_sees_a_stream_and_leaves_it_alone() {
    for (outside, hub) in orders() {
        let [said, chunks, ends, failures] = std::array::from_fn(|_| Counter::default());
        let (on_said, on_chunk, on_end, on_failure) =
            (said.clone(), chunks.clone(), ends.clone(), failures.clone());
        let trace = TraceLayer::new_for_http()
            .on_response(move |response: &http::Response<_>, _, _: &_| {
                on_said.add(response.extensions().get::<Revalidate>().is_some());
            })
            .on_body_chunk(move |_: &Bytes, _, _: &_| on_chunk.add(true))
            .on_eos(move |_: Option<&_>, _, _: &_| on_end.add(true))
            .on_failure(move |_, _, _: &_| on_failure.add(true));
        let app = if outside {
            routes(&hub).layer(hub.layer()).layer(trace)
        } else {
            routes(&hub).layer(trace).layer(hub.layer())
        };
        let stack = Stack::start(&hub, app).await;
        lets_through(&hub, &stack.client()).await;
        assert_eq!(said.get(), usize::from(!outside));
        assert!(chunks.get() >= 3, "hello, two events, and {} chunks", chunks.get());

        let (mut stream, _) = stack.client().follow("news").await;
        let before = ends.get();
        hub.shutdown();
        let (heard, whole) = stream.end().await;
        assert!(whole);
        assert_eq!(heard.last().map(|event| &*event.name), Some("bye"));
        eventually("ends", before + 1, async || ends.get()).await;
        assert_eq!(failures.get(), 0);
    }
}

#[derive(Clone, Default)]
struct Numbers(Counter);

impl MakeRequestId for Numbers {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        self.0.add(true);
        Some(RequestId::new(HeaderValue::from(self.0.get())))
    }
}

/// Right order: any; of the two, the one that sets outside of the one that propagates.
#[tokio::test]
async fn request_ids_stand_on_streams_and_on_answers() {
    for (outside, hub) in orders() {
        let header = HeaderName::from_static("x-request-id");
        let set = SetRequestIdLayer::new(header.clone(), Numbers::default());
        let propagate = PropagateRequestIdLayer::new(header);
        let app = if outside {
            routes(&hub).layer(hub.layer()).layer(propagate).layer(set)
        } else {
            routes(&hub).layer(propagate).layer(set).layer(hub.layer())
        };
        let stack = Stack::start(&hub, app).await;
        let id = async |client: &Client, path| {
            client.send(Method::GET, path, "").await.headers()["x-request-id"].clone()
        };
        let client = stack.client();
        assert_eq!(id(&client, "/posts").await, "1");
        assert_eq!(id(&client, "/realtime/events").await, "2");
        let own = client.with(HeaderName::from_static("x-request-id"), "mine");
        assert_eq!(id(&own, "/realtime/events").await, "mine");
        eventually("sessions", 0, async || hub.stats().sessions).await;
        lets_through(&hub, &client).await;
    }
}
