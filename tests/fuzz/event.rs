//! Anything published: refused for a reason that the documentation gives, or heard as it was, and nothing else
//! is in the stream.

use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use http_body_util::Empty;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tower::ServiceExt;
use tower_revalidate::{Channel, Event, Grant, Hub, Pattern, QueryKey, Revalidate};

use super::input::sorted;
use super::rights::{self, is_name};
use super::{Input, Tape, Viewer, on_runtime};

const NAMES: [&str; 6] = ["new_message", "m", "é", "data", "id", "event"];

/// Bytes of a payload.
const MAX_BYTES: usize = 1000;

/// One publish of a message.
struct Said {
    channel: String,
    event: String,
    /// As it is written, with line endings where JSON may have some; none for what does not serialise.
    data: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    channel: String,
    event: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

/// The cases are publishes; one stream and one subscription hear them all.
pub fn event(cases: &[&[u8]]) {
    on_runtime(async {
        let hub = Hub::builder().max_payload_bytes(MAX_BYTES).event_log(Tape::new()).seed(7).build().unwrap();
        let all: Vec<Said> = cases.iter().map(|case| Said::draw(&mut Input::new(case))).collect();
        let channels: Vec<_> =
            all.iter().filter(|said| is_name(&said.channel)).map(|said| &*said.channel).collect();
        let (mut viewer, mut subscription) = follow(&hub, &channels).await;

        let mut due = Vec::new();
        let mut keys = Vec::new();
        for (said, case) in all.iter().zip(cases) {
            let receipt = match (&said.data, Channel::parse(&said.channel)) {
                (Some(data), Ok(channel)) => hub.channel(channel).publish(&said.event, data),
                (None, Ok(channel)) => hub.channel(channel).publish(&said.event, &Unserialisable),
                (_, Err(error)) => hub.channel(Err(error)).publish(&said.event, &0),
            };
            let receipt = receipt.into_future().now_or_never().expect("the log answers at once");
            assert_eq!(receipt.is_ok(), said.is_sound(), "{receipt:?}: {:?} {:?}", said.channel, said.event);
            if said.is_sound() {
                due.push(said);
            }
            let key = Input::new(case).json(3);
            if let Ok(key) = QueryKey::try_from(serde_json::json!(["fuzz", key])) {
                keys.push(key.clone());
                hub.revalidate(Revalidate::key(key))
                    .into_future()
                    .now_or_never()
                    .expect("the log answers at once")
                    .unwrap();
            }
        }
        viewer.read();
        judge(&viewer, &due, &keys);

        while let Some(event) = subscription.try_recv().unwrap() {
            match event {
                Event::Message(message) => {
                    let said = due.remove(0);
                    assert_eq!((message.channel.as_str(), &message.event), (&*said.channel, &said.event));
                    assert_eq!(message.data, said.one_line());
                }
                Event::Revalidate(stale) => {
                    assert!(keys.iter().all(|key| stale.keys.iter().any(|prefix| prefix.covers(key))));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(due.is_empty());
    });
}

impl Said {
    fn draw(input: &mut Input<'_>) -> Self {
        let event = if input.once_in(2) { input.text(&NAMES) } else { input.pick(&NAMES).to_owned() };
        let channel = if input.once_in(4) { rights::name(input) } else { format!("room:{}", input.below(3)) };
        let value = input.json(3);
        let data = match input.below(8) {
            0 => None,
            1 => serde_json::to_string_pretty(&value).ok(),
            2 => serde_json::to_string_pretty(&value).map(|text| text.replace('\n', "\r\n")).ok(),
            3 => serde_json::to_string_pretty(&value).map(|text| text.replace('\n', "\r") + "\n\n").ok(),
            4 if input.once_in(4) => Some(format!("\"{}\"", "x".repeat(MAX_BYTES - input.below(4)))),
            _ => Some(value.to_string()),
        };
        Said { channel, event, data: data.map(|text| RawValue::from_string(text).unwrap()) }
    }

    /// Whether the documentation says that it may be published.
    fn is_sound(&self) -> bool {
        let control = |c: char| c < ' ' || ('\u{7f}'..='\u{9f}').contains(&c);
        let named = (1..=128).contains(&self.event.len()) && !self.event.chars().any(control);
        let fits = self.data.as_ref().is_some_and(|data| data.get().len() <= MAX_BYTES);
        is_name(&self.channel) && named && fits
    }

    fn one_line(&self) -> String {
        self.data.as_ref().unwrap().get().replace(['\r', '\n'], " ")
    }
}

async fn follow(hub: &Hub, channels: &[&str]) -> (Viewer, tower_revalidate::Subscription) {
    let everything = Grant::user("7").follow(Pattern::any());
    let list: String = form_urlencoded::byte_serialize(channels.join(",").as_bytes()).collect();
    let mut request = Request::get(format!("/events?channels={list}")).body(Empty::<Bytes>::new()).unwrap();
    request.extensions_mut().insert(everything.clone());
    let response = hub.service().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut subscription = hub.subscribe(everything).unwrap();
    for channel in channels {
        subscription = subscription.follow(Channel::parse(channel)).unwrap();
    }
    (Viewer::new(response.into_body(), None), subscription)
}

fn judge(viewer: &Viewer, due: &[&Said], keys: &[QueryKey]) {
    let messages: Vec<_> = viewer.frames.iter().filter(|frame| frame.name == "message").collect();
    assert_eq!(messages.len(), due.len());
    for (frame, said) in messages.iter().zip(due) {
        let heard: Envelope<'_> = serde_json::from_str(frame.data.as_ref().unwrap()).unwrap();
        assert_eq!((&heard.channel, &heard.event), (&said.channel, &said.event));
        assert_eq!(heard.data.get(), said.one_line().trim_matches(' '));
    }
    assert_eq!(
        viewer.frames.iter().filter(|frame| !["", "message", "revalidate"].contains(&&*frame.name)).count(),
        1
    );
    assert_eq!(viewer.hello()["resumed"], false);

    // Each key, or one that covers it; and nothing that nobody said.
    let told: Vec<String> = viewer.keys().iter().map(sorted).collect();
    assert!(told.iter().all(|told| keys.iter().any(|key| key.as_json() == told)), "{told:?} of {keys:?}");
    for key in keys {
        assert!(told.iter().any(|told| told == key.as_json()), "{key} of {told:?}");
    }
}
