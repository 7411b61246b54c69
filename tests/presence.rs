//! Presence: users counted by their sessions, told once, gone after a grace. On the paused clock.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::post::Post;
use common::{Frame, Stream, Visit};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::ServiceExt;
use tower_revalidate::{ClientEvent, Grant, Hub, Policy, Refusal, SseBody};

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

async fn says(hub: &Hub, user: &str, meta: Value) -> (u16, Value) {
    let grant = Grant::user(user).info(json!({"name": user.to_uppercase()}));
    Post::emit("room:1", "presence_update", meta).by(grant).said(hub).await
}

#[tokio::test(start_paused = true)]
async fn a_user_says_something_of_itself_where_it_is_present() {
    let hub = Hub::new();
    let mut alice = join(&hub, "alice").await;
    told(&mut alice).await;
    let (mut bob, _tab) = (join(&hub, "bob").await, join(&hub, "bob").await);
    told(&mut alice).await;
    told(&mut bob).await;
    let with_meta = |meta: Value| json!({"userId": "bob", "info": {"name": "BOB"}, "meta": meta});
    for meta in [json!({"status": "away"}), json!(0), json!(false), json!("")] {
        assert_eq!(says(&hub, "bob", meta.clone()).await, (204, Value::Null));
        let update = json!({"updated": [with_meta(meta)], "count": 2});
        assert_eq!(told(&mut alice).await, [("presence_update".into(), update.clone())]);
        assert_eq!(
            told(&mut bob).await,
            [("presence_update".into(), update)],
            "in the user's other tabs, too"
        );
    }
    assert_eq!(says(&hub, "bob", json!("")).await.0, 204);
    assert_eq!(told(&mut alice).await, [], "which is no news");
    says(&hub, "bob", Value::Null).await;
    let without = json!({"updated": [user("bob")], "count": 2});
    assert_eq!(told(&mut alice).await, [("presence_update".into(), without)]);
    let (status, refusal) = says(&hub, "carol", json!(1)).await;
    assert_eq!((status, &refusal["code"]), (409, &json!("notpresent")));
    let (status, refusal) = says(&hub, "bob", json!("x".repeat(1024))).await;
    assert_eq!((status, &refusal["code"]), (413, &json!("toolarge")));
    assert_eq!(told(&mut alice).await, []);
}

/// Rows E9 and G6: `join` may refuse, `leave` sees; each once a user, however many tabs.
#[tokio::test(start_paused = true)]
async fn a_join_is_asked_for_and_a_leave_is_told() {
    let hub = Hub::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for event in ["join", "leave"] {
        let seen = seen.clone();
        hub.on("room:*", event, move |client: ClientEvent| {
            let who = client.identity().unwrap().to_owned();
            seen.lock().unwrap().push(format!("{event} {who} {}", client.channel()));
            async move {
                match &*who {
                    "eve" => Err(Refusal::new(StatusCode::FORBIDDEN, "banned", "not you")),
                    "mallory" => Err(Refusal::error("the database is gone")),
                    _ => {
                        client.publish("seen", &who);
                        Ok(())
                    }
                }
            }
        });
    }
    let mut alice = join(&hub, "alice").await;
    let second = join(&hub, "alice").await;
    for (user, code) in [("eve", "banned"), ("mallory", "internal")] {
        let stream = join(&hub, user).await;
        let hello = stream.hello.json();
        assert_eq!(hello["presence"], Value::Null);
        assert_eq!(hello["denied"], json!([{"channel": "room:1", "code": code}]));
    }
    let stranger = Visit::of(Grant::anonymous().follow("room:1")).query("presence=room:1").open(&hub).await;
    assert_eq!(stranger.hello.json()["denied"], json!([]), "who is nobody joins nothing");
    let denied = Visit::of(Grant::user("dan")).query("presence=room:1").open(&hub).await;
    assert_eq!(denied.hello.json()["denied"], json!([{"channel": "room:1", "code": "accessdenied"}]));
    assert_eq!(told(&mut alice).await, [("presence".into(), json!({"users": [user("alice")], "count": 1}))]);
    drop(second);
    drop(alice);
    sleep(AWHILE).await;
    let all = ["join alice room:1", "join eve room:1", "join mallory room:1", "leave alice room:1"];
    assert_eq!(*seen.lock().unwrap(), all);
}

