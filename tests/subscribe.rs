//! Subscriptions in process: the same events as over the wire, for workers, caches and tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::soon;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tower_revalidate::{
    ByeReason, Event, GapReason, Grant, Hub, Policy, QueryKey, SubscribeError, message, revalidate,
};

#[tokio::test(start_paused = true)]
async fn it_hears_what_its_grant_lets_it_hear() {
    let hub = Hub::new();
    let grant = Grant::user("alice").scope("role:admin").follow("room:*");
    let mut sub = hub.subscribe(grant).unwrap().follow(("room", 1)).unwrap();
    hub.channel(("room", 2)).publish("x", &"of another room").await.unwrap();
    hub.channel(("room", 1)).publish("new_message", &json!({"text": "hi"})).await.unwrap();
    hub.revalidate("posts").await.unwrap();
    hub.revalidate(tower_revalidate::Revalidate::key("other").to("role:guest")).await.unwrap();
    hub.revalidate(tower_revalidate::Revalidate::key("mine").to("role:admin")).await.unwrap();
    assert_eq!(
        soon("an event", sub.recv()).await.unwrap(),
        revalidate(["posts", "mine"]),
        "revalidations first, as one"
    );
    assert_eq!(
        soon("an event", sub.recv()).await.unwrap(),
        message("room:1", "new_message", &json!({"text": "hi"}))
    );
    assert_eq!(sub.recv().now_or_never(), None);
}

#[tokio::test(start_paused = true)]
async fn what_the_grant_does_not_allow_is_a_typed_error() {
    let hub = Hub::new();
    let sub = || hub.subscribe(Grant::user("alice").follow("room:1")).unwrap();
    assert!(
        matches!(sub().follow("room:2"), Err(SubscribeError::Denied(channel)) if channel.as_str() == "room:2")
    );
    assert!(matches!(sub().follow(("room", "*")), Err(SubscribeError::Channel(_))));
    let hub = Hub::builder().max_sessions(1).max_subscriptions(2).build().unwrap();
    let only = hub.subscribe(Grant::anonymous().follow("**")).unwrap();
    assert!(matches!(hub.subscribe(Grant::anonymous()), Err(SubscribeError::Busy)));
    let only = only.follow("a").unwrap();
    assert!(matches!(only.follow("b"), Err(SubscribeError::Busy)));
    hub.shutdown();
    assert!(matches!(hub.subscribe(Grant::anonymous()), Err(SubscribeError::Shutdown)));
}

#[tokio::test(start_paused = true)]
async fn it_hears_from_now_on() {
    let hub = Hub::new();
    hub.revalidate("before").await.unwrap();
    hub.channel("room:1").publish("x", &"before").await.unwrap();
    let mut sub = hub.subscribe(Grant::anonymous().follow("room:*")).unwrap().follow("room:1").unwrap();
    hub.channel("room:1").publish("x", &"after").await.unwrap();
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), message("room:1", "x", &"after"));
    assert_eq!(sub.recv().now_or_never(), None);
}

/// "Follows a channel from now on": what was said on it before is not for this subscription.
#[tokio::test(start_paused = true)]
async fn a_channel_followed_later_is_heard_from_then_on() {
    let hub = Hub::new();
    let sub = hub.subscribe(Grant::anonymous().follow("room:*")).unwrap();
    hub.channel("room:1").publish("x", &"before").await.unwrap();
    let mut sub = sub.follow("room:1").unwrap();
    hub.channel("room:1").publish("x", &"after").await.unwrap();
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), message("room:1", "x", &"after"));
}

#[tokio::test(start_paused = true)]
async fn a_channel_followed_twice_is_heard_once() {
    let hub = Hub::new();
    let grant = Grant::anonymous().follow("room:*");
    let sub = hub.subscribe(grant).unwrap().follow("room:1").unwrap();
    let places = hub.stats().subscriptions;
    let mut sub = sub.follow(("room", 1)).unwrap();
    assert_eq!(hub.stats().subscriptions, places);
    hub.channel("room:1").publish("x", &1).await.unwrap();
    hub.channel("room:1").publish("x", &2).await.unwrap();
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), message("room:1", "x", &1));
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), message("room:1", "x", &2));
}

#[tokio::test(start_paused = true)]
async fn the_current_value_is_there_as_soon_as_it_follows() {
    let hub = Hub::builder().channel("dashboard", Policy::latest()).build().unwrap();
    hub.channel("dashboard").publish("update", &1).await.unwrap();
    hub.channel("dashboard").publish("update", &2).await.unwrap();
    let grant = Grant::anonymous().follow("dashboard");
    let mut sub = hub.subscribe(grant.clone()).unwrap().follow("dashboard").unwrap();
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), message("dashboard", "update", &2));

    let mut later = hub.subscribe(grant).unwrap();
    assert_eq!(later.recv().now_or_never(), None, "it has looked, and sleeps");
    let mut later = later.follow("dashboard").unwrap();
    assert_eq!(soon("the value", later.recv()).await.unwrap(), message("dashboard", "update", &2));
}

