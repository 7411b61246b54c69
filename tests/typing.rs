//! Who is typing: told to the others, again and again while it goes on, and over in time. On the paused clock.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::post::Post;
use common::{Stream, Visit};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower_revalidate::{Grant, Hub, SseBody};

const CHANNEL: &str = "room:1:typing";

fn hub() -> Hub {
    Hub::builder().typing("room:*:typing").build().unwrap()
}

fn grant(user: &str) -> Grant {
    Grant::user(user)
        .info(json!({"name": user.to_uppercase()}))
        .follow("room:*:typing")
        .publish("room:*:typing")
}

async fn watch(hub: &Hub, user: &str) -> Stream<SseBody> {
    Visit::of(grant(user)).following(CHANNEL).open(hub).await
}

async fn say(hub: &Hub, user: &str, is_typing: bool) -> (u16, Value) {
    Post::emit(CHANNEL, "typing", json!({"isTyping": is_typing})).by(grant(user)).said(hub).await
}

/// What a stream was told of typing since it was asked last: who, and whether.
async fn told(stream: &mut Stream<SseBody>) -> Vec<(String, bool)> {
    let messages = stream.ready().await.into_iter().filter(|frame| frame.name == "message");
    let told = messages.map(|frame| {
        assert_eq!(frame.id, None, "it has no place in the order");
        let (envelope, data) = (frame.json(), frame.payload());
        assert_eq!((&envelope["channel"], &envelope["event"]), (&json!(CHANNEL), &json!("typing")));
        let user = data["userId"].as_str().unwrap().to_owned();
        assert_eq!(data["userName"], user.to_uppercase());
        (user, data["isTyping"].as_bool().unwrap())
    });
    told.collect()
}

/// Row C10.
#[tokio::test(start_paused = true)]
async fn the_others_are_told_that_a_user_types_and_when_it_is_over() {
    let hub = hub();
    let (mut alice, mut bob) = (watch(&hub, "alice").await, watch(&hub, "bob").await);
    assert_eq!(say(&hub, "alice", true).await, (204, Value::Null));
    assert_eq!(told(&mut bob).await, [("alice".into(), true)]);
    say(&hub, "alice", false).await;
    assert_eq!(told(&mut bob).await, [("alice".into(), false)]);
    say(&hub, "alice", false).await;
    assert_eq!(told(&mut bob).await, [], "it was over");
    assert_eq!(told(&mut alice).await, [], "it never comes back to who types");
}

#[tokio::test(start_paused = true)]
async fn said_again_it_goes_on_and_not_said_again_it_is_over() {
    let hub = hub();
    let mut bob = watch(&hub, "bob").await;
    let mut all = Vec::new();
    for _ in 0..20 {
        say(&hub, "alice", true).await;
        all.extend(told(&mut bob).await);
        sleep(Duration::from_millis(500)).await;
    }
    assert!(all.iter().all(|(_, is_typing)| *is_typing));
    assert_eq!(all.len(), 5, "in ten seconds, once in two: {all:?}");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(told(&mut bob).await, []);
    sleep(Duration::from_secs(4)).await;
    assert_eq!(told(&mut bob).await, [("alice".into(), false)]);
}

#[tokio::test(start_paused = true)]
async fn it_is_over_with_the_users_last_session() {
    let hub = hub();
    let (one, two) = (watch(&hub, "alice").await, watch(&hub, "alice").await);
    let mut bob = watch(&hub, "bob").await;
    say(&hub, "alice", true).await;
    drop(one);
    assert_eq!(told(&mut bob).await, [("alice".into(), true)]);
    drop(two);
    assert_eq!(told(&mut bob).await, [("alice".into(), false)]);
    let _alice = watch(&hub, "alice").await;
    say(&hub, "alice", true).await;
    told(&mut bob).await;
    hub.disconnect_user("alice").await.unwrap();
    assert_eq!(told(&mut bob).await, [("alice".into(), false)], "while nobody reads");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_it_is_told_again_to_who_comes_back() {
    let hub = hub();
    let before = hub.cursor();
    say(&hub, "alice", true).await;
    let mut bob = Visit::of(grant("bob")).following(CHANNEL).from(before).open(&hub).await;
    assert!(bob.resumed());
    assert_eq!(told(&mut bob).await, []);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_say_it_does_not() {
    let hub = hub();
    let mut bob = watch(&hub, "bob").await;
    let typing = |data: Value| Post::emit(CHANNEL, "typing", data);
    let yes = json!({"isTyping": true, "userId": "alice", "userName": "Alice"});
    let code = |said: (u16, Value)| (said.0, said.1["code"].as_str().unwrap_or_default().to_owned());
    assert_eq!(code(typing(yes.clone()).said(&hub).await), (401, "unauthorized".into()));
    let reader = Grant::user("eve").follow(CHANNEL);
    assert_eq!(code(typing(yes.clone()).by(reader).said(&hub).await), (403, "accessdenied".into()));
    let nobody = Grant::anonymous().publish(CHANNEL);
    assert_eq!(code(typing(yes.clone()).by(nobody).said(&hub).await), (401, "unauthorized".into()));
    for data in [json!(null), json!(true), json!({}), json!({"isTyping": "yes"})] {
        assert_eq!(code(typing(data).by(grant("eve")).said(&hub).await), (400, "invalid".into()));
    }
    let elsewhere = Post::emit("room:1", "typing", yes.clone()).by(Grant::user("eve").publish("**"));
    assert_eq!(code(elsewhere.said(&hub).await), (404, "unhandled".into()));
    assert_eq!(told(&mut bob).await, []);
    typing(yes).by(grant("eve")).said(&hub).await;
    assert_eq!(told(&mut bob).await, [("eve".into(), true)], "who it is, the server says");
}

/// The user's last session closes while it is being told that the user types.
#[tokio::test(start_paused = true)]
async fn that_it_is_over_is_told_last() {
    let alice: Arc<Mutex<Option<Stream<SseBody>>>> = Arc::default();
    let leaves = alice.clone();
    let hub = Hub::builder()
        .typing("room:*:typing")
        .filter(move |_, _, data| {
            if data.contains("true") {
                let gone = leaves.lock().unwrap().take();
                drop(gone);
            }
            true
        })
        .build()
        .unwrap();
    let mut bob = watch(&hub, "bob").await;
    *alice.lock().unwrap() = Some(watch(&hub, "alice").await);
    say(&hub, "alice", true).await;
    let told = told(&mut bob).await;
    assert_eq!(told.last(), Some(&("alice".into(), false)), "{told:?}");
}

/// Also where no stream is open, so that nobody would notice.
#[tokio::test(start_paused = true)]
async fn it_is_over_in_time_also_without_any_stream() {
    let hub = hub();
    say(&hub, "alice", true).await;
    sleep(Duration::from_secs(20)).await;
    let mut bob = watch(&hub, "bob").await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(told(&mut bob).await, [], "it was over long before");
}

/// One who says it in many places holds a bounded amount.
#[tokio::test(start_paused = true)]
async fn a_user_types_in_so_many_places_at_once() {
    let hub = hub();
    let say = async |room: u32, is_typing: bool| {
        let data = json!({"isTyping": is_typing});
        Post::emit(&format!("room:{room}:typing"), "typing", data).by(grant("alice")).answer(&hub).await
    };
    for room in 0..32 {
        assert_eq!(say(room, true).await.status(), 204);
    }
    let refused = say(32, true).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(say(31, true).await.status(), 204, "it goes on");
    assert_eq!(say(0, false).await.status(), 204);
    assert_eq!(say(32, true).await.status(), 204);
}