/// Rows F9 and F16; defects 18 and 19.
#[tokio::test(start_paused = true)]
async fn who_is_present_is_read_a_page_at_a_time_by_whom_it_is_let() {
    let get = async |hub: &Hub, query: &str, token: &str| {
        let request = Request::get(format!("/realtime/channel/users?{query}")).header("authorization", token);
        common::json(hub.service().oneshot(request.body(String::new()).unwrap()).await.unwrap()).await
    };
    assert_eq!(
        get(&Hub::new(), "channel=room:1", "secret").await.0,
        404,
        "it is not there until it is asked for"
    );
    let hub = Hub::builder()
        .channel_users(async |parts: http::request::Parts| match parts.headers.get("authorization") {
            Some(token) if token == "secret" => Ok(()),
            _ => Err(Refusal::unauthorized("a token is needed")),
        })
        .build()
        .unwrap();
    let mut streams = Vec::new();
    for user in ["dave", "alice", "carol", "bob", "alice"] {
        streams.push(join(&hub, user).await);
    }
    assert_eq!(get(&hub, "channel=room:1", "guess").await.0, 401);
    assert_eq!(get(&hub, "channel=*", "secret").await.0, 400);
    let none = json!({"channel": "room:2", "users": [], "count": 0});
    assert_eq!(get(&hub, "channel=room:2", "secret").await, (StatusCode::OK, none));
    let first =
        json!({"channel": "room:1", "users": [user("alice"), user("bob")], "count": 4, "next": "bob"});
    assert_eq!(get(&hub, "channel=room:1&limit=2", "secret").await, (StatusCode::OK, first));
    let last = json!({"channel": "room:1", "users": [user("carol"), user("dave")], "count": 4});
    assert_eq!(get(&hub, "channel=room:1&limit=2&cursor=bob", "secret").await, (StatusCode::OK, last));
}

#[tokio::test(start_paused = true)]
async fn many_lists_are_not_written_at_once() {
    let hub = Hub::builder().write_bytes(16 << 10).build().unwrap();
    let rooms: Vec<_> = (0..40).map(|room| format!("room:{room}")).collect();
    let large = Grant::user("alice").info(json!("x".repeat(4000))).follow("room:*");
    let presence = format!("presence={}", rooms.join(","));
    let mut alice = Visit::of(large).query(&presence).open(&hub).await;
    assert_eq!(told_of(&mut alice).await, rooms, "each room once, in the order in which they were asked for");
    let mut bob = Stream::new(Visit::of(grant("bob")).query(&presence).answer(&hub).await.into_body(), None);
    let mut told = Vec::new();
    while told.len() < rooms.len() {
        // One more than fits, and the `hello`.
        assert!(bob.chunk().await.unwrap().len() < (16 << 10) + 4500);
        let lists = bob.parsed().into_iter().filter(|frame| frame.name == "message");
        told.extend(lists.map(|frame| frame.json()["channel"].as_str().unwrap().to_owned()));
    }
    assert_eq!(told, rooms);
    assert_eq!(told_of(&mut alice).await, rooms);
}

/// The channels of which a stream was told since it was asked last.
async fn told_of(stream: &mut Stream<SseBody>) -> Vec<String> {
    let frames = stream.ready().await.into_iter().filter(|frame| frame.name == "message");
    frames.map(|frame| frame.json()["channel"].as_str().unwrap().to_owned()).collect()
}

