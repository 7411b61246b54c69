//! Who hears what. Scopes and channels are granted by the server; nothing that a client sends widens them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::stack::{App, request};
use common::{Visit, json, soon};
use http::StatusCode;
use serde_json::json;
use tower::ServiceExt;
use tower_revalidate::{Channel, Cursor, Grant, Hub, Pattern, Policy, Refusal, Revalidate, Scope};

type Stack = fn(&Hub) -> App;

on_every_stack!(a_room_hears_its_members_and_the_server_says_who_spoke, what_a_client_claims_has_no_effect,);

async fn answer(app: &App, request: http::Request<axum::body::Body>) -> StatusCode {
    soon("an answer", app.clone().oneshot(request)).await.unwrap().status()
}

/// A stream of the app, signed in as its own middleware does.
async fn stream(app: &App, channels: &str, user: &str, more: &str) -> common::Stream<axum::body::Body> {
    let path = format!("/realtime/events?channels={channels}&{more}");
    let mut request = request("GET", &path, user, "");
    request.headers_mut().insert("x-scopes", "user:1,role:admin".parse().unwrap());
    request.headers_mut().insert("x-revalidate-scopes", "user:1,role:admin".parse().unwrap());
    request.headers_mut().insert("cookie", "scopes=role:admin".parse().unwrap());
    let response = app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut stream = common::Stream::new(response.into_body(), None);
    stream.greet().await;
    stream
}

/// Row E8: `room:{id}`, `message {sender_id, content}`; the sender comes from who is signed in.
async fn a_room_hears_its_members_and_the_server_says_who_spoke(stack: Stack) {
    let hub = Hub::new();
    let app = stack(&hub);
    let mut bob = stream(&app, "room:1", "bob", "").await;
    let mut eve = stream(&app, "room:1", "eve", "").await;
    assert_eq!(eve.hello.json()["denied"], json!([{"channel": "room:1", "code": "accessdenied"}]));
    let said = r#"{"content": "hi", "sender_id": "bob"}"#;
    for (user, status) in
        [("", StatusCode::UNAUTHORIZED), ("eve", StatusCode::FORBIDDEN), ("alice", StatusCode::CREATED)]
    {
        assert_eq!(answer(&app, request("POST", "/rooms/1/messages", user, said)).await, status);
    }
    let heard = bob.next().await.json();
    assert_eq!(
        heard,
        json!({"channel": "room:1", "event": "message", "data": {"content": "hi", "sender_id": "alice"}})
    );
    assert!(bob.ready().await.is_empty());
    assert!(eve.ready().await.iter().all(|frame| frame.name.is_empty()), "who is no member hears nothing");
}

