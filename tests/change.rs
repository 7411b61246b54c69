//! Record changes: who follows a record or its resource hears what became of it, and nobody hears what must not
//! leave.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::routing::{delete, post};
use axum::{Extension, Json, Router};
use common::sse::{Frame, Stream};
use common::{Visit, soon};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_revalidate::log::{Ack, AppendError, EventLog, Follower, MemoryLog, Record};
use tower_revalidate::{
    Audit, Builder, Change, ChangeError, ChangeExt, Channel, Cursor, DataChangeEvent, Event, Grant, Hub,
    Message, NameError, Operation, Policy, PublishError, SseBody, Subscription,
};

/// A stream that follows these.
async fn follow(hub: &Hub, channels: &str) -> Stream<SseBody> {
    let grant = Grant::user("alice").follow("resource:*").follow("record:*:*");
    Visit::of(grant).following(channels).open(hub).await
}

/// A subscription that follows these.
fn subscribe(hub: &Hub, channels: &[&'static str]) -> Subscription {
    let grant = Grant::user("alice").follow("resource:*").follow("record:*:*");
    channels.iter().fold(hub.subscribe(grant).unwrap(), |sub, channel| sub.follow(*channel).unwrap())
}

/// The channels and the payloads of the changes that are there.
fn heard(sub: &mut Subscription) -> Vec<(String, Value)> {
    let event = || sub.try_recv().unwrap();
    let said = |event| match event {
        Event::Message(Message { channel, event, data, .. }) => {
            assert_eq!(event, "data_change");
            (channel.to_string(), serde_json::from_slice(&data).unwrap())
        }
        other => panic!("{other:?}"),
    };
    std::iter::from_fn(event).map(said).collect()
}

/// The channel and the payload of a change.
#[track_caller]
fn change(frame: &Frame) -> (String, Value) {
    let envelope = frame.json();
    assert_eq!((&*frame.name, &envelope["event"]), ("message", &json!("data_change")));
    (envelope["channel"].as_str().unwrap().to_owned(), frame.payload())
}

/// What the audit was told of changes, in short.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn by(&self, builder: Builder) -> Hub {
        let told = self.0.clone();
        let hook = move |audit: &Audit<'_>| {
            told.lock().push(match audit {
                Audit::Change { resource, id, error, .. } => format!("{resource} {id}: {error}"),
                other => format!("{other:?}"),
            });
        };
        builder.on_audit(hook).build().unwrap()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// One POST through the layer, to a handler that answers this.
async fn through(hub: &Hub, response: Response<()>) -> Response<()> {
    let response = Mutex::new(Some(response));
    let handler = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(response.lock().take().expect("it is asked once"))
    });
    hub.layer().layer(handler).oneshot(Request::post("/posts").body(()).unwrap()).await.unwrap()
}

fn status(status: u16) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// Rows F1, F2, F3.
#[tokio::test(start_paused = true)]
async fn who_follows_a_record_or_its_resource_hears_what_became_of_it() {
    let hub = Hub::new();
    let mut all = follow(&hub, "resource:posts").await;
    let mut one = follow(&hub, "record:posts:7").await;
    let mut other = follow(&hub, "record:posts:70,resource:post,record:users:7").await;

    let post = json!({"id": 7, "title": "Hello\r\n\u{2028}"});
    drop(hub.change("posts", Operation::Create, 7, &post));
    drop(hub.change("posts", Operation::Update, 8, &post));
    drop(hub.publish_change(Change::update("posts", 7, &json!({"title": ""})).version(2)));
    drop(hub.change("posts", Operation::Delete, 7, &post));
    hub.change("posts", Operation::Update, 70, &0).await.unwrap();

    let created = json!({"operation": "create", "id": 7, "data": post});
    let updated = json!({"operation": "update", "id": 7, "data": {"title": ""}, "version": 2});
    let deleted = json!({"operation": "delete", "id": 7});
    let another = json!({"operation": "update", "id": 8, "data": post});
    for expected in [&created, &another, &updated, &deleted] {
        assert_eq!(change(&all.next().await), ("resource:posts".into(), expected.clone()));
    }
    for expected in [&created, &updated, &deleted] {
        assert_eq!(change(&one.next().await), ("record:posts:7".into(), expected.clone()));
    }
    let last = json!({"operation": "update", "id": 70, "data": 0});
    assert_eq!(change(&other.next().await), ("record:posts:70".into(), last), "and nothing before it");
}

