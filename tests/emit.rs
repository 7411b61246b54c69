//! Events from clients: who may send them, who handles them, in which order, and what becomes of the answer.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::post::{Post, said};
use common::{Visit, soon};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_revalidate::log::{Ack, EventLog, Follower, MemoryLog, Record};
use tower_revalidate::{
    AppendError, ClientEvent, Cursor, Epoch, Event, Grant, Hub, Policy, Refusal, Subscription, message,
};

fn follower(hub: &Hub, user: &str, channel: &'static str) -> Subscription {
    hub.subscribe(Grant::user(user).follow("**")).unwrap().follow(channel).unwrap()
}

fn heard(sub: &mut Subscription) -> Vec<Event> {
    std::iter::from_fn(|| sub.try_recv().unwrap()).collect()
}

/// What a client is told by a hub whose handler of `said` answers so.
async fn answered(answer: fn() -> Result<Value, Refusal>) -> (u16, Value) {
    let hub = Hub::new();
    hub.on("room:*", "said", move |_: ClientEvent| std::future::ready(answer()));
    Post::emit("room:1", "said", json!(1)).user("alice").said(&hub).await
}

#[tokio::test]
async fn a_handler_says_what_the_client_is_answered() {
    assert_eq!(answered(|| Ok(json!({"id": 7}))).await, (200, json!({"id": 7})));
    for falsy in [json!(0), json!(false), json!(""), json!([]), json!({})] {
        let hub = Hub::new();
        let answer = falsy.clone();
        hub.on("room:*", "said", move |_: ClientEvent| std::future::ready(Ok(answer.clone())));
        assert_eq!(Post::emit("room:1", "said", json!(1)).user("alice").said(&hub).await, (200, falsy));
    }
    assert_eq!(answered(|| Ok(Value::Null)).await, (204, Value::Null));
    let error = |code: &str, message: &str| json!({"code": code, "message": message});
    for (answer, expected) in [
        ((|| Err(Refusal::invalid("too long"))) as fn() -> _, (400, error("invalid", "too long"))),
        (|| Err(Refusal::conflict("version 8 is newer")), (409, error("conflict", "version 8 is newer"))),
        (
            || Err(Refusal::new(http::StatusCode::PAYMENT_REQUIRED, format!("{}id", "unpa"), "pay")),
            (402, error("unpaid", "pay")),
        ),
        (|| Err("x".parse::<u8>().unwrap_err().into()), (500, error("internal", "the handler failed"))),
        (
            || Err(Refusal::new(http::StatusCode::OK, "fine", "is no error")),
            (500, error("fine", "is no error")),
        ),
    ] {
        assert_eq!(answered(answer).await, expected);
    }
}

/// Row E16, letter by letter.
#[tokio::test]
async fn who_is_no_member_is_told_so() {
    let hub = Hub::new();
    hub.on("room:*", "said", async |event: ClientEvent| match event.identity() {
        Some("alice") => Ok(()),
        _ => Err(Refusal::forbidden("Not a member of this room")),
    });
    let said = Post::emit("room:1", "said", json!({}));
    assert_eq!(said.clone().user("alice").said(&hub).await, (204, Value::Null));
    let answer = said.user("eve").said(&hub).await;
    assert_eq!(answer, (403, json!({"code": "accessdenied", "message": "Not a member of this room"})));
}

