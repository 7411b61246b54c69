//! A reader of streams that follows WHATWG HTML, 9.2.6, by the letter, and objects to anything that this crate
//! must never write: an unknown field, an event or an id that is none of ours, an id that goes back.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::Body;
use http_body_util::BodyExt;
use serde_json::Value;
use tower_revalidate::Cursor;

use super::soon;

/// One block of lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// Empty where the block fires no event.
    pub name: String,
    pub data: Option<String>,
    pub id: Option<String>,
    pub retry: Option<u64>,
    pub comments: Vec<String>,
}

impl Frame {
    #[track_caller]
    pub fn json(&self) -> Value {
        let data = self.data.as_deref().unwrap_or_else(|| panic!("{self:?} has no data"));
        serde_json::from_str(data).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// The id as a cursor.
    #[track_caller]
    pub fn cursor(&self) -> Cursor {
        self.id.as_deref().unwrap_or_else(|| panic!("{self:?} has no id")).parse().unwrap()
    }

    /// The keys of a `revalidate`, in the order of their text.
    #[track_caller]
    pub fn keys(&self) -> Vec<String> {
        assert_eq!(self.name, "revalidate", "{self:?}");
        let mut keys: Vec<_> =
            self.json()["keys"].as_array().unwrap().iter().map(ToString::to_string).collect();
        keys.sort();
        keys
    }

    /// The payload of a `message`.
    #[track_caller]
    pub fn payload(&self) -> Value {
        assert_eq!(self.name, "message", "{self:?}");
        let mut envelope = self.json();
        assert_eq!(envelope.as_object().unwrap().len(), 3, "channel, event and data: {self:?}");
        envelope["data"].take()
    }
}

/// Bytes to frames.
pub struct Parser {
    /// Everything that came, as it came.
    pub raw: Vec<u8>,
    /// What an `EventSource` would send when it comes back.
    pub last_event_id: String,
    line: Vec<u8>,
    after_cr: bool,
    frame: Frame,
    parsed: VecDeque<Frame>,
}

impl Parser {
    pub fn new(came_with: Option<&str>) -> Self {
        Parser {
            raw: Vec::new(),
            last_event_id: came_with.unwrap_or_default().to_owned(),
            line: Vec::new(),
            after_cr: false,
            frame: Frame::default(),
            parsed: VecDeque::new(),
        }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        for &byte in bytes {
            let crlf = std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
            match byte {
                _ if crlf => {}
                b'\r' | b'\n' => self.end_line(),
                byte => self.line.push(byte),
            }
        }
    }

    pub fn frame(&mut self) -> Option<Frame> {
        self.parsed.pop_front()
    }

    fn end_line(&mut self) {
        let line = String::from_utf8(std::mem::take(&mut self.line)).expect("a stream is UTF-8");
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} is no field"));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.frame.comments.push(value.to_owned()),
            "id" => assert_eq!(self.frame.id.replace(value.to_owned()), None, "two ids in {:?}", self.frame),
            "event" => {
                assert!(self.frame.name.is_empty(), "two names in {:?}", self.frame);
                value.clone_into(&mut self.frame.name);
            }
            "retry" => self.frame.retry = Some(value.parse().expect("digits")),
            "data" => match &mut self.frame.data {
                Some(data) => data.extend(["\n", value]),
                None => self.frame.data = Some(value.to_owned()),
            },
            _ => panic!("{line:?} is a field that nobody writes"),
        }
    }

    fn dispatch(&mut self) {
        let frame = std::mem::take(&mut self.frame);
        assert_ne!(frame, Frame::default(), "an empty block");
        assert!(
            ["", "hello", "revalidate", "message", "gap", "bye"].contains(&&*frame.name),
            "an event that nobody writes: {frame:?}"
        );
        assert_eq!(frame.name.is_empty(), frame.data.is_none(), "{frame:?}");
        if let Some(id) = &frame.id {
            let id: Cursor = id.parse().unwrap_or_else(|_| panic!("{id:?} is no cursor"));
            // A place that was not understood does not bind; where it was, no id goes back (PROTOCOL R1).
            let whole_gap = frame.name == "gap" && frame.json().get("channels").is_none();
            if let Ok(last) = self.last_event_id.parse::<Cursor>() {
                assert!(whole_gap || last.epoch != id.epoch || last.offset <= id.offset, "{id} after {last}");
            }
            for comment in frame.comments.iter().filter(|comment| !comment.is_empty()) {
                assert_eq!(comment, &id.to_string(), "the comment and the id of a heartbeat are one");
            }
            self.last_event_id = id.to_string();
        }
        self.parsed.push_back(frame);
    }
}

