//! Who may hear what: the server says it, whatever a client says.

use e2e::{Client, Server};
use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

pub(crate) async fn a_denied_channel_is_listed_and_the_rest_opens(_server: Server, nobody: Client) {
    let carol = nobody.signed_in("carol");
    let asked = "room:1,announcements,user:alice:notices,user:carol:notices,nowhere,*,room:*,a%00b,%0A,%20";
    let (mut stream, hello) = carol.follow(asked).await;
    assert_eq!(hello["channels"], json!(["announcements", "user:carol:notices"]), "{hello}");
    let denied = |code, names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({"channel": name, "code": code})).collect()
    };
    let mut expected = denied("accessdenied", &["room:1", "user:alice:notices", "nowhere"]);
    expected.extend(denied("malformed", &["*", "room:*", "a\0b", "\n"]));
    let mut listed = hello["denied"].as_array().expect("a list").clone();
    listed.retain(|one| one["channel"] != " ");
    assert_eq!(listed, expected);

    carol.post("/announce", &json!({"text": "hear"})).await;
    assert_eq!(stream.message().await, json!({"text": "hear"}));
}

pub(crate) async fn too_much_is_refused_and_opens_nothing(_server: Server, nobody: Client) {
    let channels = |count: usize| (0..count).map(|i| format!("c{i}")).collect::<Vec<_>>().join(",");
    let (_, hello) = nobody.follow(&channels(256)).await;
    assert_eq!(hello["denied"].as_array().map(Vec::len), Some(256));

    let one_by_one: String = (0..257).map(|i| format!("channels=c{i}&")).collect();
    for query in [format!("channels={}", channels(257)), one_by_one, format!("x={}", "x".repeat(8192))] {
        let path = format!("/realtime/events?{query}");
        let refused = nobody.send(Method::GET, &path, "").await;
        assert_eq!(refused.headers()[CONTENT_TYPE], "application/json");
        let (status, failure) = nobody.json(Method::GET, &path, "").await;
        assert_eq!((status.as_u16(), &failure["code"]), (400, &json!("malformed")), "{failure}");
        assert!(failure["message"].is_string());
    }
}

pub(crate) async fn what_a_client_claims_has_no_effect(_server: Server, nobody: Client) {
    let alice = nobody.signed_in("alice");
    let (mut hers, _) = alice.follow("room:1,user:alice:notices").await;
    let mut liars = Vec::new();
    for query in [
        "scopes=user:alice&scope=user:alice&user=alice&grant=user:alice&identity=alice",
        "channels=*,**,user:alice:*,user:*:notices,user:alice:notices,room:1,room:*&scopes=*",
    ] {
        for (name, value) in [
            ("x-user", "alice"),
            ("x-scopes", "user:alice"),
            ("authorization", "Bearer alice"),
            ("cookie", "user=*"),
            ("cookie", "user=alice:notices"),
            ("cookie", "superuser=alice; User=alice"),
        ] {
            let (stream, hello) = nobody.with(name, value).open(query).await;
            assert_eq!(hello["channels"], json!([]), "{name}: {value} {hello}");
            liars.push(stream);
        }
    }
    let (status, _) =
        nobody.with("cookie", "user=*").json(Method::PATCH, "/profile", r#"{"name":"x"}"#).await;
    assert_eq!(status, 401);

    alice.json(Method::PATCH, "/profile", r#"{"name":"Al"}"#).await;
    assert_eq!(hers.keys().await, json!([["users", "me"]]));
    alice.post("/rooms/1/messages", &json!({"text": "hi"})).await;
    assert_eq!(hers.message().await["text"], "hi");
    // What is for everyone comes first to those who may hear nothing else.
    alice.post("/posts", &json!({"title": "for everyone"})).await;
    for stream in &mut liars {
        assert_eq!(stream.keys().await, json!([["posts", "list"]]));
    }
}

pub(crate) async fn no_channels_are_no_channels(_server: Server, nobody: Client) {
    let alice = nobody.signed_in("alice");
    let mut streams = Vec::new();
    for query in ["", "channels", "channels=", "channels=,,", "channels=&channels="] {
        let (stream, hello) = alice.open(query).await;
        assert_eq!((&hello["channels"], &hello["denied"]), (&json!([]), &json!([])), "{query:?}");
        streams.push(stream);
    }
    alice.post("/announce", &json!({"text": "hear"})).await;
    alice.post("/rooms/1/messages", &json!({"text": "hi"})).await;
    alice.post("/posts", &json!({"title": "for everyone"})).await;
    for stream in &mut streams {
        assert_eq!(stream.keys().await, json!([["posts", "list"]]));
    }
}

pub(crate) async fn who_follows_much_hears_once(_server: Server, nobody: Client) {
    let alice = nobody.signed_in("alice");
    let mine: String = (0..50).map(|i| format!("user:alice:c{i},")).collect();
    let (mut stream, hello) = alice.follow(&format!("announcements,{mine}room:1,announcements")).await;
    assert_eq!(hello["channels"].as_array().map(Vec::len), Some(52), "{hello}");

    alice.post("/posts", &json!({"title": "for everyone"})).await;
    assert_eq!(stream.keys().await, json!([["posts", "list"]]));
    alice.post("/announce", &json!({"text": "once"})).await;
    assert_eq!(stream.message().await, json!({"text": "once"}));
    alice.post("/rooms/1/messages", &json!({"text": "after it"})).await;
    assert_eq!(stream.message().await["text"], "after it");
}