/// Row E8: the sender and the time are the server's, whatever the payload claims.
#[tokio::test]
async fn the_server_says_who_spoke_and_when() {
    let hub = Hub::new();
    hub.on("room:*", "said", async |event: ClientEvent| {
        assert!(event.at() <= SystemTime::now() && event.at().elapsed().unwrap() < common::HANG);
        assert_eq!((event.channel().as_str(), event.event()), ("room:1", "said"));
        assert_eq!(event.info(), Some(&json!({"name": "Alice"})));
        assert!(event.grant().may_publish(event.channel()));
        let message = json!({"sender_id": event.identity(), "content": event.data["content"]});
        event.publish("message", &message);
        Ok(())
    });
    let mut bob = follower(&hub, "bob", "room:1");
    let spoofed = json!({"content": "hi", "sender_id": "bob", "identity": "bob", "by": "bob", "at": 0});
    let alice = Grant::user("alice").publish("room:*").info(json!({"name": "Alice"}));
    let mut post = Post::emit("room:1", "said", spoofed).by(alice);
    for (name, value) in [("x-user", "bob"), ("x-identity", "bob")] {
        post = post.header(name, value);
    }
    assert_eq!(post.said(&hub).await.0, 204);
    assert_eq!(
        heard(&mut bob),
        [message("room:1", "message", &json!({"sender_id": "alice", "content": "hi"}))]
    );
}

#[tokio::test]
async fn what_is_relayed_says_by_whom() {
    let hub = Hub::new();
    hub.relay("doc:*", "cursor");
    let [mut alice, mut bob] = ["alice", "bob"].map(|user| follower(&hub, user, "doc:1"));
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let spoofed = json!({"by": "bob", "at": 0, "x": 1.50});
    assert_eq!(Post::emit("doc:1", "cursor", spoofed.clone()).user("alice").said(&hub).await.0, 204);
    let [Event::Message(relayed)] = &heard(&mut bob)[..] else { panic!() };
    let relayed: Value = relayed.json().unwrap();
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    assert!((before..=after).contains(&u128::from(relayed["at"].as_u64().unwrap())), "{relayed}");
    assert_eq!(relayed, json!({"by": "alice", "at": relayed["at"], "data": spoofed}));
    assert_eq!(heard(&mut alice), [], "it does not come back");

    let nobody = Grant::anonymous().publish("doc:*");
    assert_eq!(Post::emit("doc:1", "cursor", json!(0)).by(nobody).said(&hub).await.0, 204);
    let [Event::Message(relayed)] = &heard(&mut bob)[..] else { panic!() };
    assert_eq!(relayed.json::<Value>().unwrap()["by"], Value::Null);
}

/// Row E10: `document:*`, `cursor_move` → `cursor_update` to the other viewers.
#[tokio::test]
async fn a_handler_speaks_to_all_to_the_others_to_the_sender_or_to_some() {
    let hub = Hub::new();
    hub.on("doc:*", "cursor_move", async |event: ClientEvent<u32>| {
        event.publish("all", &event.data);
        event.to_others("cursor_update", &json!({"user_id": event.identity(), "position": event.data}));
        event.to_sender("moved", &event.data);
        event.to_users(["carol", "dave"], "watch", &event.data);
        Ok(())
    });
    let mut subs = ["alice", "alice", "bob", "carol"].map(|user| follower(&hub, user, "doc:7"));
    let mut elsewhere = follower(&hub, "bob", "doc:8");
    assert_eq!(Post::emit("doc:7", "cursor_move", json!(12)).user("alice").said(&hub).await.0, 204);
    let all = message("doc:7", "all", &12);
    let update = message("doc:7", "cursor_update", &json!({"user_id": "alice", "position": 12}));
    let moved = message("doc:7", "moved", &12);
    let [one, two, bob, carol] = subs.each_mut().map(heard);
    assert_eq!(one, [all.clone(), moved.clone()]);
    assert_eq!(two, [all.clone(), moved], "the sender is a user, with all tabs");
    assert_eq!(bob, [all.clone(), update.clone()]);
    assert_eq!(carol, [all, update, message("doc:7", "watch", &12)]);
    assert_eq!(heard(&mut elsewhere), []);
}

