//! [`Stream`]: the events that a client hears, and the id that it would come back with.

use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::soon;

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `hello`, `revalidate`, `message`, `gap`, `bye`.
    pub name: String,
    /// Its data.
    pub data: Value,
}

/// An open stream of events. It objects to every line that a server never writes.
#[derive(Debug)]
pub struct Stream {
    headers: HeaderMap,
    body: Incoming,
    unread: String,
    last_event_id: String,
}

impl Stream {
    /// The stream of a response, and its `hello`.
    pub async fn greeted(response: Response<Incoming>) -> (Self, Value) {
        let (head, body) = response.into_parts();
        let unread = String::new();
        let mut stream = Stream { headers: head.headers, body, unread, last_event_id: String::new() };
        let hello = stream.next().await.expect("a stream begins with hello");
        assert_eq!(hello.name, "hello");
        (stream, hello.data)
    }

    /// The headers of the response.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What a browser's own `EventSource` would send when it comes back.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The next event that has data; none where the stream ended or was cut.
    pub async fn next(&mut self) -> Option<Event> {
        // Over the whole wait: heartbeats would keep one for each frame alive for ever.
        soon("an event", self.event()).await
    }

    async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.block().await.ok()?? {
                return Some(event);
            }
        }
    }

    /// Reads the next block, which is a heartbeat.
    pub async fn heartbeat(&mut self) {
        let block = soon("a heartbeat", self.block()).await.expect("the stream is whole");
        assert_eq!(block.expect("the stream goes on"), None, "a heartbeat was expected");
    }

    /// Reads on to the end, which comes: what was heard, and whether the end was one, or the stream was cut.
    pub async fn end(&mut self) -> (Vec<Event>, bool) {
        let mut events = Vec::new();
        let end = async {
            loop {
                match self.block().await {
                    Ok(Some(event)) => events.extend(event),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        };
        let whole = soon("the end", end).await;
        (events, whole)
    }

    /// The lines up to the next empty one, and the event that they fire, if they do; none at the end of the stream.
    /// An error where it was cut.
    async fn block(&mut self) -> Result<Option<Option<Event>>, hyper::Error> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let event = read(block, &mut self.last_event_id);
                self.unread = rest.to_owned();
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let bytes = frame?.into_data().unwrap_or_default();
            self.unread.push_str(std::str::from_utf8(&bytes).expect("events do not split characters"));
        }
    }

    /// The keys of the next event, which is a `revalidate`.
    pub async fn keys(&mut self) -> Value {
        let event = self.next().await.expect("the stream goes on");
        assert_eq!(event.name, "revalidate", "{event:?}");
        event.data["keys"].clone()
    }

    /// The payload of the next event, which is a `message`.
    pub async fn message(&mut self) -> Value {
        let event = self.next().await.expect("the stream goes on");
        assert_eq!(event.name, "message", "{event:?}");
        event.data["data"].clone()
    }
}

/// Reads a block of lines (WHATWG HTML, 9.2.6). A server writes each field once, and data on one line.
fn read(block: &str, last_event_id: &mut String) -> Option<Event> {
    assert!(!block.contains(['\r', '\0']), "{block:?}");
    let (mut name, mut data) = (None, None);
    // A comment without a text is the heartbeat of a stream whose place did not change.
    for line in block.lines().filter(|line| *line != ":") {
        let before = match line.split_once(": ").unwrap_or_else(|| panic!("{line:?} in {block:?}")) {
            ("id", id) => {
                id.clone_into(last_event_id);
                None
            }
            ("event", event) => name.replace(event),
            ("data", text) => data.replace(text),
            ("retry" | "", _) => None,
            _ => panic!("a field that nobody writes: {line:?} in {block:?}"),
        };
        assert_eq!(before, None, "a field came twice: {block:?}");
    }
    let (name, data) = (name.unwrap_or_default(), data?);
    assert!(["hello", "revalidate", "message", "gap", "bye"].contains(&name), "{block:?}");
    let data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {block:?}"));
    Some(Event { name: name.to_owned(), data })
}
