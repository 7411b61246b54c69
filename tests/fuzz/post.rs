//! What clients and trusted senders may post: never a status of 5xx, never a panic, and nothing is published but what
//! its sender may publish, by the words of the documentation.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_revalidate::{ClientEvent, Event, Grant, Hub, QueryKey, Subscription};

use super::rights::{self, SCOPES, is_name};
use super::{Input, Rights, on_runtime};

/// Bytes of a payload.
const MAX_BYTES: usize = 1000;
const PIECES: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "\"channel\":",
    "\"event\":",
    "\"data\":",
    "\"payload\":",
    "\"keys\":",
    "\"to\":",
    "\"room:1\"",
    "\"said\"",
    "\\ud800",
    "1e999",
    "\"everyone\"",
    "\"user:7\"",
    "**",
    " ",
];
const EVENTS: [&str; 8] = ["said", "moved", "ask", "join", "leave", "hello", "presence_update", ""];
const TYPES: [&str; 6] = [
    "application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
];
const SITES: [&str; 5] = ["same-origin", "none", "same-site", "cross-site", ""];
const CREDENTIALS: [&str; 4] = ["a=b", "Basic YTpi", "Bearer x", "negotiate"];

/// What stands around a body.
struct Head {
    rights: Rights,
    content_type: Option<&'static str>,
    /// In `Cookie`, or in `Authorization`.
    credential: Option<&'static str>,
    site: Option<&'static str>,
}