/// Row E11: content trimmed, at most 1 000 characters; 1 001 are no event at all.
#[tokio::test]
async fn a_payload_that_is_refused_is_no_event() {
    #[derive(Deserialize)]
    struct Said {
        content: String,
    }
    let hub = Hub::new();
    let called = Arc::new(AtomicUsize::new(0));
    let calls = called.clone();
    hub.on("room:*", "said", move |event: ClientEvent<Said>| {
        let id = calls.fetch_add(1, Ordering::SeqCst);
        async move {
            let content = event.data.content.trim();
            if content.chars().count() > 1000 {
                return Err(Refusal::invalid("at most 1 000 characters"));
            }
            event.publish("new_message", &json!({"id": id, "content": content}));
            Ok(json!({"id": id}))
        }
    });
    let mut bob = follower(&hub, "bob", "room:1");
    let say = |data: Value| Post::emit("room:1", "said", data).user("alice");
    let fits = "é".repeat(1000);
    assert_eq!(say(json!({"content": format!("  {fits}\n")})).said(&hub).await, (200, json!({"id": 0})));
    assert_eq!(heard(&mut bob), [message("room:1", "new_message", &json!({"id": 0, "content": fits}))]);
    assert_eq!(say(json!({"content": "é".repeat(1001)})).refused(&hub).await, "400 invalid");
    assert_eq!(called.load(Ordering::SeqCst), 2);
    for shapeless in [json!(null), json!({}), json!("x"), json!({"content": 7}), json!([1, 2])] {
        assert_eq!(say(shapeless).refused(&hub).await, "400 invalid");
    }
    assert_eq!(called.load(Ordering::SeqCst), 2, "what is no payload of its own never reaches it");
    assert_eq!(heard(&mut bob), []);
}

/// Row D3 and defect 13.
#[tokio::test]
async fn falsy_payloads_arrive_as_they_are() {
    let hub = Hub::new();
    hub.on("room:*", "said", async |event: ClientEvent| {
        event.publish("said", &event.data);
        Ok(json!([event.data]))
    });
    let mut bob = follower(&hub, "bob", "room:1");
    for data in [json!(0), json!(false), json!(""), json!(null), json!([]), json!({})] {
        let answer = Post::emit("room:1", "said", data.clone()).user("alice").said(&hub).await;
        assert_eq!(answer, (200, json!([data])));
        assert_eq!(heard(&mut bob), [message("room:1", "said", &data)]);
    }
    let without = Post::to("emit", r#"{"channel":"room:1","event":"said"}"#).user("alice");
    assert_eq!(without.said(&hub).await, (200, json!([null])));
}

/// Row D3: deny by default, and nobody reaches into another tenant.
#[tokio::test]
async fn who_may_not_publish_there_reaches_no_handler() {
    let hub = Hub::builder()
        .channel("tenant:*:orders", Policy::history(8))
        .channel("room:*", Policy::history(8))
        .declared_channels_only(true)
        .build()
        .unwrap();
    let called = Arc::new(AtomicUsize::new(0));
    let calls = called.clone();
    hub.on("**", "said", move |_: ClientEvent| {
        calls.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(()))
    });
    let acme = || Grant::user("alice").follow("**").publish("tenant:acme:**").publish(("user", "*"));
    for (channel, grant, expected) in [
        ("tenant:acme:orders", Some(acme()), "204"),
        ("tenant:globex:orders", Some(acme()), "403 accessdenied"),
        ("tenant:acme", Some(acme()), "403 accessdenied"),
        ("tenant:acme:secret", Some(acme()), "403 accessdenied"), // not declared
        ("user:bob", Some(acme()), "403 accessdenied"),
        ("room:1", Some(Grant::user("alice")), "403 accessdenied"),
        ("room:1", Some(Grant::anonymous()), "401 unauthorized"),
        ("room:1", None, "401 unauthorized"),
        ("tenant:*:orders", Some(acme()), "400 malformed"),
        ("tenant:acme:**", Some(acme()), "400 malformed"),
        ("", Some(acme()), "400 malformed"),
    ] {
        let mut post = Post::emit(channel, "said", json!(1));
        post = match grant {
            Some(grant) => post.by(grant),
            None => post,
        };
        let before = called.load(Ordering::SeqCst);
        match expected {
            "204" => assert_eq!(post.said(&hub).await.0, 204),
            refused => assert_eq!(post.refused(&hub).await, refused, "{channel}"),
        }
        let calls = called.load(Ordering::SeqCst) - before;
        assert_eq!(calls, usize::from(expected == "204"), "{channel}");
    }
}

