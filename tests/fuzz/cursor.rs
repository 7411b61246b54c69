//! Any cursor: the stream is fresh, resumed with exactly what was missed, or told of a gap (PROTOCOL R4).

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Empty;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_revalidate::{Cursor, Grant, Hub, Policy, Revalidate};

use super::{Input, Viewer, on_runtime};

const CHANNELS: [&str; 3] = ["room:1", "room:2", "news"];
/// Messages that are kept of a room.
const KEPT: usize = 3;

/// What happened, by its offset less one.
#[derive(Debug, Clone, Copy)]
enum Happened {
    Message(usize),
    Key,
    OwnKey,
    OthersKey,
    Regrant,
}

struct World {
    hub: Hub,
    /// Before the first event.
    start: Cursor,
    history: Vec<Happened>,
}

/// Where a session comes back to, judged by PROTOCOL R4.
enum Place {
    Fresh,
    At(u64),
    Astray(&'static str),
}

/// The cases are cursors; the first of them says what happened before.
pub fn cursor(cases: &[&[u8]]) {
    on_runtime(async {
        let world = World::draw(&mut Input::new(cases.first().unwrap_or(&&[][..])));
        for case in cases {
            let mut input = Input::new(case);
            let user = !input.once_in(4);
            let header = (!input.once_in(4)).then(|| world.cursor(&mut input));
            let header = header.and_then(|header| HeaderValue::from_bytes(&header).ok());
            let query = (!input.once_in(2)).then(|| world.cursor(&mut input));
            let query = query.filter(|query| query.len() < 2000); // longer ones are refused whole
            world.judge(user, header.as_ref(), query.as_deref()).await;
        }
        assert_eq!(world.hub.stats().sessions, 0);
    });
}

impl World {
    fn draw(input: &mut Input<'_>) -> Self {
        let builder = Hub::builder().channel("room:*", Policy::history(KEPT as u32));
        let hub = builder.channel("news", Policy::history(1000).public()).seed(7).build().unwrap();
        let start = hub.cursor();
        let mut world = World { hub, start, history: Vec::new() };
        for _ in 0..input.below(48) {
            world.happen(match input.below(8) {
                at @ 0..3 => Happened::Message(at),
                3 => Happened::Message(0),
                4 => Happened::Key,
                5 => Happened::OwnKey,
                6 => Happened::OthersKey,
                _ if input.once_in(4) => Happened::Regrant,
                _ => Happened::Message(1),
            });
        }
        world
    }

    fn happen(&mut self, what: Happened) {
        self.history.push(what);
        let offset = self.history.len();
        let key = Revalidate::key(("at", offset));
        drop(match what {
            Happened::Message(channel) => self.hub.channel(CHANNELS[channel]).publish("said", &offset),
            Happened::Key => self.hub.revalidate(key),
            Happened::OwnKey => self.hub.revalidate(key.to("user:7")),
            Happened::OthersKey => self.hub.revalidate(key.to("user:8")),
            Happened::Regrant => self.hub.regrant("7"),
        });
        assert_eq!(self.hub.cursor(), Cursor { offset: offset as u64, ..self.start });
    }

    fn tip(&self) -> u64 {
        self.history.len() as u64
    }

    /// A cursor of some time, or what somebody made of one.
    fn cursor(&self, input: &mut Input<'_>) -> Vec<u8> {
        let own = self.start.epoch.to_string();
        let at = if input.once_in(2) { self.tip() } else { self.tip() / 2 };
        let offset = input.number(at);
        let mut text = match input.below(8) {
            0..=3 => format!("{own}-{offset:x}"),
            4 => format!("{own}-{offset:016x}"),
            5 => format!("{own}-{offset:017X}"),
            6 => format!("{}-{offset:x}", &own[..input.below(own.len() + 1)]),
            _ => String::new(),
        };
        if input.once_in(8) {
            text = [" ", "\t", "+", "0x", "-"][input.below(5)].to_owned() + &text;
        }
        let mut text = text.into_bytes();
        if input.once_in(2) {
            (0..input.below(4)).for_each(|_| input.stir(&mut text, &[&own, "-", "0", "f", "a-1", " "]));
        }
        text
    }

