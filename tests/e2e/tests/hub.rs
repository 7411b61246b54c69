//! `examples/hub`, as a process over TCP: apps publish with their token, users hear what their own one says.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use e2e::{Client, Example, Server, Signal, Stream};
use hmac::{Hmac, Mac};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN,
    AUTHORIZATION, COOKIE, ORIGIN,
};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;

const TOKEN: &str = "the token of the app";
const SECRET: &str = "what tokens of users are signed with";

async fn start() -> (Server, Client) {
    let server = Server::start_with(
        Example::Hub,
        &[
            ("TOKEN", TOKEN),
            ("SECRET", SECRET),
            ("PUBLIC", "news, weather:*"),
            ("TYPING", "room:*:typing"),
            ("RELAY", "room:*=said"),
            ("ORIGINS", "https://app.example.com"),
        ],
    )
    .await;
    let nobody = Client::of(server.url());
    (server, nobody)
}

/// A JWT (RFC 7519) as an app makes it, without the crate that the example reads it with.
fn signed_with(secret: &str, header: &Value, claims: &Value) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let text = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key may have any length");
    mac.update(text.as_bytes());
    format!("{text}.{}", encode(&mac.finalize().into_bytes()))
}

fn signed(claims: &Value) -> String {
    signed_with(SECRET, &json!({"alg": "HS256", "typ": "JWT"}), claims)
}

/// Seconds since the epoch.
fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(now.as_secs()).expect("it is not yet the end of time") + seconds
}

/// The claims of a token that holds for ten minutes.
fn claims(user: &str, mut more: Value) -> Value {
    more["sub"] = user.into();
    more["exp"] = from_now(600).into();
    more
}

trait Bearer {
    fn bearer(&self, token: &str) -> Self;
    async fn said(&self, endpoint: &str, body: Value) -> (StatusCode, Value);
}

impl Bearer for Client {
    fn bearer(&self, token: &str) -> Self {
        self.with(AUTHORIZATION, &format!("Bearer {token}"))
    }

    async fn said(&self, endpoint: &str, body: Value) -> (StatusCode, Value) {
        self.json(Method::POST, &format!("/realtime/{endpoint}"), &body.to_string()).await
    }
}

fn refused(answer: &(StatusCode, Value)) -> (u16, &str) {
    (answer.0.as_u16(), answer.1["code"].as_str().unwrap_or_default())
}

async fn broadcast(app: &Client, channel: &str, payload: Value) {
    let (status, answer) = app.said("broadcast", json!({"channel": channel, "payload": payload})).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"success": true, "channel": channel})));
}

/// The channel and the event of the next message, and its data.
async fn heard(stream: &mut Stream) -> (String, String, Value) {
    let event = stream.next().await.expect("the stream goes on");
    assert_eq!(event.name, "message", "{event:?}");
    let text = |field: &str| event.data[field].as_str().expect("a text").to_owned();
    (text("channel"), text("event"), event.data["data"].clone())
}

#[tokio::test]
async fn it_does_not_start_with_what_is_missing_or_wrong() {
    let good = ("TOKEN", TOKEN);
    for (wrong, variables) in [
        ("TOKEN", [("TOKEN", ""), ("SECRET", SECRET)]),
        ("TOKEN", [("TOKEN", "fifteen bytes !"), ("SECRET", SECRET)]),
        ("SECRET", [good, ("SECRET", "thirty-one bytes are not enough")]),
        ("PUBLIC", [good, ("PUBLIC", "news,a::b")]),
        ("TYPING", [good, ("TYPING", "**:typing")]),
        ("RELAY", [good, ("RELAY", "room:*")]),
        ("trust_origin", [good, ("ORIGINS", "app.example.com")]),
        ("PORT", [good, ("PORT", "http")]),
        ("ADDRESS", [good, ("ADDRESS", "here")]),
    ] {
        let (ended, said) = Server::refused(Example::Hub, &variables).await;
        assert_eq!(ended.code(), Some(1), "{variables:?}: {said}");
        assert!(said.contains(wrong), "{variables:?}: {said}");
        for secret in [TOKEN, SECRET, "fifteen bytes !", "thirty-one bytes"] {
            assert!(!said.contains(secret), "a secret is told: {said}");
        }
    }
}