#[tokio::test]
async fn nobody_speaks_in_the_servers_name() {
    let hub = Hub::new();
    hub.on("room:*", "said", async |_: ClientEvent| Ok(()));
    hub.on("room:*", "join", async |_: ClientEvent| Ok(()));
    hub.on("doc:*", "moved", async |_: ClientEvent| Ok(()));
    let mut bob = follower(&hub, "bob", "room:1");
    for (event, expected) in [
        ("new_message", "404 unhandled"),
        ("moved", "404 unhandled"),
        ("hello", "404 unhandled"),
        ("revalidate", "404 unhandled"),
        ("", "404 unhandled"),
        ("said\n", "404 unhandled"),
        ("join", "400 reserved"),
        ("leave", "400 reserved"),
    ] {
        let refused = Post::emit("room:1", event, json!(1)).user("alice").refused(&hub).await;
        assert_eq!(refused, expected, "{event:?}");
    }
    let stranger = Post::emit("room:1", "new_message", json!(1)).by(Grant::user("eve"));
    assert_eq!(stranger.refused(&hub).await, "403 accessdenied", "who may not publish learns no names");
    assert_eq!(heard(&mut bob), []);
}

#[tokio::test]
async fn the_most_specific_pattern_answers_and_of_one_the_last() {
    let hub = Hub::new();
    for pattern in ["**", "room:*", "room:1", "room:**", "*:1"] {
        hub.on(pattern, "who", move |_: ClientEvent| std::future::ready(Ok(pattern)));
    }
    hub.on("room:*", "who", async |_: ClientEvent| Ok("the later one"));
    hub.on("**", "other", async |_: ClientEvent| Ok("other"));
    for (channel, event, expected) in [
        ("room:1", "who", "room:1"),
        ("room:2", "who", "the later one"),
        ("room:2:typing", "who", "room:**"),
        ("doc:1", "who", "*:1"),
        ("doc:2", "who", "**"),
        ("room:1", "other", "other"),
    ] {
        let all = Grant::user("alice").publish("**");
        let answer = Post::emit(channel, event, json!(1)).by(all).said(&hub).await;
        assert_eq!(answer, (200, json!(expected)), "{channel}");
    }
}

#[test]
fn a_handler_that_could_never_be_reached_is_a_mistake_at_the_start() {
    let panics = |set: fn(&Hub)| {
        let hub = Hub::new();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| set(&hub))).is_err()
    };
    assert!(!panics(|hub| hub.relay("room:*", "said")));
    assert!(panics(|hub| hub.relay("room:*:", "said")));
    assert!(panics(|hub| hub.relay(("room", "*"), "said")));
    assert!(panics(|hub| hub.relay("room:*", "")));
    assert!(panics(|hub| hub.relay("room:*", "a\nb")));
    assert!(panics(|hub| hub.relay("room:*", "presence_update")));
    assert!(panics(|hub| hub.relay("room:*", "join")), "no client emits it");
    assert!(!panics(|hub| hub.on("room:*", "join", async |_: ClientEvent| Ok(()))));
}