/// A stream of events, in process or over a socket.
pub struct Stream<B> {
    body: Pin<Box<B>>,
    pub parser: Parser,
    /// The first event.
    pub hello: Frame,
    ended: bool,
}

impl<B> Stream<B>
where
    B: Body<Data = Bytes>,
    B::Error: Debug,
{
    pub fn new(body: B, came_with: Option<&str>) -> Self {
        Stream { body: Box::pin(body), parser: Parser::new(came_with), hello: Frame::default(), ended: false }
    }

    /// Reads the `hello`.
    pub async fn greet(&mut self) {
        let hello = self.next().await;
        assert_eq!(hello.name, "hello");
        assert!((1000..=4000).contains(&hello.retry.expect("`retry` comes first")), "{hello:?}");
        self.hello = hello;
    }

    /// What `hello` said.
    pub fn resumed(&self) -> bool {
        self.hello.json()["resumed"].as_bool().expect("`hello` says whether it resumed")
    }

    /// The name of the session.
    pub fn session(&self) -> String {
        self.hello.json()["session"].as_str().unwrap().to_owned()
    }

    /// The id that this client would come back with.
    pub fn cursor(&self) -> Cursor {
        self.parser.last_event_id.parse().unwrap()
    }

    /// The next block; none at the end of the stream.
    #[track_caller]
    pub fn frame(&mut self) -> impl Future<Output = Option<Frame>> {
        soon("a frame", self.read())
    }

    /// The next event; heartbeats and bare ids are passed over.
    #[track_caller]
    pub fn next(&mut self) -> impl Future<Output = Frame> {
        let caller = std::panic::Location::caller();
        let event = async move {
            loop {
                match self.read().await {
                    Some(frame) if frame.name.is_empty() => {}
                    Some(frame) => return frame,
                    None => panic!("the stream ended, and an event was expected at {caller}"),
                }
            }
        };
        soon("an event", event)
    }

    /// The events until one for which `last` is true, that one included.
    #[track_caller]
    pub fn until(&mut self, last: impl Fn(&Frame) -> bool) -> impl Future<Output = Vec<Frame>> {
        let caller = std::panic::Location::caller();
        async move {
            let mut events: Vec<Frame> = Vec::new();
            while !events.last().is_some_and(&last) {
                match soon("more events", self.read()).await {
                    Some(frame) if frame.name.is_empty() => {}
                    Some(frame) => events.push(frame),
                    None => panic!("the stream ended after {events:?}, and more was expected at {caller}"),
                }
            }
            events
        }
    }

    /// Everything up to the end of the stream, which comes.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
            // On the paused clock heartbeats could go on for ever, at once.
            assert!(frames.len() < 10_000, "the stream does not end");
        }
        frames
    }

    /// The blocks that can be read once dispatch had its turns, at this moment of the paused clock.
    pub async fn ready(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        for _ in 0..64 {
            tokio::task::yield_now().await;
            while let Some(Some(frame)) = self.read().now_or_never() {
                frames.push(frame);
            }
        }
        frames
    }

    /// The blocks that came already.
    pub fn parsed(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.parser.frame()).collect()
    }

    /// One chunk of bytes, as the server gets it to write; none at the end.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        let bytes = soon("a chunk", self.body.frame()).await?.unwrap().into_data().unwrap();
        self.parser.feed(&bytes);
        Some(bytes)
    }

    async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.parser.frame() {
                return Some(frame);
            }
            if self.ended {
                return None;
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.parser.feed(&frame.into_data().expect("no trailers")),
                // A cut connection: what of a block came is lost, as a browser loses it.
                Some(Err(_)) | None => self.ended = true,
            }
        }
    }
}