#[tokio::test(start_paused = true)]
async fn who_follows_both_and_comes_back_hears_what_was_missed() {
    let hub = Hub::new();
    let stream = follow(&hub, "resource:posts,record:posts:7").await;
    let left = stream.cursor();
    drop(stream);
    hub.change("posts", Operation::Update, 7, &1).await.unwrap();
    let grant = Grant::user("alice").follow("resource:*").follow("record:*:*");
    let visit = Visit::of(grant).following("resource:posts,record:posts:7").from(left);
    let mut stream = visit.open(&hub).await;
    assert!(stream.resumed());
    let updated = json!({"operation": "update", "id": 7, "data": 1});
    assert_eq!(change(&stream.next().await), ("resource:posts".into(), updated.clone()));
    assert_eq!(change(&stream.next().await), ("record:posts:7".into(), updated));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_the_grant_does_not_name_is_not_heard() {
    let hub = Hub::new();
    let grant = Grant::user("alice").follow(("record", "posts", 7));
    let mut stream =
        Visit::of(grant).following("record:posts:7,record:posts:8,resource:posts").open(&hub).await;
    assert_eq!(stream.hello.json()["channels"], json!(["record:posts:7"]));
    drop(hub.change("posts", Operation::Update, 8, &"secret"));
    hub.change("posts", Operation::Update, 7, &1).await.unwrap();
    assert_eq!(change(&stream.next().await).1["id"], 7);
}

#[tokio::test(start_paused = true)]
async fn falsy_data_are_data() {
    let hub = Hub::new();
    let mut stream = follow(&hub, "resource:flags").await;
    let mut sub = subscribe(&hub, &["resource:flags"]);
    let all = [json!(0), json!(false), json!(""), json!(null), json!([]), json!({})];
    for data in &all {
        hub.change("flags", Operation::Update, 1, data).await.unwrap();
    }
    hub.publish_change(Change::new("flags", Operation::Update, 1)).await.unwrap();
    for data in &all {
        let update = json!({"operation": "update", "id": 1, "data": data});
        assert_eq!(change(&stream.next().await).1, update);
        let Event::Message(message) = sub.recv().await.unwrap() else { panic!("a message") };
        let event: DataChangeEvent = message.json().unwrap();
        assert_eq!(event.data.as_ref(), Some(data), "also in process, null included");
        assert_eq!(serde_json::to_value(&event).unwrap(), update);
    }
    assert_eq!(change(&stream.next().await).1, json!({"operation": "update", "id": 1}), "none was given");
    let Event::Message(message) = sub.recv().await.unwrap() else { panic!("a message") };
    assert_eq!(message.json::<DataChangeEvent>().unwrap().data, None);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_any_string_or_integer() {
    #[derive(Serialize)]
    struct PostId(u32);
    let hub = Hub::new();
    let (exact, beyond, text) = ((1_u64 << 53) - 1, 1_u64 << 53, String::from("x"));
    for (change, id) in [
        (Change::delete("posts", 7_u8), json!(7)),
        (Change::delete("posts", -7), json!(-7)),
        (Change::delete("posts", PostId(7)), json!(7)),
        (Change::delete("posts", Some(7)), json!(7)),
        (Change::delete("posts", "7"), json!("7")),
        (Change::delete("posts", String::from("a b/ü.7")), json!("a b/ü.7")),
        (Change::delete("posts", &text), json!("x")),
        (Change::delete("posts", 'c'), json!("c")),
        (Change::delete("posts", exact), json!(exact)),
        // A browser would round these.
        (Change::delete("posts", beyond), json!("9007199254740992")),
        (Change::delete("posts", u64::MAX), json!("18446744073709551615")),
        (Change::delete("posts", i64::MIN), json!("-9223372036854775808")),
    ] {
        let text = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let channel = Channel::new(("record", "posts", &text)).unwrap();
        let grant = Grant::user("alice").follow("record:*:*");
        let mut sub = hub.subscribe(grant).unwrap().follow(&channel).unwrap();
        assert_eq!(change.id(), &id);
        hub.publish_change(change).await.unwrap();
        assert_eq!(heard(&mut sub), [(channel.to_string(), json!({"operation": "delete", "id": id}))]);
    }
}

/// Row E17, the ids: what is no name, and what is no id, is a typed error that is told, and nothing is published.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_name_or_an_id_is_refused_and_told() {
    struct Unserialisable;
    impl Serialize for Unserialisable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let told = Told::default();
    let hub = told.by(Hub::builder().resources(["posts"]));
    let before = hub.cursor();
    let id = |text: &str| ChangeError::Id(text.into());
    let forbidden = |part: &str, found| NameError::Forbidden { part: part.into(), found }.into();
    for (change, error) in [
        (Change::delete("posts", "*"), forbidden("*", '*')),
        (Change::delete("posts", "1:admin"), forbidden("1:admin", ':')),
        (Change::delete("posts", "1,2"), forbidden("1,2", ',')),
        (Change::delete("posts", "a\nb"), forbidden("a\nb", '\n')),
        (Change::delete("posts", ""), NameError::Empty(String::new()).into()),
        (Change::delete("posts", "x".repeat(250)), NameError::TooLong(263).into()),
        (Change::delete("", 7), NameError::Empty(String::new()).into()),
        (Change::delete("posts:7", 7), forbidden("posts:7", ':')),
        (Change::delete("*", 7), forbidden("*", '*')),
        (Change::delete("posts", ()), id("null")),
        (Change::delete("posts", true), id("true")),
        (Change::delete("posts", 7.0), id("7.0")),
        (Change::delete("posts", [7]), id("an array")),
        (Change::delete("posts", json!({"password": "hunter2"})), id("an object")),
        (Change::delete("posts", Unserialisable), id("not JSON: no")),
        (Change::update("posts", 7, &Unserialisable), ChangeError::Data("no".into())),
        (Change::update("posts", 7, &Unserialisable).data(&1), ChangeError::Data("no".into())),
    ] {
        let what = format!("{change:?}");
        let said = PublishError::Change(error).to_string();
        let receipt = hub.publish_change(change.clone()).await;
        assert_eq!(receipt.unwrap_err().to_string(), said, "{what}");
        assert!(matches!(&told.take()[..], [told] if told.ends_with(&said)), "{what}");
        through(&hub, status(201).change(change)).await;
        assert!(matches!(&told.take()[..], [told] if told.ends_with(&said)), "of a response, too: {what}");
    }
    assert_eq!(hub.cursor(), before);
    hub.change("posts", Operation::Delete, 7, &Unserialisable).await.unwrap();
    assert_eq!(told.take(), [""; 0], "what a delete is given is not looked at");
}

/// Row F11.
#[tokio::test(start_paused = true)]
async fn a_resource_that_is_not_listed_is_silent() {
    let told = Told::default();
    let hub = told.by(Hub::builder().resources(["posts"]).resources([String::from("users")]));
    let mut sub =
        subscribe(&hub, &["resource:posts", "resource:users", "resource:secrets", "record:secrets:1"]);
    let before = hub.cursor();
    assert_eq!(hub.change("secrets", Operation::Create, 1, &1).await, Ok(before), "and no error");
    through(&hub, status(200).change(Change::create("secrets", 1, &1))).await;
    assert_eq!(hub.cursor(), before);
    drop(hub.change("users", Operation::Delete, 1, &()));
    hub.change("posts", Operation::Delete, 1, &()).await.unwrap();
    let deleted = json!({"operation": "delete", "id": 1});
    assert_eq!(
        heard(&mut sub),
        [("resource:users".into(), deleted.clone()), ("resource:posts".into(), deleted)]
    );
    assert_eq!(told.take(), [""; 0]);

    let all = Hub::builder().resources([""; 0]).build().unwrap();
    all.change("anything", Operation::Delete, 1, &()).await.unwrap();
    assert_ne!(all.cursor().offset, 0, "no list is all");
    let error = Hub::builder().resources(["posts", "a:b"]).build().unwrap_err();
    assert_eq!(error.option, "resources");
}

fn without_secret(change: Change) -> Change {
    change.edit(|data| {
        data.as_object_mut().map(|record| record.remove("secret"));
    })
}

#[tokio::test(start_paused = true)]
async fn a_filter_says_what_leaves() {
    let builder = Hub::builder().resources(["users", "posts"]).filter_changes(|change| {
        assert_ne!(change.resource(), "secrets", "what is not listed is not asked for");
        #[derive(Deserialize)]
        struct Draft {
            #[serde(default)]
            draft: bool,
        }
        let is_draft = change.json::<Option<Draft>>().is_ok_and(|post| post.is_some_and(|post| post.draft));
        let renamed = change.id() == "renamed";
        match change.operation() {
            _ if is_draft => None,
            _ if renamed => Some(Change::delete("secrets", 1)),
            _ => Some(without_secret(change)),
        }
    });
    let told = Told::default();
    let hub = told.by(builder);
    let mut sub = subscribe(&hub, &["resource:users", "resource:posts", "resource:secrets"]);
    let before = hub.cursor();
    let draft = json!({"draft": true});
    assert_eq!(hub.change("posts", Operation::Create, 1, &draft).await, Ok(before), "silent, and no error");
    through(&hub, status(200).change(Change::create("posts", 1, &draft))).await;
    hub.change("secrets", Operation::Create, 1, &1).await.unwrap();
    hub.change("posts", Operation::Create, "renamed", &1).await.unwrap();
    assert_eq!(hub.cursor(), before);
    let alice = json!({"name": "Alice", "secret": "hunter2"});
    through(&hub, status(200).change(Change::update("users", 1, &alice).version(3))).await;
    drop(hub.change("users", Operation::Update, 2, &alice));
    hub.change("users", Operation::Delete, 2, &alice).await.unwrap();
    let heard: Vec<_> = heard(&mut sub).into_iter().map(|(_, data)| data).collect();
    assert_eq!(
        heard,
        [
            json!({"operation": "update", "id": 1, "data": {"name": "Alice"}, "version": 3}),
            json!({"operation": "update", "id": 2, "data": {"name": "Alice"}}),
            json!({"operation": "delete", "id": 2}),
        ]
    );
    assert_eq!(told.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_a_filter_fails_on_does_not_leave() {
    let told = Told::default();
    let hub = told.by(Hub::builder().filter_changes(|change| {
        assert_ne!(change.id(), 1, "a filter that panics, on purpose");
        Some(without_secret(change))
    }));
    let before = hub.cursor();
    let panicked = Err(PublishError::Change(ChangeError::FilterPanicked));
    assert_eq!(hub.change("posts", Operation::Update, 1, &"secret").await, panicked);
    through(&hub, status(200).change(Change::update("posts", 1, &"secret"))).await;
    assert_eq!(told.take(), ["posts 1: the filter of changes panicked"; 2]);
    // Deeper than a `Value` can be read: nothing could be taken out of it.
    #[derive(Serialize)]
    struct Deep(Vec<Deep>);
    let deep = (0..200).fold(Deep(Vec::new()), |deep, _| Deep(vec![deep]));
    let refused = hub.change("posts", Operation::Update, 2, &deep).await;
    assert!(matches!(refused, Err(PublishError::Change(ChangeError::Data(_)))), "{refused:?}");
    assert_eq!(hub.cursor(), before, "nothing left");
    hub.change("posts", Operation::Update, 3, &1).await.unwrap();
}

/// Row F1, with responses.
#[tokio::test(start_paused = true)]
async fn the_layer_publishes_what_responses_carry() {
    for (code, published) in
        [(200, true), (204, true), (303, true), (400, false), (404, false), (409, false), (500, false)]
    {
        let hub = Hub::new();
        let mut sub = subscribe(&hub, &["resource:posts"]);
        let changes = status(code).change(Change::update("posts", 1, &1)).change(Change::delete("posts", 2));
        let mut response = changes.change(Change::delete("posts", 2));
        response.extensions_mut().insert(Change::delete("posts", 3));
        let response = through(&hub, response).await;
        assert!(response.extensions().is_empty(), "the layer takes them out");
        let heard: Vec<_> = heard(&mut sub).into_iter().map(|(_, data)| data).collect();
        let all = [
            json!({"operation": "update", "id": 1, "data": 1}),
            json!({"operation": "delete", "id": 2}),
            json!({"operation": "delete", "id": 2}),
            json!({"operation": "delete", "id": 3}),
        ];
        assert_eq!(heard, if published { &all[..] } else { &[] }, "{code}");
    }
    let hub = Hub::new();
    let mut sub = subscribe(&hub, &["resource:posts"]);
    let (parts, ()) = status(200).into_parts();
    let parts = parts.change(Change::delete("posts", 1)).change(Change::delete("posts", 2));
    through(&hub, Response::from_parts(parts, ())).await;
    assert_eq!(heard(&mut sub).len(), 2, "parts carry them, too");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_does_not_keep_the_others() {
    let told = Told::default();
    let hub = told.by(Hub::builder());
    let mut sub = subscribe(&hub, &["resource:posts"]);
    let large = "x".repeat(65 << 10);
    let response = status(200).change(Change::delete("posts", "*")).change(Change::delete("posts", 1));
    through(&hub, response.change(Change::update("posts", 2, &large)).change(Change::delete("posts", 3)))
        .await;
    let ids: Vec<_> = heard(&mut sub).into_iter().map(|(_, data)| data["id"].clone()).collect();
    assert_eq!(ids, [1, 3]);
    let told = told.take();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("posts \"*\": no channel has this name"), "{told:?}");
    assert!(told[1].starts_with("posts 2: a payload of 6"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_something_said() {
    let told = Told::default();
    let hub = told.by(Hub::builder().audit_mutations(true));
    through(&hub, status(200).change(Change::delete("posts", 1))).await;
    assert_eq!(told.take(), [""; 0]);
    through(&hub, status(200)).await;
    assert_eq!(told.take().len(), 1, "and its lack is told");
}

#[tokio::test(start_paused = true)]
async fn in_axum_a_change_is_a_part_of_the_response() {
    let hub = Hub::new();
    let app = Router::new()
        .route(
            "/posts",
            post(async || {
                let post = json!({"title": "Hello"});
                let moved = Change::delete("drafts", 7);
                (StatusCode::CREATED, Change::create("posts", 7, &post).version(1), moved, Json(post))
            }),
        )
        .route("/posts/7", delete(async || Change::delete("posts", 7)))
        .route("/posts/8", delete(async || Extension(Change::delete("posts", 8))))
        .layer(hub.layer());
    let mut stream = follow(&hub, "resource:posts,resource:drafts").await;
    let ask = async |method, path| {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        soon("an answer", app.clone().oneshot(request)).await.unwrap().status()
    };
    assert_eq!(ask("POST", "/posts").await, StatusCode::CREATED);
    assert_eq!(ask("DELETE", "/posts/7").await, StatusCode::OK);
    assert_eq!(ask("DELETE", "/posts/8").await, StatusCode::OK);
    for (channel, data) in [
        ("posts", json!({"operation": "create", "id": 7, "data": {"title": "Hello"}, "version": 1})),
        ("drafts", json!({"operation": "delete", "id": 7})),
        ("posts", json!({"operation": "delete", "id": 7})),
        ("posts", json!({"operation": "delete", "id": 8})),
    ] {
        assert_eq!(change(&stream.next().await), (format!("resource:{channel}"), data));
    }
}

/// Row G7: a worker, with a runtime or without, needs the hub and nothing of a request.
#[tokio::test]
async fn a_worker_tells_of_its_changes() {
    let hub = Hub::new();
    let mut sub = subscribe(&hub, &["record:exports:1", "record:exports:2"]);
    let worker = hub.clone();
    let thread = std::thread::spawn(move || {
        worker.change("exports", Operation::Update, 1, &json!({"state": "done"})).wait().unwrap();
    });
    soon("the thread", tokio::task::spawn_blocking(|| thread.join())).await.unwrap().unwrap();
    let worker = hub.clone();
    let task = tokio::spawn(async move { worker.change("exports", Operation::Delete, 2, &()).await });
    soon("the task", task).await.unwrap().unwrap();
    for (channel, operation) in [("record:exports:1", "update"), ("record:exports:2", "delete")] {
        let Event::Message(message) = soon("a change", sub.recv()).await.unwrap() else {
            panic!("a message")
        };
        assert_eq!(message.channel.as_str(), channel);
        assert_eq!(message.json::<Value>().unwrap()["operation"], operation);
    }
}

/// A log that takes so many messages, and no more.
#[derive(Clone)]
struct Full(Arc<(MemoryLog, Mutex<u32>)>);

impl EventLog for Full {
    fn tip(&self) -> Cursor {
        self.0.0.tip()
    }
    fn follow(&self, after: Cursor, follower: Follower) {
        self.0.0.follow(after, follower);
    }
    fn append(&self, record: Record, ack: Ack) {
        let left = self.0.1.lock().checked_sub(1);
        match left {
            Some(left) => {
                *self.0.1.lock() = left;
                self.0.0.append(record, ack);
            }
            None => ack.failed(AppendError::Refused("full".into())),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_receipt_is_of_both_channels() {
    let hub = Hub::new();
    let start = hub.cursor();
    let at = hub.change("posts", Operation::Update, 7, &1).await.unwrap();
    assert_eq!((at, at.offset), (hub.cursor(), start.offset + 2), "the place of the second");
    let nobody = Hub::builder().enabled(false).build().unwrap();
    assert_eq!(nobody.change("posts", Operation::Update, 7, &1).await, Ok(nobody.cursor()));

    let large = hub.change("posts", Operation::Update, 7, &"x".repeat(64 << 10)).await;
    assert!(matches!(large, Err(PublishError::TooLarge { limit: 65_536, .. })), "{large:?}");

    let (resource, record) = (Channel::from_static("resource:posts"), Channel::from_static("record:posts:7"));
    let told = Told::default();
    for (pattern, refused) in [("resource:*", &record), ("record:*:*", &resource)] {
        let hub = told.by(Hub::builder().declared_channels_only(true).channel(pattern, Policy::default()));
        let mut sub =
            subscribe(&hub, &[if pattern == "resource:*" { "resource:posts" } else { "record:posts:7" }]);
        let receipt = hub.change("posts", Operation::Update, 7, &1).await;
        assert_eq!(receipt, Err(PublishError::Undeclared(refused.clone())));
        assert_eq!(heard(&mut sub).len(), 1, "the other one is heard");
        assert_eq!(told.take().len(), 1);
    }

    for takes in [0, 1] {
        let log = Full(Arc::new((MemoryLog::new(start.epoch), Mutex::new(takes))));
        let hub = Hub::builder().event_log(log).build().unwrap();
        let receipt = hub.change("posts", Operation::Update, 7, &1).await;
        assert_eq!(receipt, Err(PublishError::Log(AppendError::Refused("full".into()))), "{takes}");
    }
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z]{1,8}",
        1 => "[a-z:*,\u{0}-\u{a0}é]{0,4}",
        1 => any::<String>(),
        1 => "x{240,250}",
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let name = prop_oneof![Just("secret".to_owned()), any::<String>()];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(name, inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Whatever is said: it is refused for a reason that the documentation gives, or heard by both as it was, less what
/// the filter takes out.
#[test]
fn any_change_is_refused_or_heard_as_the_filter_lets_it() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let config = ProptestConfig {
        cases: 5_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(common::random().u64(..)),
        ..ProptestConfig::default()
    };
    let id = prop_oneof![
        2 => part().prop_map(Value::from),
        1 => any::<u16>().prop_map(Value::from),
        1 => any_json(),
    ];
    let operation = prop_oneof![Just(Operation::Create), Just(Operation::Update), Just(Operation::Delete)];
    let cases =
        (part(), operation, id, proptest::option::of(any_json()), any::<Option<u64>>(), any::<bool>());
    let outcome =
        TestRunner::new(config).run(&cases, |(resource, operation, id, data, version, by_response)| {
            runtime.block_on(async {
                let filter = |change| Some(without_secret(change));
                let hub = Hub::builder().filter_changes(filter).build().unwrap();
                let text = match &id {
                    Value::String(id) => id.clone(),
                    id => id.to_string(),
                };
                let is_part = |part: &str| {
                    let odd = |c: char| ":*,".contains(c) || c < ' ' || ('\u{7f}'..='\u{9f}').contains(&c);
                    !part.is_empty() && !part.chars().any(odd)
                };
                let is_id = id.is_string() || id.is_i64() || id.is_u64();
                let fits = "record::".len() + resource.len() + text.len() <= 256;
                let sound = is_id && is_part(&resource) && is_part(&text) && fits;

                let mut sub =
                    hub.subscribe(Grant::user("alice").follow("resource:*").follow("record:*:*")).unwrap();
                let channels = [format!("resource:{resource}"), format!("record:{resource}:{text}")];
                if sound {
                    sub = channels
                        .iter()
                        .fold(sub, |sub, channel| sub.follow(Channel::parse(channel)).unwrap());
                }

                let mut change = Change::new(resource.clone(), operation, &id);
                if let Some(data) = &data {
                    change = change.data(data);
                }
                if let Some(version) = version {
                    change = change.version(version);
                }
                if by_response {
                    through(&hub, status(200).change(change)).await;
                } else {
                    let receipt = hub.publish_change(change).into_future().now_or_never();
                    let receipt = receipt.expect("the log answers at once");
                    prop_assert_eq!(receipt.is_ok(), sound, "{:?}", receipt);
                }

                let mut expected = json!({"operation": operation, "id": id});
                let is_exact = |id: &Value| id.as_i64().is_some_and(|id| id.unsigned_abs() < 1 << 53);
                if id.is_number() && !is_exact(&id) {
                    expected["id"] = text.into();
                }
                if let Some(mut data) = data.filter(|_| operation != Operation::Delete) {
                    data.as_object_mut().map(|record| record.remove("secret"));
                    expected["data"] = data;
                }
                if let Some(version) = version {
                    expected["version"] = version.into();
                }
                let due =
                    if sound { channels.map(|channel| (channel, expected.clone())).into() } else { vec![] };
                prop_assert_eq!(heard(&mut sub), due);
                Ok(())
            })
        });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
