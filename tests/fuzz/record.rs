//! What a broker may hand back: no record at all, a record that nobody of ours wrote, at any place of the order.
//! Nothing panics, and nobody hears more than the grant allows.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_revalidate::log::Record;
use tower_revalidate::{Cursor, Epoch, Hub, QueryKey};

use super::rights::{self, CHANNELS, SCOPES};
use super::tape::through_bytes;
use super::{Input, Rights, Tape, Viewer, dispatched, on_runtime};

const WORDS: [&str; 26] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\"revalidate\"",
    "\"message\"",
    "\"regrant\"",
    "\"audience\":",
    "\"everyone\"",
    "\"scopes\":[",
    "\"keys\":[[",
    "\"origin\":",
    "\"channel\":",
    "\"event\":",
    "\"data\":",
    "\"identity\":",
    "null",
    "\"room:1\"",
    "\"user:7\"",
    "\\u0000",
    "\\n",
    "1e999",
    "\"0123456789abcdef0123456789abcdef\"",
];

/// A record as its JSON says it, read without the crate.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Revalidate { audience: Value, keys: Vec<QueryKey> },
    Message { channel: String, event: Value, data: Value },
    Regrant {},
}

/// The cases are what a broker hands over, one after the other; the first also says who listens.
pub fn record(cases: &[&[u8]]) {
    on_runtime(async {
        let tape = Tape::new();
        let hub = rights::declare(Hub::builder().event_log(tape.clone())).seed(7).build().unwrap();
        let mut viewers = Vec::new();
        for case in cases.iter().take(3) {
            let rights = Rights::draw(&mut Input::new(case));
            viewers.push((follow(&hub, &rights).await, rights));
        }
        let mut handed = Vec::new();
        for case in cases {
            hand(&hub, &tape, &mut Input::new(case), &mut handed);
        }
        dispatched().await;
        for (viewer, rights) in &mut viewers {
            viewer.read();
            judge(viewer, rights, &handed);
        }
    });
}

async fn follow(hub: &Hub, rights: &Rights) -> Viewer {
    let list: String = form_urlencoded::byte_serialize(CHANNELS.join(",").as_bytes()).collect();
    let mut request = Request::get(format!("/events?channels={list}")).body(Empty::<Bytes>::new()).unwrap();
    request.extensions_mut().insert(rights.grant());
    let response = hub.service().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut viewer = Viewer::new(response.into_body(), None);
    viewer.read();
    viewer
}

fn hand(hub: &Hub, tape: &Tape, input: &mut Input<'_>, handed: &mut Vec<What>) {
    let follower = tape.follower();
    let tip = hub.cursor();
    match input.below(16) {
        14 => {
            let some = tip.offset.saturating_add(input.below(4) as u64);
            drop(follower.trimmed(if input.once_in(16) { input.number(tip.offset) } else { some }));
        }
        15 => {
            // A new epoch is another one: that is the log's part.
            let epoch =
                Epoch::from_random(tip.offset.wrapping_mul(256).wrapping_add(u64::from(input.byte()) + 1000));
            let offset = if input.once_in(16) { input.number(0) } else { u64::from(input.byte()) };
            drop(follower.reset(Cursor { epoch, offset }));
        }
        _ => {
            let mut json = written(input).into_bytes();
            if input.once_in(2) {
                (0..input.below(6)).for_each(|_| input.stir(&mut json, &WORDS));
            }
            let near = tip.offset.saturating_add(1);
            let offset = if input.once_in(8) { input.number(near) } else { near };
            let epoch =
                if input.once_in(16) { Epoch::from_random(u64::from(input.byte())) } else { tip.epoch };
            let Ok(record) = serde_json::from_slice::<Record>(&json) else { return };
            drop(follower.event(Cursor { epoch, offset }, &through_bytes(&record)));
            let text = serde_json::to_string(&record).unwrap();
            handed.push(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}")));
        }
    }
}

/// A record as a node of another version might write it.
fn written(input: &mut Input<'_>) -> String {
    let scopes: Vec<_> =
        (0..input.below(4)).map(|_| *input.pick(&[&SCOPES[0], &SCOPES[1], &SCOPES[2]])).collect();
    let record = match input.below(4) {
        0 => json!({"revalidate": {"audience": "everyone", "keys": [["for", "everyone"], [input.json(2)]]}}),
        1 => json!({"revalidate": {"audience": {"scopes": scopes}, "keys": [["for", scopes]],
            "origin": "0123456789abcdef0123456789abcdef"}}),
        2 => {
            let name = rights::name(input);
            json!({"message": {"channel": name, "event": input.text(&WORDS), "data": input.json(3)}})
        }
        _ => json!({"regrant": {"identity": input.pick(&["7", "8", ""])}}),
    };
    if input.once_in(4) { serde_json::to_string_pretty(&record).unwrap() } else { record.to_string() }
}

fn judge(viewer: &Viewer, rights: &Rights, handed: &[What]) {
    for message in viewer.named("message") {
        let channel = message["channel"].as_str().unwrap();
        assert!(rights.may_follow(channel), "{message} is outside of the grant");
        let told = handed.iter().any(|what| match what {
            What::Message { channel: its, event, data } => {
                its == channel && *event == message["event"] && *data == message["data"]
            }
            _ => false,
        });
        assert!(told, "{message} was never handed over");
    }
    for said in viewer.named("revalidate") {
        for key in said["keys"].as_array().unwrap() {
            let prefix = QueryKey::try_from(key.clone()).unwrap();
            let told = handed.iter().any(|what| match what {
                What::Revalidate { audience, keys } => {
                    let scopes = audience["scopes"].as_array();
                    let hears =
                        scopes.is_none_or(|own| own.iter().any(|scope| rights.is(scope.as_str().unwrap())));
                    hears && keys.iter().any(|key| prefix.covers(key))
                }
                _ => false,
            });
            assert!(told, "{key} is outside of the grant of {rights:?}");
        }
    }
}