/// Those who are present without a session are bounded, too.
#[tokio::test(start_paused = true)]
async fn coming_and_going_fast_is_no_way_around_the_bound() {
    let hub = Hub::builder().max_subscriptions(100).build().unwrap();
    let mut rooms = 0;
    let mut come_and_go = async || {
        let names: Vec<_> = (rooms..rooms + 50).map(|room| format!("room:{room}")).collect();
        rooms += 50;
        let visit = Visit::of(grant("mallory")).query(&format!("presence={}", names.join(",")));
        let mut stream = Stream::new(visit.answer(&hub).await.into_body(), None);
        stream.next().await.name
    };
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(come_and_go().await);
    }
    assert_eq!(answers, ["hello", "hello", "hello", "bye", "bye"]);
    sleep(AWHILE).await;
    assert_eq!(come_and_go().await, "hello", "they left");
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_nobody_is_there_and_nobody_joins() {
    let hub = Hub::new();
    let mut alice = join(&hub, "alice").await;
    let bob = hub.subscribe(grant("bob")).unwrap().join(("room", 1)).unwrap();
    hub.shutdown();
    assert!(bob.join(("room", 2)).is_err(), "its session is over");
    assert_eq!(alice.rest().await.last().unwrap().name, "bye");
    sleep(AWHILE).await;
    assert_eq!(hub.presence("room:1").unwrap().count(), 0);
    assert_eq!(hub.stats().topics, Hub::new().stats().topics);
}