/// Row E13: operations are applied one after the other, so that versions strictly rise, whoever sends them and
/// however many threads there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operations_on_a_document_are_applied_one_after_the_other() {
    let hub = Hub::builder().channel("doc:*", Policy::history(1000)).build().unwrap();
    let version = Arc::new(AtomicU64::new(0));
    let document = version.clone();
    hub.on("doc:*", "operation", move |event: ClientEvent| {
        let document = document.clone();
        async move {
            let seen = document.load(Ordering::SeqCst);
            for _ in 0..event.data.as_u64().unwrap() % 4 {
                tokio::task::yield_now().await;
            }
            document.store(seen + 1, Ordering::SeqCst);
            let remote = json!({"operation": event.data, "user_id": event.identity(), "version": seen + 1});
            event.to_others("remote_operation", &remote);
            Ok(json!({"version": seen + 1}))
        }
    });
    let mut viewer = follower(&hub, "viewer", "doc:1");
    let editors = (0..200).map(|nth| {
        let hub = hub.clone();
        tokio::spawn(async move {
            let post = Post::emit("doc:1", "operation", json!(nth)).user(&format!("editor{}", nth % 5));
            post.said(&hub).await
        })
    });
    let editors: Vec<_> = editors.collect();
    let mut answered = Vec::new();
    for editor in editors {
        let (status, answer) = soon("an answer", editor).await.unwrap();
        assert_eq!(status, 200);
        answered.push(answer["version"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert!(answered.iter().copied().eq(1..=200), "each has a version of its own: {answered:?}");
    let versions = heard(&mut viewer).into_iter().map(|event| match event {
        Event::Message(message) => message.json::<Value>().unwrap()["version"].as_u64().unwrap(),
        other => panic!("{other:?}"),
    });
    assert!(versions.eq(1..=200), "and they rise, one by one");
}

/// A handler of `said` that in room 1 waits to be let go on; with what it was called for.
fn held(hub: &Hub) -> (Arc<Semaphore>, Arc<Mutex<Vec<String>>>) {
    let (go, began) = (Arc::new(Semaphore::new(0)), Arc::<Mutex<Vec<String>>>::default());
    let (goes, begins) = (go.clone(), began.clone());
    hub.on("room:*", "said", move |event: ClientEvent<String>| {
        begins.lock().push(event.data.clone());
        let goes = goes.clone();
        async move {
            if event.channel().as_str() == "room:1" {
                goes.acquire().await.unwrap().forget();
            }
            event.publish("said", &event.data);
            Ok(())
        }
    });
    (go, began)
}

type Request = std::pin::Pin<Box<dyn Future<Output = (u16, Value)> + Send>>;

/// A request that arrived, and waits.
fn waits(hub: &Hub, word: &str) -> Request {
    let (post, hub) = (Post::emit("room:1", "said", json!(word)).user("alice"), hub.clone());
    let mut request: Request = Box::pin(async move { post.said(&hub).await });
    assert!(request.as_mut().now_or_never().is_none());
    request
}

#[tokio::test]
async fn events_of_a_channel_come_in_order_and_other_channels_do_not_wait() {
    let hub = Hub::new();
    let (go, began) = held(&hub);
    let mut bob = follower(&hub, "bob", "room:1");
    let waiting = ["one", "two", "three"].map(|word| waits(&hub, word));
    let aside = Post::emit("room:2", "said", json!("aside")).user("alice");
    assert_eq!(soon("another channel", aside.said(&hub)).await.0, 204);
    assert_eq!(*began.lock(), ["one", "aside"], "the next is not even called before");
    go.add_permits(3);
    for request in waiting.into_iter().rev() {
        assert_eq!(soon("its answer", request).await.0, 204);
    }
    assert_eq!(*began.lock(), ["one", "aside", "two", "three"]);
    assert_eq!(heard(&mut bob), ["one", "two", "three"].map(|word| message("room:1", "said", &word)));
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_nothing() {
    let hub = Hub::new();
    let (go, _) = held(&hub);
    let mut bob = follower(&hub, "bob", "room:1");
    let (gone, also_gone, stays) = (waits(&hub, "one"), waits(&hub, "two"), waits(&hub, "three"));
    drop((gone, also_gone));
    go.add_permits(3);
    assert_eq!(soon("the one that stays", stays).await.0, 204);
    assert_eq!(heard(&mut bob), ["one", "two", "three"].map(|word| message("room:1", "said", &word)));
}

#[tokio::test]
async fn a_panic_is_the_answer_of_that_one_request() {
    #[derive(Debug)]
    struct Wild;
    impl<'de> Deserialize<'de> for Wild {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            assert_ne!(text, "panic while reading", "on purpose");
            Ok(Wild)
        }
    }
    let hub = Hub::new();
    hub.on("room:*", "before", |_: ClientEvent| -> std::future::Ready<Result<(), Refusal>> {
        panic!("on purpose")
    });
    hub.on("room:*", "within", async |_: ClientEvent| -> Result<(), Refusal> {
        tokio::task::yield_now().await;
        panic!("on purpose")
    });
    hub.on("room:*", "read", async |_: ClientEvent<Wild>| Ok(()));
    hub.on("room:*", "fine", async |_: ClientEvent| Ok(()));
    let emit = |event: &str| Post::emit("room:1", event, json!("panic while reading")).user("alice");
    for event in ["before", "within", "read"] {
        assert_eq!(soon("an answer", emit(event).refused(&hub)).await, "500 internal", "{event}");
        assert_eq!(soon("the channel goes on", emit("fine").said(&hub)).await.0, 204, "{event}");
    }
}

#[tokio::test]
async fn who_comes_when_too_many_are_in_work_is_asked_to_wait() {
    let hub = Hub::builder().max_emits(2).build().unwrap();
    let (go, _) = held(&hub);
    let waiting = ["one", "two"].map(|word| waits(&hub, word));
    let late = Post::emit("room:2", "said", json!("late")).user("alice");
    let answer = late.answer(&hub).await;
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3).contains(&wait), "{wait}");
    let (status, error) = said(answer).await;
    assert_eq!((status, &error["code"]), (503, &json!("busy")));
    go.add_permits(2);
    for request in waiting {
        assert_eq!(soon("its answer", request).await.0, 204);
    }
    assert_eq!(late.said(&hub).await.0, 204);
    assert!(Hub::builder().max_emits(0).build().is_err());
}