#[tokio::test]
async fn nobody_publishes_without_the_apps_token() {
    let (_server, nobody) = start().await;
    let (mut stream, _) = nobody.follow("news").await;
    let anything = claims("app", json!({"follow": ["**"], "publish": ["**"], "scopes": ["user:app"]}));
    let liars = [
        nobody.clone(),
        nobody.bearer("the token of an app"),
        nobody.bearer(&TOKEN[..TOKEN.len() - 1]),
        nobody.bearer(&format!("{TOKEN}!")),
        nobody.bearer(""),
        nobody.bearer(SECRET),
        nobody.bearer(&signed(&anything)),
        nobody.with(AUTHORIZATION, TOKEN),
        nobody.with(AUTHORIZATION, &format!("Basic {TOKEN}")),
        nobody.with(COOKIE, &format!("hub_token={}", signed(&anything))),
    ];
    for liar in liars {
        for (endpoint, body) in [
            ("broadcast", json!({"channel": "news", "payload": "a lie"})),
            ("revalidate", json!({"keys": ["lies"]})),
        ] {
            assert_eq!(
                refused(&liar.said(endpoint, body).await),
                (401, "unauthorized"),
                "{endpoint}: {liar:?}"
            );
        }
        for path in ["/realtime/stats", "/realtime/channel/users?channel=news"] {
            assert_eq!(
                refused(&liar.json(Method::GET, path, "").await),
                (401, "unauthorized"),
                "{path}: {liar:?}"
            );
        }
    }

    let app = nobody.bearer(TOKEN);
    broadcast(&app, "news", json!("the truth")).await;
    let truth = ("news".to_owned(), "broadcast".to_owned(), json!("the truth"));
    assert_eq!(heard(&mut stream).await, truth, "and nothing before it");
    let (status, stats) = app.json(Method::GET, "/realtime/stats", "").await;
    assert_eq!((status, &stats["connected"]), (StatusCode::OK, &json!(1)));
}

#[tokio::test]
async fn a_broadcast_is_heard_by_whose_token_says_so_and_by_no_other() {
    let (_server, nobody) = start().await;
    let alice = nobody.bearer(&signed(&claims("alice", json!({"follow": ["room:1", "user:alice:*"]}))));
    // A browser's own `EventSource` has cookies alone.
    let bobs = signed(&claims("bob", json!({"follow": ["room:2"]})));
    let bob = nobody.with(COOKIE, &format!("theme=dark; hub_token={bobs}"));

    let all = "room:1,room:2,user:alice:notices,weather:here,secrets";
    let mut streams = Vec::new();
    for (client, follows) in [
        (&alice, json!(["room:1", "user:alice:notices", "weather:here"])),
        (&bob, json!(["room:2", "weather:here"])),
        (&nobody, json!(["weather:here"])),
    ] {
        let (stream, hello) = client.follow(all).await;
        assert_eq!(hello["channels"], follows, "{hello}");
        streams.push(stream);
    }

    let app = nobody.bearer(TOKEN);
    for channel in ["secrets", "room:1", "room:2", "user:alice:notices", "weather:here"] {
        broadcast(&app, channel, json!({"on": channel})).await;
    }
    for (stream, hears) in streams.iter_mut().zip([
        &["room:1", "user:alice:notices", "weather:here"][..],
        &["room:2", "weather:here"],
        &["weather:here"],
    ]) {
        for channel in hears {
            let message = (channel.to_string(), "broadcast".to_owned(), json!({"on": channel}));
            assert_eq!(heard(stream).await, message);
        }
    }

    let named = json!({"channel": "room:1", "event": "new_message", "payload": null});
    assert_eq!(app.said("broadcast", named).await.0, StatusCode::OK);
    assert_eq!(heard(&mut streams[0]).await, ("room:1".into(), "new_message".into(), Value::Null));
}

