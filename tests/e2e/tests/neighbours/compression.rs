//! `CompressionLayer`.

use e2e::Gunzip;
use e2e::stack::{Stack, lets_through, routes};
use http::Method;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use super::{orders, quiet};

/// Right order: any. Its default predicate leaves event streams alone.
#[tokio::test]
async fn compression_leaves_streams_alone() {
    for (outside, hub) in orders() {
        let app = if outside {
            routes(&hub).layer(hub.layer()).layer(CompressionLayer::new())
        } else {
            routes(&hub).layer(CompressionLayer::new()).layer(hub.layer())
        };
        let stack = Stack::start(&hub, app).await;
        let client = stack.client().with(ACCEPT_ENCODING, "gzip");
        let page = client.send(Method::GET, "/posts", "").await;
        assert_eq!(page.headers()[CONTENT_ENCODING], "gzip", "it does compress");
        assert!(page.headers().contains_key("x-revalidate-cursor"));
        lets_through(&hub, &client).await;
    }
}

/// Wrong: a predicate of one's own that does not say `.and(NotForContentType::SSE)`. The stream is compressed,
/// in spite of its `no-transform`. It still passes at once, because the encoder flushes when the stream pauses;
/// but each stream then has a compressor of its own.
#[tokio::test]
async fn a_predicate_of_ones_own_compresses_streams() {
    let hub = quiet();
    let own = CompressionLayer::new().compress_when(SizeAbove::new(256));
    let stack = Stack::start(&hub, routes(&hub).layer(own).layer(hub.layer())).await;
    let client = stack.client().with(ACCEPT_ENCODING, "gzip");
    let response = client.send(Method::GET, "/realtime/events?channels=news", "").await;
    assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
    let mut stream = Gunzip::new(response);
    stream.read_until("event: hello").await;
    client.send(Method::POST, "/posts", "").await;
    stream.read_until("event: revalidate").await;
}

/// Right: such a predicate ends with `.and(NotForContentType::SSE)`.
#[tokio::test]
async fn a_predicate_of_ones_own_that_names_streams_leaves_them_alone() {
    let hub = quiet();
    let own = CompressionLayer::new().compress_when(SizeAbove::new(256).and(NotForContentType::SSE));
    let stack = Stack::start(&hub, routes(&hub).layer(own).layer(hub.layer())).await;
    lets_through(&hub, &stack.client().with(ACCEPT_ENCODING, "gzip")).await;
}