#[tokio::test(start_paused = true)]
async fn a_channel_and_its_presence_are_two_things_and_each_is_once() {
    let hub = Hub::new();
    let baseline = hub.stats();
    let visit = Visit::of(grant("alice")).following("room:1").query("presence=room:1,room:1&presence=room:1");
    let mut alice = visit.open(&hub).await;
    assert_eq!(alice.hello.json()["presence"], json!(["room:1"]));
    assert_eq!(hub.stats().subscriptions, 5, "everyone, alice, her scope, the channel, its presence");
    let sub = hub.subscribe(grant("alice")).unwrap().join(("room", 1)).unwrap().join(("room", 1)).unwrap();
    drop(sub);
    hub.channel("room:1").publish("said", &1).await.unwrap();
    let heard = alice.ready().await;
    let heard: Vec<_> = heard.iter().filter(|frame| frame.name == "message").map(Frame::json).collect();
    assert_eq!(heard.iter().map(|message| &message["event"]).collect::<Vec<_>>(), ["presence", "said"]);
    // Two who only look, and one of them is there as well.
    let look = Visit::of(Grant::anonymous().follow("room:1")).query("presence=room:1");
    let strangers = [look.open(&hub).await, look.open(&hub).await];
    drop(strangers);
    drop(alice);
    sleep(AWHILE).await;
    hub.revalidate("posts").await.unwrap();
    let stats = hub.stats();
    assert_eq!((stats.sessions, stats.subscriptions), (baseline.sessions, baseline.subscriptions));
    assert_eq!(stats.topics, baseline.topics + 1, "the channel, of which a message is kept");
    assert_eq!(hub.presence("room:1").unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_missed_more_than_is_remembered_is_told_the_list() {
    let hub = Hub::builder().presence_page(1000).build().unwrap();
    let mut alice = join(&hub, "alice").await;
    let users = (0..300).map(|id| hub.subscribe(grant(&format!("user-{id}"))).unwrap());
    let users: Vec<_> = users.map(|user| user.join(("room", 1)).unwrap()).collect();
    told(&mut alice).await;
    drop(users);
    sleep(Duration::from_secs(7)).await;
    assert_eq!(told(&mut alice).await, [("presence".into(), json!({"users": [user("alice")], "count": 1}))]);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_told_with_the_next_tick_and_not_before() {
    // Without heartbeats, which have a stream look as well.
    let hub = Hub::builder().presence_page(1).heartbeat(Duration::from_secs(3600)).build().unwrap();
    let mut alice = join(&hub, "alice").await;
    let _others = [join(&hub, "bob").await, join(&hub, "carol").await];
    sleep(Duration::from_secs(2)).await;
    told(&mut alice).await;
    let _more = [join(&hub, "dave").await, join(&hub, "erin").await];
    assert_eq!(told(&mut alice).await, []);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(told(&mut alice).await, [("presence_update".into(), json!({"count": 5}))]);
}

#[tokio::test(start_paused = true)]
async fn a_public_channel_does_not_show_strangers_who_is_there() {
    let hub = Hub::builder().channel("room:1", Policy::history(8).public()).build().unwrap();
    let mut alice = Visit::of(Grant::user("alice")).query("presence=room:1").open(&hub).await;
    assert_eq!(told(&mut alice).await.len(), 1, "who is somebody is seen, and sees");
    let mut stranger = Visit::stranger().following("room:1").query("presence=room:1").open(&hub).await;
    let hello = stranger.hello.json();
    assert_eq!((&hello["channels"], &hello["presence"]), (&json!(["room:1"]), &Value::Null));
    assert_eq!(hello["denied"], json!([{"channel": "room:1", "code": "accessdenied"}]));
    assert_eq!(told(&mut stranger).await, []);
}

/// A page of another site opens a stream with the user's cookies: it cannot read it, and has nobody be present.
#[tokio::test(start_paused = true)]
async fn another_site_has_nobody_be_present() {
    let hub = Hub::builder().trust_origin("https://app.example.com").build().unwrap();
    let asked = Arc::new(Mutex::new(0));
    let asks = asked.clone();
    hub.on("room:*", "join", move |_: ClientEvent| {
        *asks.lock().unwrap() += 1;
        std::future::ready(Ok(()))
    });
    let open = async |headers: &[(&'static str, &str)]| {
        let visit = Visit::of(grant("alice")).query("presence=room:1,room:1:x");
        let visit = headers.iter().fold(visit, |visit, (name, value)| visit.header(name, value));
        let stream = visit.open(&hub).await;
        (stream.hello.json()["presence"].clone(), stream.hello.json()["denied"].clone())
    };
    let cookie = ("cookie", "session=1");
    let nowhere = json!([{"channel": "room:1:x", "code": "accessdenied"}]);
    let crosssite =
        json!([{"channel": "room:1", "code": "crosssite"}, {"channel": "room:1:x", "code": "crosssite"}]);
    let refused = open(&[cookie, ("sec-fetch-site", "cross-site")]).await;
    assert_eq!(refused, (Value::Null, crosssite));
    assert!(!hub.presence(("room", 1)).unwrap().has("alice"));
    assert_eq!(*asked.lock().unwrap(), 0);
    let trusted = [cookie, ("sec-fetch-site", "cross-site"), ("origin", "https://app.example.com")];
    for headers in
        [&[cookie, ("sec-fetch-site", "same-origin")][..], &[("sec-fetch-site", "cross-site")], &trusted]
    {
        assert_eq!(open(headers).await, (json!(["room:1"]), nowhere.clone()), "{headers:?}");
    }
}

/// Who may say nothing there waits in no line, and takes nobody's place while it waits.
#[tokio::test(start_paused = true)]
async fn who_is_not_present_stands_in_nobodys_way() {
    let hub = Hub::builder().max_emits(2).build().unwrap();
    let gate = Arc::new(tokio::sync::Notify::new());
    let waits = gate.clone();
    hub.on("room:*", "said", move |event: ClientEvent<bool>| {
        let waits = waits.clone();
        async move {
            if event.data {
                waits.notified().await;
            }
            Ok(())
        }
    });
    let spawn = |post: Post| {
        let hub = hub.clone();
        tokio::spawn(async move { post.said(&hub).await })
    };
    let slow = spawn(Post::emit("room:1", "said", json!(true)).user("alice"));
    tokio::task::yield_now().await;
    let says = Post::emit("room:1", "presence_update", json!(1));
    let refused = [says.clone().by(Grant::user("eve")), says.by(Grant::anonymous())].map(spawn);
    tokio::task::yield_now().await;
    let bob = Post::emit("room:2", "said", json!(false)).user("bob").said(&hub).await;
    assert_eq!(bob, (204, Value::Null));
    gate.notify_one();
    assert_eq!(slow.await.unwrap().0, 204);
    for refused in refused {
        let (status, refusal) = refused.await.unwrap();
        assert_eq!((status, &refusal["code"]), (409, &json!("notpresent")));
    }
}