/// It holds no queue: one that lags beyond what is retained is told.
#[tokio::test(start_paused = true)]
async fn one_that_lags_is_told_of_the_gap_and_never_ended() {
    let hub = Hub::builder().channel("room:*", Policy::history(4)).build().unwrap();
    let mut sub = hub.subscribe(Grant::anonymous().follow("room:*")).unwrap().follow("room:1").unwrap();
    for number in 0..10 {
        hub.channel("room:1").publish("x", &number).await.unwrap();
    }
    match soon("an event", sub.recv()).await.unwrap() {
        Event::Gap(gap) => {
            assert_eq!(gap.reason, GapReason::Evicted);
            assert_eq!(gap.channels.unwrap()[0].as_str(), "room:1");
        }
        other => panic!("{other:?}"),
    }
    for number in 6..10 {
        assert_eq!(soon("an event", sub.recv()).await.unwrap(), message("room:1", "x", &number));
    }
    assert_eq!(sub.recv().now_or_never(), None);
}

/// An event is lost only by dropping the subscription.
#[tokio::test(start_paused = true)]
async fn receiving_is_cancel_safe() {
    let hub = Hub::new();
    let mut sub = hub.subscribe(Grant::anonymous().follow("room:*")).unwrap().follow("room:1").unwrap();
    tokio::spawn(async move {
        for number in 0..100 {
            hub.channel("room:1").publish("x", &number).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let (mut heard, mut cancelled) = (Vec::new(), 0);
    while heard.len() < 100 && cancelled < 100_000 {
        // Polled once, and dropped if it has to wait.
        match sub.recv().now_or_never() {
            Some(event) => heard.push(event.unwrap()),
            None => {
                cancelled += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    assert!(cancelled > 10, "it had to wait {cancelled} times only");
    let expected: Vec<_> = (0..100).map(|number| message("room:1", "x", &number)).collect();
    assert_eq!(heard, expected);
}

#[tokio::test(start_paused = true)]
async fn it_tells_why_it_ended() {
    let hub = Hub::new();
    let mut sub = hub.subscribe(Grant::user("alice")).unwrap();
    hub.revalidate("last").await.unwrap();
    hub.disconnect_user("alice").await.unwrap();
    // What was published before may be heard or not; the end is heard for certain, and again.
    let end = loop {
        match soon("an event", sub.recv()).await {
            Ok(event) => assert_eq!(event, revalidate("last")),
            Err(end) => break end,
        }
    };
    assert_eq!(end.reason, ByeReason::Grant);
    assert_eq!(soon("an event", sub.recv()).await, Err(end));
    assert_eq!(sub.next().await, None, "as a stream it ends");
    assert_eq!(hub.stats().sessions, 0);

    let mut sub = hub.subscribe(Grant::user("bob")).unwrap();
    hub.shutdown();
    assert_eq!(soon("an event", sub.recv()).await.unwrap_err().reason, ByeReason::Shutdown);
}

/// Nobody forgets a subscription that a worker holds: it does not expire unless told, and it need not be polled.
#[tokio::test(start_paused = true)]
async fn it_lives_as_long_as_its_holder_wants() {
    let hub = Hub::new();
    let mut sub = hub.subscribe(Grant::user("worker")).unwrap();
    let mut short =
        hub.subscribe(Grant::user("worker").expires_in(std::time::Duration::from_secs(60))).unwrap();
    hub.revalidate("posts").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), revalidate("posts"));
    let end = loop {
        if let Err(end) = soon("an event", short.recv()).await {
            break end;
        }
    };
    assert_eq!(end.reason, ByeReason::Expired);
}

#[tokio::test(start_paused = true)]
async fn dropping_it_closes_the_session() {
    let hub = Hub::new();
    let baseline = hub.stats();
    let subs: Vec<_> = (0..100)
        .map(|id| hub.subscribe(Grant::user(id).follow("room:*")).unwrap().follow(("room", id)).unwrap())
        .collect();
    assert_eq!(hub.stats().sessions, 100);
    drop(subs);
    assert_eq!(hub.stats(), baseline);
}

/// Row G5: the server's own code reads without a connection.
#[tokio::test(start_paused = true)]
async fn a_servers_own_cache_is_kept_fresh_without_a_connection() {
    let hub = Hub::new();
    let sub = hub.subscribe(Grant::anonymous()).unwrap();
    let list = QueryKey::new("posts.list").unwrap();
    let refreshed = tokio::spawn(async move {
        sub.filter(|event| {
            let stale =
                matches!(event, Event::Revalidate(stale) if stale.keys.iter().any(|key| key.covers(&list)));
            async move { stale }
        })
        .boxed()
        .next()
        .await
        .is_some()
    });
    hub.revalidate("users").await.unwrap();
    hub.revalidate("posts").await.unwrap();
    assert!(soon("the refresh", refreshed).await.unwrap());
}