/// A log that answers when it is told to, with what it is told to.
#[derive(Clone)]
struct Slow(Arc<SlowState>);

struct SlowState {
    memory: MemoryLog,
    waiting: Mutex<Vec<(Record, Ack)>>,
}

impl Slow {
    fn new() -> Self {
        let memory = MemoryLog::new(Epoch::from_random(7));
        Slow(Arc::new(SlowState { memory, waiting: Mutex::default() }))
    }

    fn take(&self) -> Option<(Record, Ack)> {
        self.0.waiting.lock().pop()
    }
}

impl EventLog for Slow {
    fn tip(&self) -> Cursor {
        self.0.memory.tip()
    }
    fn follow(&self, after: Cursor, follower: Follower) {
        self.0.memory.follow(after, follower);
    }
    fn append(&self, record: Record, ack: Ack) {
        self.0.waiting.lock().push((record, ack));
    }
}

/// PROTOCOL R6: accepted means appended.
#[tokio::test(start_paused = true)]
async fn the_answer_waits_for_the_log() {
    let log = Slow::new();
    let hub = Hub::builder().event_log(log.clone()).build().unwrap();
    hub.on("room:*", "said", async |event: ClientEvent| {
        event.publish("said", &event.data);
        Ok(json!("done"))
    });
    let post = Post::emit("room:1", "said", json!("hi")).user("alice");
    let mut answer = Box::pin(post.said(&hub));
    assert!(tokio::time::timeout(Duration::from_secs(60), &mut answer).await.is_err(), "the log has it yet");
    let (record, ack) = log.take().unwrap();
    log.0.memory.append(record, ack);
    assert_eq!(soon("the answer", answer).await, (200, json!("done")));

    for error in [AppendError::Unavailable("down".into()), AppendError::Unknown] {
        let mut answer = Box::pin(post.answer(&hub));
        assert!(tokio::time::timeout(Duration::from_secs(60), &mut answer).await.is_err());
        log.take().unwrap().1.failed(error);
        let answer = soon("the answer", answer).await;
        assert!(answer.headers().contains_key("retry-after"));
        let (status, error) = said(answer).await;
        assert_eq!((status, &error["code"]), (503, &json!("unavailable")));
    }
}

