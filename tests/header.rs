//! What an upstream says in the response header `X-Revalidate`, for those that cannot set extensions.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::soon;
use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_revalidate::{
    Audit, Builder, Event, Fault, Grant, Hub, Revalidate, RevalidateExt, Subscription, revalidate,
};

fn reading() -> Builder {
    Hub::builder().response_header(true)
}

/// The answer of an upstream with these lines, through the layer.
async fn through(hub: &Hub, lines: &[&str], status: u16) -> Response<()> {
    let mut response = Response::builder().status(status).header("x-other", "stays");
    for line in lines {
        response = response.header("X-Revalidate", line.as_bytes());
    }
    let response = response.body(()).unwrap();
    answered(hub, response).await
}

async fn answered(hub: &Hub, response: Response<()>) -> Response<()> {
    let app = hub.layer().layer(service_fn(move |_: Request<()>| {
        let mut copy = Response::new(());
        *copy.status_mut() = response.status();
        *copy.headers_mut() = response.headers().clone();
        *copy.extensions_mut() = response.extensions().clone();
        async { Ok::<_, Infallible>(copy) }
    }));
    app.oneshot(Request::post("/").body(()).unwrap()).await.unwrap()
}

async fn next(sub: &mut Subscription) -> Event {
    soon("an event", sub.recv()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_says_is_published_and_stripped() {
    let hub = reading().build().unwrap();
    let mut alice = hub.subscribe(Grant::user("alice")).unwrap();
    let mut bob = hub.subscribe(Grant::user("bob")).unwrap();
    for lines in
        [&["\"posts.list\", (\"users\" 7);to=\"user:alice\""][..], &["posts.list", "(users 7);to=user:alice"]]
    {
        let response = through(&hub, lines, 201).await;
        assert!(!response.headers().contains_key("x-revalidate"), "it is not for browsers");
        assert_eq!(response.headers()["x-other"], "stays");
        assert_eq!(next(&mut alice).await, revalidate(Revalidate::key("posts.list").and(("users", 7))));
        assert_eq!(next(&mut bob).await, revalidate("posts.list"));
    }
    through(&hub, &["a"], 303).await;
    assert_eq!(next(&mut bob).await, revalidate("a"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_publishes_nothing_and_is_stripped_too() {
    let hub = reading().build().unwrap();
    let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
    for status in [400, 404, 500] {
        let response = through(&hub, &["posts.list"], status).await;
        assert_eq!(response.status(), StatusCode::from_u16(status).unwrap());
        assert!(!response.headers().contains_key("x-revalidate"));
    }
    assert_eq!(sub.try_recv().unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_malformed_is_told_and_publishes_nothing() {
    let faults = Arc::new(AtomicUsize::new(0));
    let count = faults.clone();
    let hub = reading().on_audit(move |audit| {
        assert!(matches!(audit, Audit::Fault(Fault::Header(_))), "{audit:?}");
        count.fetch_add(1, Ordering::SeqCst);
    });
    let hub = hub.build().unwrap();
    let mut sub = hub.subscribe(Grant::user("alice")).unwrap();
    let malformed =
        ["posts.list,", "a, \"b", "a;to=\"\"", "a, b;to=\"user:*\"", "a;too=\"user:alice\"", "\u{fc}"];
    for line in malformed {
        let response = through(&hub, &[line], 201).await;
        assert_eq!(response.status(), StatusCode::CREATED, "the answer itself is fine");
        assert!(!response.headers().contains_key("x-revalidate"));
    }
    assert_eq!(faults.load(Ordering::SeqCst), malformed.len());
    assert_eq!(sub.try_recv().unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn the_rules_of_audiences_hold_for_it_too() {
    let hub = reading().scoped_key("salaries").build().unwrap();
    let mut alice = hub.subscribe(Grant::user("alice")).unwrap();
    through(&hub, &["salaries.list, posts"], 200).await;
    assert_eq!(next(&mut alice).await, revalidate("posts"));
    through(&hub, &["salaries.list;to=\"user:alice\""], 200).await;
    assert_eq!(next(&mut alice).await, revalidate("salaries.list"));
}

#[tokio::test(start_paused = true)]
async fn it_joins_what_an_extension_says() {
    let hub = reading().build().unwrap();
    let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
    let mut response = Response::new(()).revalidate("a");
    response.headers_mut().insert("x-revalidate", "b".parse().unwrap());
    answered(&hub, response).await;
    assert_eq!(next(&mut sub).await, revalidate(["a", "b"]));
}

/// An upstream that is not trusted as a handler is must not publish, so the feature alone reads nothing.
#[tokio::test(start_paused = true)]
async fn it_is_not_read_unless_the_builder_says_so() {
    let hub = Hub::new();
    let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
    let response = through(&hub, &["posts.list"], 201).await;
    assert_eq!(response.headers()["x-revalidate"], "posts.list", "it passes as it is");
    assert_eq!(sub.try_recv().unwrap(), None);
}
