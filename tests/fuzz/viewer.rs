//! [`Viewer`]: a stream, read strictly, and what it was told.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::Stream as _;
use serde_json::Value;
use tower_revalidate::SseBody;

use crate::common::sse::{Frame, Parser};

pub struct Viewer {
    body: SseBody,
    pub parser: Parser,
    pub frames: Vec<Frame>,
    pub ended: bool,
}

impl Viewer {
    pub fn new(body: SseBody, came_with: Option<&str>) -> Self {
        Viewer { body, parser: Parser::new(came_with), frames: Vec::new(), ended: false }
    }

    /// Reads what is there.
    pub fn read(&mut self) {
        for _ in 0..1000 {
            match Pin::new(&mut self.body).poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(Ok(bytes))) => {
                    assert!(!self.ended && !bytes.is_empty());
                    self.parser.feed(&bytes);
                    self.frames.extend(std::iter::from_fn(|| self.parser.frame()));
                }
                Poll::Ready(None) => {
                    self.ended = true;
                    return;
                }
                Poll::Pending => return,
            }
        }
        panic!("a stream that is never done");
    }

    pub fn hello(&self) -> Value {
        let hello = self.frames.first().expect("a stream begins with `hello`");
        assert_eq!(hello.name, "hello");
        hello.json()
    }

    pub fn named(&self, name: &str) -> impl Iterator<Item = Value> {
        self.frames.iter().filter(move |frame| frame.name == name).map(Frame::json)
    }

    /// The keys of all revalidations, as JSON.
    pub fn keys(&self) -> Vec<Value> {
        self.named("revalidate").flat_map(|said| said["keys"].as_array().unwrap().clone()).collect()
    }

    /// Whether something that covers everything was missed.
    pub fn missed_all(&self) -> bool {
        self.named("gap").any(|gap| gap.get("channels").is_none())
    }
}