impl Head {
    fn draw(input: &mut Input<'_>) -> Self {
        let mut known = |of: &[&'static str]| (!input.once_in(4)).then(|| of[input.below(of.len())]);
        let (credential, site) = (known(&CREDENTIALS), known(&SITES));
        let content_type = match input.below(8) {
            0..=5 => Some(TYPES[0]),
            6 => Some(TYPES[input.below(TYPES.len())]),
            _ => None,
        };
        // Mostly from here, or there would be little to say of the rest.
        let site = if input.once_in(4) { site } else { None };
        Head { rights: Rights::draw(input), content_type, credential, site }
    }

    /// Why it is refused before anybody looks into the body, if it is.
    fn refused(&self, body: &[u8]) -> Option<u16> {
        let ambient = self.credential.is_some_and(|credential| !credential.starts_with("Bearer"));
        let elsewhere = self.site.is_some_and(|site| site != "same-origin" && site != "none");
        if ambient && elsewhere {
            return Some(403);
        }
        let is_json = self.content_type.is_some_and(|kind| kind == TYPES[0] || kind == TYPES[1]);
        match is_json {
            false => Some(415),
            true => (body.len() > MAX_BYTES + 4096).then_some(413),
        }
    }

    async fn send(&self, hub: &Hub, path: &str, body: &[u8]) -> (u16, Value) {
        let body = Full::new(Bytes::copy_from_slice(body));
        let mut request = Request::post(format!("/realtime/{path}")).body(body).unwrap();
        let mut set = |name: &'static str, value: Option<&'static str>| {
            let value = value.map(|value| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            request.headers_mut().extend(value);
        };
        set("content-type", self.content_type);
        set("sec-fetch-site", self.site);
        match self.credential {
            Some(cookie) if cookie.contains('=') => set("cookie", Some(cookie)),
            other => set("authorization", other),
        }
        request.extensions_mut().insert(self.grant());
        let (head, body) = hub.service().oneshot(request).await.unwrap().into_parts();
        let status = head.status.as_u16();
        assert!(status < 500, "{status}");
        let body = body.collect().await.unwrap().to_bytes();
        let answer = if status == 204 { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        if status >= 400 {
            assert!(answer["code"].is_string() && answer["message"].is_string(), "{answer}");
        }
        (status, answer)
    }

    /// What the rights allow to follow, here they allow to publish.
    fn grant(&self) -> Grant {
        self.rights.follow.iter().fold(self.rights.grant(), |grant, right| grant.publish(right.pattern()))
    }

    fn may_publish(&self, channel: &str) -> bool {
        is_name(channel) && self.rights.allow(channel)
    }
}

/// A channel, an event and a payload that were published.
type Heard = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A hub that tells of every message, with an authorizer that takes what the request has.
fn hub() -> (Hub, Heard) {
    let heard = Heard::default();
    let hears = heard.clone();
    let filter = move |channel: &tower_revalidate::Channel, event: &str, data: &str| {
        let data = serde_json::from_str(data).expect("what is published is JSON");
        hears.lock().unwrap().push((channel.to_string(), event.to_owned(), data));
        true
    };
    let of_parts = |parts: http::request::Parts| {
        std::future::ready(Ok(parts.extensions.get::<Grant>().cloned().unwrap_or_default()))
    };
    let hub = rights::declare(Hub::builder()).max_payload_bytes(MAX_BYTES).filter(filter).broadcast(of_parts);
    (hub.seed(7).build().unwrap(), heard)
}

/// The cases are bodies of `emit`.
pub fn emit(cases: &[&[u8]]) {
    on_runtime(async {
        let (hub, heard) = hub();
        hub.relay("room:*", "said");
        hub.relay("user:**", "moved");
        hub.on("**", "ask", async |event: ClientEvent| Ok(event.data));
        hub.on("**", "join", async |_: ClientEvent| -> Result<(), _> { panic!("a client joined by itself") });
        for case in cases {
            let mut input = Input::new(case);
            let head = Head::draw(&mut input);
            let (channel, event) = (rights::name(&mut input), event(&mut input));
            let data = payload(&mut input);
            let mut body = json!({"channel": channel, "event": event, "data": data}).to_string().into_bytes();
            let sound = !input.once_in(3);
            if !sound {
                (0..=input.below(3)).for_each(|_| input.stir(&mut body, &PIECES));
            }
            let (status, answer) = head.send(&hub, "emit", &body).await;
            let heard = std::mem::take(&mut *heard.lock().unwrap());
            for (channel, event, data) in &heard {
                assert!(head.may_publish(channel), "{channel}");
                assert!(head.refused(&body).is_none() && (status == 204 || status == 413), "{status}");
                assert!(is_relayed(channel, event), "{channel} {event}");
                assert_eq!(data["by"], json!(head.rights.user));
            }
            if sound {
                let expected = expected(&head, &body, &channel, &event, &data);
                assert_eq!(status, expected, "{answer} to {}", String::from_utf8_lossy(&body));
                match &heard[..] {
                    [] => assert!(status != 204 || (event == "ask" && data.is_null())),
                    [(_, _, relayed)] => assert_eq!(relayed["data"], data),
                    more => panic!("{more:?}"),
                }
                if status == 200 {
                    assert_eq!(answer, data);
                }
            }
        }
    });
}

fn event(input: &mut Input<'_>) -> String {
    match input.below(8) {
        0..=2 => "said".into(),
        3 => input.text(&EVENTS),
        _ => input.pick(&EVENTS).to_owned(),
    }
}

fn payload(input: &mut Input<'_>) -> Value {
    match input.below(16) {
        0 => "x".repeat(MAX_BYTES - input.below(4)).into(),
        1 => "x".repeat(MAX_BYTES - 2 - input.below(100)).into(),
        _ => input.json(3),
    }
}

fn is_relayed(channel: &str, event: &str) -> bool {
    let parts: Vec<_> = channel.split(':').collect();
    match event {
        "said" => parts.len() == 2 && parts[0] == "room",
        "moved" => parts.len() >= 2 && parts[0] == "user",
        _ => false,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// What the documentation says of it.
fn expected(head: &Head, body: &[u8], channel: &str, event: &str, data: &Value) -> u16 {
    let bytes = data.to_string().len();
    // As long as any time until the year 2286.
    let relayed =
        json!({"by": head.rights.user, "at": 1_700_000_000_000_u64, "data": data}).to_string().len();
    match head.refused(body) {
        Some(status) => status,
        None if !is_name(channel) => 400,
        None if bytes > MAX_BYTES => 413,
        None if depth(data) > 100 => 400,
        None if event == "join" || event == "leave" => 400,
        // Of nobody who is present; it asks for no right to publish.
        None if event == "presence_update" && bytes > 1024 => 413,
        None if event == "presence_update" => 409,
        None if !head.may_publish(channel) && head.rights.user.is_none() => 401,
        None if !head.may_publish(channel) => 403,
        None if event == "ask" && data.is_null() => 204,
        None if event == "ask" => 200,
        None if !is_relayed(channel, event) => 404,
        None if relayed > MAX_BYTES => 413,
        None => 204,
    }
}

/// The cases are bodies of `broadcast`.
pub fn broadcast(cases: &[&[u8]]) {
    on_runtime(async {
        let (hub, heard) = hub();
        for case in cases {
            let mut input = Input::new(case);
            let head = Head::draw(&mut input);
            let channel = rights::name(&mut input);
            let event = (!input.once_in(2)).then(|| event(&mut input));
            let data = payload(&mut input);
            let mut body = json!({"channel": channel, "payload": data});
            body.as_object_mut()
                .unwrap()
                .extend(event.clone().map(|event| ("event".to_owned(), event.into())));
            let mut body = body.to_string().into_bytes();
            let sound = !input.once_in(3);
            if !sound {
                (0..=input.below(3)).for_each(|_| input.stir(&mut body, &PIECES));
            }
            let (status, answer) = head.send(&hub, "broadcast", &body).await;
            let heard = std::mem::take(&mut *heard.lock().unwrap());
            assert_eq!(heard.len(), usize::from(status == 200), "{status}");
            for (channel, ..) in &heard {
                assert!(head.may_publish(channel) && head.refused(&body).is_none(), "{channel}");
                assert_eq!(answer, json!({"success": true, "channel": channel}));
            }
            if sound {
                let event = event.unwrap_or_else(|| "broadcast".into());
                let control = |c: char| c < ' ' || ('\u{7f}'..='\u{9f}').contains(&c);
                let ours = ["hello", "revalidate", "gap", "bye", "presence", "presence_update"];
                let is_event = (1..=128).contains(&event.len()) && !event.chars().any(control);
                let expected = match head.refused(&body) {
                    Some(status) => status,
                    None if !is_name(&channel) => 400,
                    None if !is_event || ours.contains(&&*event) => 400,
                    None if data.to_string().len() > MAX_BYTES => 413,
                    None if depth(&data) > 100 => 400,
                    None if !head.may_publish(&channel) && head.rights.user.is_none() => 401,
                    None if !head.may_publish(&channel) => 403,
                    None => 200,
                };
                assert_eq!(status, expected, "{answer} to {}", String::from_utf8_lossy(&body));
                if status == 200 {
                    assert_eq!(heard, [(channel, event, data)]);
                }
            }
        }
    });
}

/// The cases are bodies of `revalidate`.
pub fn revalidate(cases: &[&[u8]]) {
    on_runtime(async {
        let (hub, _) = hub();
        let mut user = hub.subscribe(Grant::anonymous().scope("user:7")).unwrap();
        let mut stranger = hub.subscribe(Grant::anonymous()).unwrap();
        for case in cases {
            let mut input = Input::new(case);
            let head = Head::draw(&mut input);
            let keys: Vec<_> = (0..input.below(4)).map(|_| key(&mut input)).collect();
            let to: Option<Vec<String>> = (!input.once_in(3)).then(|| {
                (0..input.below(3))
                    .map(|_| match input.below(4) {
                        0 => input.text(&["user:7", ":", "*", "role", "everyone"]),
                        _ => input.pick(&SCOPES).to_owned(),
                    })
                    .collect()
            });
            let mut body = json!({"keys": keys});
            body.as_object_mut().unwrap().extend(to.clone().map(|to| ("to".to_owned(), json!(to))));
            let mut body = body.to_string().into_bytes();
            let sound = !input.once_in(3);
            if !sound {
                (0..=input.below(3)).for_each(|_| input.stir(&mut body, &PIECES));
            }
            let (status, answer) = head.send(&hub, "revalidate", &body).await;
            let (theirs, everyones) = (stale(&mut user), stale(&mut stranger));
            let text = String::from_utf8_lossy(&body);
            if status == 200 {
                assert!(head.refused(&body).is_none());
                assert_eq!(answer, json!({"success": true}));
                // Whatever became of it: an audience that is named is no one else.
                let says_to = serde_json::from_str::<Value>(&text).unwrap().get("to").is_some();
                assert!(!says_to || everyones.is_empty(), "{text}");
            } else {
                assert!(theirs.is_empty() && everyones.is_empty(), "{text} was refused");
            }
            if sound {
                let known: Option<Vec<QueryKey>> = keys.iter().map(known).collect();
                let is_for = |scope: &str| to.as_ref().is_none_or(|to| to.iter().any(|to| to == scope));
                let scopes = to.as_ref().is_none_or(|to| to.iter().all(|scope| is_name(scope)));
                let expected = match (head.refused(&body), &known) {
                    (Some(status), _) => status,
                    (None, Some(known)) if scopes && !known.is_empty() => 200,
                    (None, _) => 400,
                };
                assert_eq!(status, expected, "{answer} to {text}");
                if status == 200 {
                    let known = known.unwrap();
                    let heard = |keys: &[QueryKey]| {
                        assert!(keys.iter().all(|key| known.contains(key)), "{keys:?} of {known:?}");
                        known.iter().all(|key| keys.iter().any(|heard| heard.covers(key)))
                    };
                    assert_eq!(heard(&theirs), is_for("user:7"), "{text}");
                    assert_eq!(heard(&everyones), to.is_none(), "{text}");
                }
            }
        }
    });
}

/// A dotted literal, an array of segments, or something else.
fn key(input: &mut Input<'_>) -> Value {
    match input.below(8) {
        0..=2 => input.pick(&["posts.list", "posts", "a.b.c", "x", "é"]).into(),
        3 => input.text(&["posts", ".", "list", " "]).into(),
        4 => input.json(2),
        _ => (0..input.below(4)).map(|_| input.json(1)).collect(),
    }
}

/// What it means, as the documentation says.
fn known(said: &Value) -> Option<QueryKey> {
    match said {
        Value::String(dotted) => {
            let segments: Vec<Value> = dotted.split('.').map(Value::from).collect();
            let is_whole = segments.iter().all(|segment| segment != "");
            is_whole.then(|| QueryKey::try_from(Value::Array(segments)).ok()).flatten()
        }
        other => QueryKey::try_from(other.clone()).ok(),
    }
}

fn stale(sub: &mut Subscription) -> Vec<QueryKey> {
    let mut keys = Vec::new();
    while let Some(event) = sub.try_recv().unwrap() {
        let Event::Revalidate(stale) = event else { panic!("{event:?}") };
        keys.extend(stale.keys);
    }
    keys
}