/// Row B9 and defect 1.
async fn what_a_client_claims_has_no_effect(stack: Stack) {
    let hub = Hub::new();
    let app = stack(&hub);
    let claims = "scopes=user:1,role:admin&scope=user:1&identity=1&user=1&grant=**&userId=1&roles=admin";
    let channels = "user:1,user:1:notifications,role:admin,scope:user:1,everyone";
    for user in ["", "2", "1:x", "*"] {
        let mut stream = stream(&app, channels, user, claims).await;
        assert_eq!(stream.hello.json()["channels"], json!([]), "{user:?}");
        assert_eq!(stream.hello.json()["denied"].as_array().unwrap().len(), 5);
        hub.revalidate(Revalidate::key("secret").to("user:1")).await.unwrap();
        hub.revalidate(Revalidate::key("secret").to("role:admin")).await.unwrap();
        hub.channel("user:1:notifications").publish("notification", &"secret").await.unwrap();
        hub.revalidate("sentinel").await.unwrap();
        assert_eq!(stream.next().await.keys(), [r#"["sentinel"]"#], "{user:?}");
        let raw = String::from_utf8_lossy(&stream.parser.raw).into_owned();
        assert!(!raw.contains("secret"), "{raw}");
    }
}

/// What these visitors may follow of these channels, and what they hear when one is said on each.
async fn who_hears(hub: &Hub, visitors: &[(&str, Visit)], channels: &[&str]) -> Vec<(String, Vec<String>)> {
    let mut heard = Vec::new();
    let mut streams = Vec::new();
    for (name, visit) in visitors {
        streams.push((name, visit.clone().following(&channels.join(",")).open(hub).await));
    }
    for channel in channels {
        let channel = Channel::parse(channel).unwrap();
        hub.channel(&channel).publish("x", &channel).await.unwrap();
    }
    for (name, mut stream) in streams {
        let frames = stream.ready().await;
        let messages = frames.iter().filter(|frame| frame.name == "message");
        let got: Vec<_> = messages.map(|frame| frame.payload().as_str().unwrap().to_owned()).collect();
        let said = stream.hello.json();
        assert_eq!(json!(got), said["channels"], "`hello` tells the truth to {name}");
        heard.push(((*name).to_owned(), got));
    }
    heard
}

fn heard(expected: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    expected.iter().map(|(who, what)| ((*who).to_owned(), owned(what))).collect()
}

/// Row E1: `{channel, event, data}`, letter by letter.
#[tokio::test(start_paused = true)]
async fn an_event_is_its_channel_its_name_and_its_data() {
    let hub = Hub::new();
    let mut stream = Visit::user("alice").following("room:42").open(&hub).await;
    let at = hub.channel(("room", 42)).publish("new_message", &json!({"text": "hi"})).await.unwrap();
    let chunk = stream.chunk().await.unwrap();
    assert_eq!(
        std::str::from_utf8(&chunk).unwrap(),
        format!(
            "id: {at}\nevent: message\n\
             data: {{\"channel\":\"room:42\",\"event\":\"new_message\",\"data\":{{\"text\":\"hi\"}}}}\n\n"
        )
    );
}

/// Rows E2 and E6: for all who are signed in by a pattern, for everyone by a public policy.
#[tokio::test(start_paused = true)]
async fn a_public_channel_is_for_strangers_too_and_no_other_is() {
    let hub = Hub::builder().channel("global", Policy::history(8).public()).build().unwrap();
    let visitors =
        [("stranger", Visit::stranger()), ("user", Visit::of(Grant::user(1).follow("announcements")))];
    assert_eq!(
        who_hears(&hub, &visitors, &["global", "announcements"]).await,
        heard(&[("stranger", &["global"]), ("user", &["global", "announcements"])])
    );
    let stranger = Visit::stranger().following("announcements").open(&hub).await;
    assert_eq!(
        stranger.hello.json()["denied"],
        json!([{"channel": "announcements", "code": "accessdenied"}])
    );
}

/// Rows E3 and E5, and D3: what is somebody's own, a user's or a tenant's.
#[tokio::test(start_paused = true)]
async fn nobody_hears_across_users_or_tenants() {
    let hub = Hub::new();
    let member = |user: &str, tenant: &str| {
        let own = Pattern::under(("user", user)).unwrap();
        let tenants = Pattern::under(("tenant", tenant)).unwrap();
        Visit::of(
            Grant::user(user).scope(("tenant", tenant)).follow(("user", user)).follow(own).follow(tenants),
        )
    };
    let visitors =
        [("1 of a", member("1", "a")), ("2 of b", member("2", "b")), ("10 of ab", member("10", "ab"))];
    let channels = [
        "user:1",
        "user:1:notifications",
        "user:10:notifications",
        "tenant:a:orders",
        "tenant:b:orders",
        "tenant:ab:orders:new",
        "tenant:a",
    ];
    assert_eq!(
        who_hears(&hub, &visitors, &channels).await,
        heard(&[
            ("1 of a", &["user:1", "user:1:notifications", "tenant:a:orders"]),
            ("2 of b", &["tenant:b:orders"]),
            ("10 of ab", &["user:10:notifications", "tenant:ab:orders:new"]),
        ])
    );
}

/// A tenant or a user whose name is a wildcard is none.
#[tokio::test(start_paused = true)]
async fn a_name_from_data_never_becomes_a_wildcard() {
    let hub = Hub::new();
    for name in ["*", "**", "a:b", "a,b", "", "a\n", "\u{0}", "\u{9b}"] {
        assert!(Pattern::under(("tenant", name)).is_err(), "{name:?}");
        let grant = Grant::user(name).scope(("tenant", name)).follow(("tenant", name));
        let visitors = [("mallory", Visit::of(grant))];
        let heard_by = who_hears(&hub, &visitors, &["tenant:a", "tenant:a:b", "user:a"]).await;
        assert_eq!(heard_by, heard(&[("mallory", &[])]), "{name:?}");
        let mut stream = visitors[0].1.open(&hub).await;
        hub.revalidate(Revalidate::key("secret").to_any(["user:a", "tenant:a", "user:a:b"])).await.unwrap();
        hub.revalidate("sentinel").await.unwrap();
        assert_eq!(stream.next().await.keys(), [r#"["sentinel"]"#], "{name:?}");
    }
}

/// Row E4: those who watch a document, and of the same document only.
#[tokio::test(start_paused = true)]
async fn a_document_is_heard_by_those_who_watch_it() {
    let hub = Hub::new();
    let grant = || Grant::user(1).follow(Pattern::children(("document",)).unwrap());
    let mut watcher = Visit::of(grant()).following("document:7").open(&hub).await;
    let mut other = Visit::of(grant()).following("document:8").open(&hub).await;
    let deeper = Visit::of(grant()).following("document:7:comments,document").open(&hub).await;
    assert_eq!(deeper.hello.json()["channels"], json!([]), "one part below, neither none nor two");
    let update = json!({"updated_by": 1, "updated_at": "2025-01-01T00:00:00Z", "changes": {"title": "x"}});
    hub.channel(("document", 7)).publish("content_updated", &update).await.unwrap();
    hub.revalidate("sentinel").await.unwrap();
    assert_eq!(
        watcher.until(|frame| frame.name == "message").await.pop().unwrap().json(),
        json!({"channel": "document:7", "event": "content_updated", "data": update})
    );
    assert_eq!(other.next().await.name, "revalidate");
    assert!(other.ready().await.iter().all(|frame| frame.name.is_empty()));
}

/// Row E7: who has two of the roles hears once.
#[tokio::test(start_paused = true)]
async fn who_is_addressed_twice_hears_once() {
    let hub = Hub::new();
    let mut both = Visit::of(Grant::user(1).scope("role:admin").scope("role:editor").scope("role:admin"))
        .open(&hub)
        .await;
    let mut one = Visit::of(Grant::user(2).scope("role:editor")).open(&hub).await;
    let mut none = Visit::of(Grant::user(3)).open(&hub).await;
    let alert = Revalidate::key("alerts").to_any(["role:admin", "role:editor", "user:1", "role:admin"]);
    hub.revalidate(alert).await.unwrap();
    for stream in [&mut both, &mut one] {
        let frames = stream.ready().await;
        assert_eq!(frames.iter().filter(|frame| !frame.name.is_empty()).count(), 1, "{frames:?}");
        assert_eq!(frames[0].json()["keys"], json!([["alerts"]]));
    }
    assert!(none.ready().await.iter().all(|frame| frame.name.is_empty()));
}

/// Row E15: the client asks, the server decides, and says so.
#[tokio::test(start_paused = true)]
async fn the_client_asks_and_the_server_decides() {
    let hub = Hub::new();
    let visitors = [("alice", Visit::of(Grant::user("alice").follow("a").follow("b:*")))];
    assert_eq!(
        who_hears(&hub, &visitors, &["b:1", "a", "c", "b", "b:1:2"]).await,
        heard(&[("alice", &["b:1", "a"])])
    );
    // What may be followed and is not asked for is not heard.
    let mut stream =
        Visit::of(Grant::user("alice").follow("a").follow("b:*")).following("a").open(&hub).await;
    hub.channel("b:1").publish("x", &1).await.unwrap();
    hub.channel("a").publish("x", &2).await.unwrap();
    assert_eq!(stream.next().await.payload(), 2);
}

/// Row E16: the code and the message, as a member list would refuse.
#[tokio::test(start_paused = true)]
async fn who_is_no_member_is_refused_with_the_exact_code() {
    let hub = Hub::builder()
        .authorize(|parts| async move {
            let user = parts.headers.get("x-user").ok_or_else(|| Refusal::unauthorized("Sign in first"))?;
            let asks = parts.uri.query().unwrap_or_default().contains("room%3A1");
            match (user.to_str()?, asks) {
                ("alice", _) => Ok(Grant::user("alice").follow("room:1")),
                (_, true) => Err(Refusal::forbidden("Not a member of this room")),
                (user, false) => Ok(Grant::user(user)),
            }
        })
        .build()
        .unwrap();
    let visit = |user: &str| Visit::stranger().header("x-user", user).following("room:1");
    let (status, error) = json(visit("eve").answer(&hub).await).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(error, json!({"code": "accessdenied", "message": "Not a member of this room"}));
    assert_eq!(visit("alice").open(&hub).await.hello.json()["channels"], json!(["room:1"]));
}

/// PROTOCOL R10: a grant to a channel is a grant to its retained window, unless it says otherwise.
#[tokio::test(start_paused = true)]
async fn who_joined_later_is_not_shown_what_was_before() {
    type Granting = fn(Grant, Cursor) -> Grant;
    let grants: [(Granting, &[&str]); 5] = [
        (|grant, _| grant.follow("room:1"), &["before", "after"]),
        (|grant, joined| grant.follow_since("room:1", joined), &["after"]),
        (|grant, _| grant.follow_live("room:1"), &[]),
        (|grant, joined| grant.follow_live("room:1").follow_since("room:*", joined), &["after"]),
        (|grant, joined| grant.follow_since("room:*", joined).follow("room:1"), &["before", "after"]),
    ];
    for (grant, came) in grants {
        let hub = Hub::new();
        let start = hub.cursor();
        let say = async |text: &str| hub.channel("room:1").publish("x", &text).await.unwrap();
        say("before").await;
        let joined = hub.cursor();
        say("after").await;
        let grant = grant(Grant::user("alice"), joined);
        let mut stream = Visit::of(grant.clone()).following("room:1").from(start).open(&hub).await;
        let frames = stream.ready().await;
        let texts: Vec<_> =
            frames.iter().filter(|frame| frame.name == "message").map(|frame| frame.payload()).collect();
        assert_eq!(json!(texts), json!(came), "{grant:?}");
        let gap = frames.iter().find(|frame| frame.name == "gap");
        assert_eq!(gap.is_some(), came.is_empty(), "without replay it is told that it missed something");
        say("now").await;
        let now = stream.next().await;
        assert_eq!(now.payload(), "now", "{grant:?}");
    }
}

/// No grant is no scope and public channels only; a `latest` value is not replayed to one who may not see it.
#[tokio::test(start_paused = true)]
async fn a_current_value_is_for_those_who_may_see_what_was_before() {
    let hub = Hub::builder().channel("dashboard", Policy::latest()).build().unwrap();
    hub.channel("dashboard").publish("update", &1).await.unwrap();
    let user = || Grant::user("alice");
    for (grant, sees) in [
        (user().follow("dashboard"), true),
        (user().follow_live("dashboard"), false),
        (user().follow_since("dashboard", hub.cursor()), false),
        (user(), false),
        (Grant::anonymous(), false),
    ] {
        let mut stream = Visit::of(grant.clone()).following("dashboard").open(&hub).await;
        let frames = stream.ready().await;
        assert_eq!(frames.iter().any(|frame| frame.name == "message"), sees, "{grant:?}");
    }
}

/// Row B8: what is a scope, and whom it matches: itself, letter by letter, and nothing else.
#[tokio::test(start_paused = true)]
async fn a_scope_matches_itself_and_nothing_else() {
    let scopes = [
        "user:123",
        "user:1234",
        "user:12",
        "user",
        "user:123:roles",
        "role:admin",
        "role:Admin",
        "tenant:abc-corp",
        "room:é",
        "room:e\u{301}",
        "room:1 ",
    ];
    for text in scopes {
        let hub = Hub::new();
        let scope = Scope::parse(text).unwrap();
        let mut streams = Vec::new();
        for other in scopes {
            streams.push((other, Visit::of(Grant::anonymous().scope(other)).open(&hub).await));
        }
        hub.revalidate(Revalidate::key("x").to(&scope)).await.unwrap();
        hub.revalidate("sentinel").await.unwrap();
        for (other, mut stream) in streams {
            assert_eq!(
                stream.next().await.keys().len(),
                if other == text { 2 } else { 1 },
                "{text} and {other}"
            );
        }
    }
    for refused in ["", ":", "user:", ":1", "a::b", "user:*", "*", "**", "a,b", "a\nb", "a\u{0}", "a\u{85}b"]
    {
        assert!(Scope::parse(refused).is_err(), "{refused:?}");
    }
    assert!(Scope::parse(&"x".repeat(256)).is_ok() && Scope::parse(&"x".repeat(257)).is_err());
}

/// Bounded, whatever a grant says.
#[tokio::test(start_paused = true)]
async fn of_a_grant_at_most_64_scopes_are_used() {
    let hub = Hub::new();
    let grant = (0..100).fold(Grant::anonymous(), |grant, id| grant.scope(("role", id)));
    let mut stream = Visit::of(grant).open(&hub).await;
    assert_eq!(hub.stats().subscriptions, 65);
    hub.revalidate(Revalidate::key("in").to("role:63")).await.unwrap();
    hub.revalidate(Revalidate::key("out").to("role:64")).await.unwrap();
    assert_eq!(stream.next().await.keys(), [r#"["in"]"#]);
}

/// Row D4: what may leave is looked at once more.
#[tokio::test(start_paused = true)]
async fn a_filter_sees_every_message_before_it_leaves() {
    let hub = Hub::builder()
        .filter(|channel, event, data| {
            assert_eq!((channel.as_str(), event), ("room:1", "x"));
            !data.contains("token")
        })
        .build()
        .unwrap();
    let mut stream = Visit::user("alice").following("room:1").open(&hub).await;
    let refused = hub.channel("room:1").publish("x", &json!({"token": "t"})).await.unwrap_err();
    assert!(
        matches!(refused, tower_revalidate::PublishError::Filtered(channel) if channel.as_str() == "room:1")
    );
    hub.channel("room:1").publish("x", &json!({"text": "t"})).await.unwrap();
    assert_eq!(stream.next().await.payload(), json!({"text": "t"}));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!String::from_utf8_lossy(&stream.parser.raw).contains("token"));
}
