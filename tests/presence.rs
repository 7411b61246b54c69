//! Presence: users counted by their sessions, told once, gone after a grace. On the paused clock.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Stream, Visit};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower_revalidate::{Grant, Hub, SseBody};

/// Longer than the grace, and shorter than a stream may go unread.
const AWHILE: Duration = Duration::from_secs(20);

fn grant(user: &str) -> Grant {
    Grant::user(user).info(json!({"name": user.to_uppercase()})).follow("room:*")
}

async fn join(hub: &Hub, user: &str) -> Stream<SseBody> {
    Visit::of(grant(user)).query("presence=room:1").open(hub).await
}

/// What a stream was told of presence since it was asked last.
async fn told(stream: &mut Stream<SseBody>) -> Vec<(String, Value)> {
    let frames = stream.ready().await;
    let told = frames.iter().filter(|frame| frame.name == "message").map(|frame| {
        assert_eq!(frame.id, None, "presence has no place in the order: {frame:?}");
        let envelope = frame.json();
        assert_eq!(envelope["channel"], "room:1");
        (envelope["event"].as_str().unwrap().to_owned(), envelope["data"].clone())
    });
    told.collect()
}

fn user(id: &str) -> Value {
    json!({"userId": id, "info": {"name": id.to_uppercase()}})
}

#[tokio::test(start_paused = true)]
async fn the_joiner_is_told_of_all_and_of_itself_and_the_others_of_it() {
    let hub = Hub::new();
    let mut alice = join(&hub, "alice").await;
    assert_eq!(alice.hello.json()["presence"], json!(["room:1"]));
    assert_eq!(told(&mut alice).await, [("presence".into(), json!({"users": [user("alice")], "count": 1}))]);
    let mut bob = join(&hub, "bob").await;
    assert_eq!(
        told(&mut bob).await,
        [("presence".into(), json!({"users": [user("alice"), user("bob")], "count": 2}))]
    );
    assert_eq!(
        told(&mut alice).await,
        [("presence_update".into(), json!({"joined": [user("bob")], "count": 2}))]
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_tab_changes_nothing_and_neither_does_the_end_of_one_of_two() {
    let hub = Hub::new();
    let mut alice = join(&hub, "alice").await;
    let (bob, second) = (join(&hub, "bob").await, join(&hub, "bob").await);
    assert_eq!(told(&mut alice).await.len(), 2, "a list and a join, or a list with both");
    drop(bob);
    sleep(AWHILE).await;
    assert_eq!(told(&mut alice).await, []);
    drop(second);
    sleep(AWHILE).await;
    assert_eq!(told(&mut alice).await, [("presence_update".into(), json!({"left": ["bob"], "count": 1}))]);
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_no_flap() {
    let hub = Hub::new();
    let mut alice = join(&hub, "alice").await;
    let bob = join(&hub, "bob").await;
    told(&mut alice).await;
    drop(bob);
    sleep(Duration::from_secs(4)).await;
    assert!(hub.presence("room:1").unwrap().has("bob"));
    let _bob = join(&hub, "bob").await;
    sleep(AWHILE).await;
    assert_eq!(told(&mut alice).await, []);
    assert!(hub.presence("room:1").unwrap().has("bob"));
}

#[tokio::test(start_paused = true)]
async fn who_signs_out_is_gone_at_once_and_whose_grant_changed_is_not() {
    let hub = Hub::new();
    let mut alice = join(&hub, "alice").await;
    let bob = join(&hub, "bob").await;
    told(&mut alice).await;
    hub.regrant("bob").await.unwrap();
    assert_eq!(told(&mut alice).await, [], "it is about to come back");
    drop(bob);
    hub.disconnect_user("bob").await.unwrap();
    assert_eq!(told(&mut alice).await, [("presence_update".into(), json!({"left": ["bob"], "count": 1}))]);
    assert!(!hub.presence("room:1").unwrap().has("bob"));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_follow_a_channel_is_neither_seen_nor_told() {
    let hub = Hub::new();
    let mut alice = join(&hub, "alice").await;
    told(&mut alice).await;
    let carol = Visit::of(Grant::user("carol").follow("room:2")).query("presence=room:1,room:2,*");
    let mut carol = carol.open(&hub).await;
    let hello = carol.hello.json();
    assert_eq!(hello["presence"], json!(["room:2"]));
    assert_eq!(
        hello["denied"],
        json!([{"channel": "room:1", "code": "accessdenied"}, {"channel": "*", "code": "malformed"}])
    );
    assert!(
        carol
            .ready()
            .await
            .iter()
            .all(|frame| frame.name != "message" || frame.json()["channel"] == "room:2")
    );
    assert_eq!(told(&mut alice).await, []);
    // Without an identity it may look, and is nobody.
    let mut stranger =
        Visit::of(Grant::anonymous().follow("room:1")).query("presence=room:1").open(&hub).await;
    assert_eq!(
        told(&mut stranger).await,
        [("presence".into(), json!({"users": [user("alice")], "count": 1}))]
    );
    assert_eq!(told(&mut alice).await, []);
}

/// Row F12.
#[tokio::test(start_paused = true)]
async fn updates_can_be_left_out() {
    let hub = Hub::builder().presence_updates(false).build().unwrap();
    let mut alice = join(&hub, "alice").await;
    told(&mut alice).await;
    let _bob = join(&hub, "bob").await;
    sleep(AWHILE).await;
    assert_eq!(told(&mut alice).await, []);
    assert_eq!(hub.presence("room:1").unwrap().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_told_as_a_page_and_a_number() {
    let hub = Hub::builder().presence_page(2).build().unwrap();
    let mut alice = join(&hub, "alice").await;
    let bob = join(&hub, "bob").await;
    told(&mut alice).await;
    let carol = join(&hub, "carol").await;
    let mut dave = join(&hub, "dave").await;
    sleep(AWHILE).await;
    assert_eq!(
        told(&mut alice).await,
        [("presence".into(), json!({"users": [user("alice"), user("bob")], "more": true, "count": 4}))]
    );
    told(&mut dave).await;
    drop(bob);
    sleep(AWHILE).await;
    assert_eq!(told(&mut alice).await, [("presence_update".into(), json!({"count": 3}))]);
    let page = hub.presence("room:1").unwrap().page(Some("alice"), 1);
    assert_eq!(page.users.iter().map(|user| &*user.id).collect::<Vec<_>>(), ["carol"]);
    assert_eq!((page.count, page.next.as_deref()), (3, Some("carol")));
    told(&mut dave).await;
    drop(carol);
    sleep(AWHILE).await;
    assert_eq!(
        told(&mut alice).await,
        [("presence".into(), json!({"users": [user("alice"), user("dave")], "count": 2}))]
    );
}

/// Row D13.
#[tokio::test(start_paused = true)]
async fn ten_thousand_who_came_and_went_leave_nothing_behind() {
    let hub = Hub::new();
    let baseline = hub.stats();
    for round in 0..10_000 {
        let user = format!("user-{}", round % 50);
        let stream = Visit::of(grant(&user)).query("presence=room:1,room:2").answer(&hub).await;
        drop(stream);
        if round % 1000 == 0 {
            sleep(Duration::from_secs(7)).await;
        }
    }
    sleep(AWHILE).await;
    assert_eq!(hub.presence("room:1").unwrap().count(), 0);
    assert_eq!(hub.stats(), baseline);
}