#[tokio::test]
async fn what_went_stale_is_heard_by_whom_it_concerns() {
    let (_server, nobody) = start().await;
    let app = nobody.bearer(TOKEN);
    let (mut alices, _) = nobody.bearer(&signed(&claims("alice", json!({})))).follow("").await;
    let (mut admins, _) =
        nobody.bearer(&signed(&claims("root", json!({"scopes": ["role:admin"]})))).follow("").await;
    let (mut strangers, _) = nobody.follow("").await;
    for body in [
        json!({"keys": [["users", "me"]], "to": ["user:alice"]}),
        json!({"keys": ["reports"], "to": ["role:admin", "user:nobody"]}),
        json!({"keys": ["posts.list", ["posts", "detail", 7]]}),
    ] {
        assert_eq!(app.said("revalidate", body).await, (StatusCode::OK, json!({"success": true})));
    }
    let everyones = [json!(["posts", "list"]), json!(["posts", "detail", 7])];
    let mut streams = [
        (&mut alices, vec![json!(["users", "me"])]),
        (&mut admins, vec![json!(["reports"])]),
        (&mut strangers, vec![]),
    ];
    for (stream, due) in &mut streams {
        due.extend(everyones.clone());
        // Those that follow each other may come in one, in any order.
        let mut heard = Vec::new();
        while heard.len() < due.len() {
            heard.extend(stream.keys().await.as_array().expect("a list of keys").clone());
        }
        assert!(heard.iter().all(|key| due.contains(key)), "{heard:?} and not {due:?}");
        assert!(due.iter().all(|key| heard.contains(key)), "{heard:?} and not {due:?}");
    }
    assert_eq!(app.said("revalidate", json!({"keys": ["end"]})).await.0, StatusCode::OK);
    for (stream, _) in streams {
        assert_eq!(stream.keys().await, json!([["end"]]), "and nothing else");
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_opens_nothing() {
    let (_server, nobody) = start().await;
    let hs256 = json!({"alg": "HS256"});
    let alice = claims("alice", json!({"follow": ["room:1"]}));
    let with = |name: &str, value: Value| {
        let mut claims = alice.clone();
        claims[name] = value;
        signed(&claims)
    };
    let good = signed(&alice);
    let parts: Vec<&str> = good.split('.').collect();
    let others = signed(&claims("root", json!({"follow": ["**"]})));
    let none = signed_with(SECRET, &json!({"alg": "none"}), &alice);
    for (why, token) in [
        ("expired", with("exp", from_now(-1).into())),
        ("long expired", with("exp", 0.into())),
        ("before the epoch", with("exp", (-1).into())),
        ("without an end", with("exp", Value::Null)),
        ("not yet", with("nbf", from_now(600).into())),
        ("of another secret", signed_with("some other secret of 32 bytes or more", &hs256, &alice)),
        ("of no secret", signed_with("", &hs256, &alice)),
        ("of the app's token", signed_with(TOKEN, &hs256, &alice)),
        ("that says `none`", none.clone()),
        ("that says `none`, unsigned", format!("{}.", none.rsplit_once('.').expect("three parts").0)),
        ("that says another algorithm", signed_with(SECRET, &json!({"alg": "HS512"}), &alice)),
        (
            "with claims of another",
            format!("{}.{}.{}", parts[0], others.split('.').nth(1).expect("three"), parts[2]),
        ),
        ("unsigned", format!("{}.{}.", parts[0], parts[1])),
        ("cut", good[..good.len() - 4].to_owned()),
        ("with a pattern that is none", with("follow", json!(["room::1"]))),
        ("with a name that is none", with("sub", json!("alice:admin"))),
        ("that is none", "alice".to_owned()),
        ("the app's", TOKEN.to_owned()),
    ] {
        for client in [nobody.bearer(&token), nobody.with(COOKIE, &format!("hub_token={token}"))] {
            let answer = client.json(Method::GET, "/realtime/events?channels=news", "").await;
            assert_eq!(refused(&answer), (401, "unauthorized"), "a token {why}: {}", answer.1);
        }
    }
    let (_, hello) = nobody.bearer(&good).follow("room:1").await;
    assert_eq!(hello["channels"], json!(["room:1"]), "the one that they were made of");
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let (_server, nobody) = start().await;
    let short = signed(&json!({"sub": "alice", "exp": from_now(2)}));
    let (mut stream, _) = nobody.bearer(&short).follow("news").await;
    let (events, whole) = stream.end().await;
    let bye = events.last().expect("a goodbye");
    assert_eq!((bye.name.as_str(), &bye.data["reason"], whole), ("bye", &json!("expired"), true));
    let again = nobody.bearer(&short).json(Method::GET, "/realtime/events?channels=news", "").await;
    assert_eq!(refused(&again), (401, "unauthorized"));
}

#[tokio::test]
async fn users_send_what_their_token_lets_them() {
    let (_server, nobody) = start().await;
    let member = |name: &str, more: Value| nobody.bearer(&signed(&claims(name, more)));
    let follow = json!(["room:1", "room:1:typing"]);
    let alice = member("alice", json!({"follow": follow, "publish": follow, "info": {"name": "Alice"}}));
    let bob = member("bob", json!({"follow": follow}));
    let (mut bobs, _) = bob.follow("room:1,room:1:typing").await;

    let said = json!({"channel": "room:1", "event": "said", "data": {"text": "hello"}});
    let types = json!({"channel": "room:1:typing", "event": "typing", "data": {"isTyping": true}});
    for body in [&said, &types] {
        assert_eq!(refused(&bob.said("emit", body.clone()).await), (403, "accessdenied"));
        assert_eq!(alice.said("emit", body.clone()).await, (StatusCode::NO_CONTENT, Value::Null));
    }
    let (channel, event, relayed) = heard(&mut bobs).await;
    assert_eq!((channel.as_str(), event.as_str()), ("room:1", "said"));
    assert_eq!((&relayed["by"], &relayed["data"]), (&json!("alice"), &json!({"text": "hello"})));
    let typing = json!({"userId": "alice", "userName": "Alice", "isTyping": true});
    assert_eq!(heard(&mut bobs).await, ("room:1:typing".into(), "typing".into(), typing));
}

#[tokio::test]
async fn pages_of_named_origins_are_let_in_and_no_others() {
    let (_server, nobody) = start().await;
    let token = signed(&claims("alice", json!({"publish": ["room:1"]})));
    let said = json!({"channel": "room:1", "event": "said"});
    for (origin, known) in
        [("https://app.example.com", true), ("https://evil.example.com", false), ("null", false)]
    {
        let page = nobody.with(ORIGIN, origin);
        let asked = page
            .with("access-control-request-method", "GET")
            .with("access-control-request-headers", "authorization,last-event-id,x-revalidate-client")
            .send(Method::OPTIONS, "/realtime/events", "")
            .await;
        let refused = page.bearer("nothing").send(Method::GET, "/realtime/events", "").await;
        for response in [&asked, &refused] {
            let headers = response.headers();
            let allowed =
                headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().expect("ASCII"));
            assert_eq!(allowed, known.then_some(origin));
            assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        }
        let headers = asked.headers()[ACCESS_CONTROL_ALLOW_HEADERS].to_str().expect("ASCII");
        assert!(headers.split(',').any(|header| header == "authorization"), "{headers}");

        // What a browser adds by itself is taken from a page that is trusted; what the page knows, from any.
        let browsers = page.with("sec-fetch-site", "cross-site");
        let with_cookie =
            browsers.with(COOKIE, &format!("hub_token={token}")).said("emit", said.clone()).await;
        assert_eq!(with_cookie.0.as_u16(), if known { 204 } else { 403 }, "{origin}: {}", with_cookie.1);
        assert_eq!(browsers.bearer(&token).said("emit", said.clone()).await.0.as_u16(), 204);
    }
}

#[tokio::test]
async fn it_says_that_it_is_well_and_ends_when_told() {
    let (server, nobody) = start().await;
    for (method, path, status) in [
        (Method::GET, "/healthz", 200),
        (Method::HEAD, "/healthz", 200),
        (Method::POST, "/healthz", 405),
        (Method::GET, "/", 404),
        (Method::GET, "/realtime/client.js", 200),
    ] {
        assert_eq!(nobody.send(method, path, "").await.status(), status, "{path}");
    }
    let (mut stream, _) = nobody.follow("news").await;
    let heard = tokio::spawn(async move { stream.end().await });
    assert!(server.end(Signal::Term).await.success());
    let (events, whole) = heard.await.expect("the reader does not panic");
    let bye = events.last().expect("a goodbye");
    assert_eq!((bye.name.as_str(), &bye.data["reason"], whole), ("bye", &json!("shutdown"), true));
}