#[tokio::test]
async fn what_a_handler_may_not_publish_is_the_answer() {
    let hub =
        Hub::builder().max_payload_bytes(100).filter(|_, event, _| event != "filtered").build().unwrap();
    hub.on("room:*", "large", async |event: ClientEvent| {
        event.publish("large", &"x".repeat(99));
        Ok(())
    });
    hub.on("room:*", "filtered", async |event: ClientEvent| {
        event.publish("filtered", &1);
        Ok(())
    });
    hub.on("room:*", "nameless", async |event: ClientEvent| {
        event.publish("", &1);
        Ok(())
    });
    for (event, expected) in
        [("large", "413 toolarge"), ("filtered", "403 accessdenied"), ("nameless", "500 internal")]
    {
        assert_eq!(Post::emit("room:1", event, json!(1)).user("alice").refused(&hub).await, expected);
    }
}

/// PROTOCOL R10: a grant that was taken back while the request was on its way says nothing any more.
#[tokio::test]
async fn who_signs_out_meanwhile_says_nothing() {
    let hub = Hub::new();
    hub.on("room:*", "said", async |event: ClientEvent| {
        event.publish("said", &event.data);
        Ok(())
    });
    let mut bob = follower(&hub, "bob", "room:1");
    let request = Post::emit("room:1", "said", json!("hi")).user("alice").request();
    let (head, body) = request.into_parts();
    let signs_out = hub.clone();
    let late = futures_util::stream::once(async move {
        signs_out.disconnect_user("alice").await.unwrap();
        Ok::<_, std::io::Error>(http_body::Frame::data(body.collect().await.unwrap().to_bytes()))
    });
    let request = http::Request::from_parts(head, http_body_util::StreamBody::new(late));
    let (status, error) = said(hub.service().oneshot(request).await.unwrap()).await;
    assert_eq!((status, &error["code"]), (503, &json!("grant")));
    assert_eq!(heard(&mut bob), []);
}

/// Who follows is told over the stream, as of any other message.
#[tokio::test(start_paused = true)]
async fn a_stream_hears_what_a_client_said() {
    let hub = Hub::new();
    hub.relay("room:*", "said");
    let mut bob = Visit::user("bob").following("room:1").open(&hub).await;
    assert_eq!(Post::emit("room:1", "said", json!("hi")).user("alice").said(&hub).await.0, 204);
    let heard = bob.next().await.payload();
    assert_eq!(heard, json!({"by": "alice", "at": heard["at"], "data": "hi"}));
}

/// Whoever is refused in the line takes nobody else's place in it: else anyone could have two handlers of one channel
/// run at once, by one event that is no good.
#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_lets_nobody_overtake() {
    let hub = Hub::new();
    let (order, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
    let (seen, waits) = (order.clone(), gate.clone());
    hub.on("room:*", "said", move |event: ClientEvent<u64>| {
        let (seen, waits) = (seen.clone(), waits.clone());
        async move {
            seen.lock().push(format!("{} begins", event.data));
            waits.acquire().await.unwrap().forget();
            seen.lock().push(format!("{} ends", event.data));
            Ok(())
        }
    });
    let say = |data: Value| {
        let (hub, post) = (hub.clone(), Post::emit("room:1", "said", data).user("alice"));
        tokio::spawn(async move { post.said(&hub).await.0 })
    };
    let first = say(json!(1));
    tokio::task::yield_now().await;
    assert_eq!(say(json!("no number")).await.unwrap(), 400);
    let rest = [json!(2), json!("nor this"), json!(3)].map(say);
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*order.lock(), ["1 begins"]);
    gate.add_permits(3);
    assert_eq!(first.await.unwrap(), 204);
    let mut statuses = Vec::new();
    for said in rest {
        statuses.push(said.await.unwrap());
    }
    assert_eq!(statuses, [204, 400, 204]);
    assert_eq!(*order.lock(), ["1 begins", "1 ends", "2 begins", "2 ends", "3 begins", "3 ends"]);
}