    /// What a header and a query of these mean: the header wins, and an empty one is none.
    fn place(&self, user: bool, header: Option<&HeaderValue>, query: Option<&[u8]>) -> Place {
        let text = match header.filter(|header| !header.is_empty()) {
            Some(header) => header.to_str().map(str::to_owned).ok(),
            None => Some(String::from_utf8_lossy(query.unwrap_or_default()).into_owned()),
        };
        let Some(text) = text else { return Place::Astray("unknown") };
        let text = text.trim();
        if text.is_empty() {
            return Place::Fresh;
        }
        let digits = |text: &str| {
            (1..=16).contains(&text.len()) && text.chars().all(|c| "0123456789abcdef".contains(c))
        };
        let offset = text.strip_prefix(self.start.epoch.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let Some(offset) = offset.filter(|offset| digits(offset)) else { return Place::Astray("unknown") };
        let offset = u64::from_str_radix(offset, 16).unwrap();
        let regranted = self.history.iter().rposition(|what| matches!(what, Happened::Regrant));
        match offset {
            _ if offset > self.tip() => Place::Astray("ahead"),
            _ if user && regranted.is_some_and(|at| offset <= at as u64) => Place::Astray("grant"),
            _ => Place::At(offset),
        }
    }

    async fn judge(&self, user: bool, header: Option<&HeaderValue>, query: Option<&[u8]>) {
        let mut uri = "/events?channels=news,room:1,room:2".to_owned();
        if let Some(query) = query {
            uri.extend(["&lastEventId="].into_iter().chain(form_urlencoded::byte_serialize(query)));
        }
        let mut request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        request.headers_mut().extend(header.map(|header| ("last-event-id".parse().ok(), header.clone())));
        if user {
            request.extensions_mut().insert(Grant::user("7").follow("room:*"));
        }
        let response = self.hub.service().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let place = self.place(user, header, query);
        let came_with = match place {
            Place::At(offset) => Some(Cursor { offset, ..self.start }.to_string()),
            _ => None,
        };
        let mut viewer = Viewer::new(response.into_body(), came_with.as_deref());
        viewer.read();

        let id = |offset| Some(Cursor { offset, ..self.start }.to_string());
        let hello = viewer.hello();
        assert_eq!(hello["resumed"], matches!(place, Place::At(_)), "{header:?} {query:?}");
        assert_eq!(viewer.parser.last_event_id, id(self.tip()).unwrap(), "all of it was told");
        let gaps: Vec<Value> = viewer.named("gap").collect();
        match place {
            Place::Fresh => {
                assert_eq!(viewer.frames[0].id, id(self.tip()));
                assert_eq!(viewer.frames.len(), 1, "{:?}", viewer.frames);
            }
            Place::Astray(reason) => {
                assert_eq!(viewer.frames[0].id, None, "it does not know where it is");
                assert_eq!(viewer.frames.len(), 2, "{:?}", viewer.frames);
                assert_eq!((&gaps[0]["reason"], gaps[0].get("channels")), (&json!(reason), None));
            }
            Place::At(offset) => {
                assert_eq!(viewer.frames[0].id, id(offset));
                self.judge_resumed(user, offset, &gaps, &viewer);
            }
        }
    }

    /// Each thing that was missed once, in order, or a gap that names its channel.
    fn judge_resumed(&self, user: bool, from: u64, gaps: &[Value], viewer: &Viewer) {
        let on = |channel: usize| {
            let all = self.history.iter().enumerate();
            all.filter(move |(_, what)| matches!(what, Happened::Message(its) if *its == channel))
                .map(|(at, _)| at as u64 + 1)
                .collect::<Vec<_>>()
        };
        let (mut due, mut holes) = (BTreeSet::<u64>::new(), Vec::new());
        for channel in if user { vec![2, 0, 1] } else { vec![2] } {
            let all = on(channel);
            let kept = if channel == 2 { &all[..] } else { &all[all.len().saturating_sub(KEPT)..] };
            due.extend(kept.iter().filter(|at| **at > from));
            if all.len() > kept.len() && all[all.len() - kept.len() - 1] > from {
                holes.push(CHANNELS[channel]);
            }
        }
        let heard: Vec<_> =
            viewer.named("message").map(|message| message["data"].as_u64().unwrap()).collect();
        assert!(heard.iter().eq(&due), "{heard:?} of {due:?}");
        let told: Vec<_> = gaps.iter().flat_map(|gap| gap["channels"].as_array().unwrap()).collect();
        assert_eq!(json!(told), json!(holes));
        assert_eq!(gaps.len(), usize::from(!holes.is_empty()));

        let stale = self.history.iter().enumerate().skip(from as usize);
        let stale = stale.filter(|(_, what)| match what {
            Happened::Key => true,
            Happened::OwnKey => user,
            _ => false,
        });
        let stale: BTreeSet<_> = stale.map(|(at, _)| format!("[\"at\",{}]", at + 1)).collect();
        let told: BTreeSet<_> = viewer.keys().iter().map(Value::to_string).collect();
        assert_eq!(told, stale);
    }
}
