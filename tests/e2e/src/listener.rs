//! [`Listener`]: a client of streams that nobody here wrote, as its users run it, with its own defaults.

use std::path::Path;
use std::process::Stdio;

use eventsource_client::{Client as _, SSE};
use futures_util::{StreamExt, stream};
use launchdarkly_sdk_transport::HyperTransport;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::{Chromium, Event, soon};

/// Who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// The crate `eventsource-client`.
    EventsourceClient,
    /// The crate `reqwest-eventsource`.
    ReqwestEventsource,
    /// `eventsource` of npm, in node.
    Eventsource,
    /// `eventsource-parser` of npm, in node, in a loop of ours (`node/clients.mjs`).
    EventsourceParser,
    /// The browser's own `EventSource`.
    Chromium,
}

/// A client that listens. Dropping it ends it.
#[derive(Debug)]
pub struct Listener {
    /// Who made it.
    pub make: Make,
    heard: mpsc::UnboundedReceiver<Value>,
}

impl Make {
    /// Each of them.
    pub const ALL: [Make; 5] = [
        Make::EventsourceClient,
        Make::ReqwestEventsource,
        Make::Eventsource,
        Make::EventsourceParser,
        Make::Chromium,
    ];

    /// Listens to a server's announcements.
    pub async fn listen(self, server: &str, browser: &Chromium) -> Listener {
        let url = format!("{server}/realtime/events?channels=announcements");
        let heard = match self {
            Make::EventsourceClient => eventsource_client(&url),
            Make::ReqwestEventsource => reqwest_eventsource(&url),
            Make::Eventsource => node("eventsource", &url),
            Make::EventsourceParser => node("parser", &url),
            Make::Chromium => browser.listen(&format!("{server}/posts"), &url).await,
        };
        Listener { make: self, heard }
    }
}

impl Listener {
    /// The next event, while connections may be lost.
    pub async fn event(&mut self) -> Event {
        let what = format!("{:?} to hear of an event", self.make);
        let event = async {
            loop {
                let mut heard = self.next().await;
                if heard["over"].is_null() {
                    let name = heard["event"].as_str().expect("each has a name").to_owned();
                    return Event { name, data: heard["data"].take() };
                }
                assert_eq!(heard["over"], "for now", "{:?} gave up", self.make);
            }
        };
        soon(&what, event).await
    }

    /// Reads the `hello` that a stream begins with, and returns whether it resumes.
    pub async fn hello(&mut self) -> bool {
        let hello = self.event().await;
        assert_eq!(hello.name, "hello", "{:?}: {hello:?}", self.make);
        hello.data["resumed"].as_bool().expect("it says so")
    }

    /// Waits until it noticed that its connection is gone.
    pub async fn lost(&mut self) {
        let what = format!("{:?} to lose its connection", self.make);
        soon(&what, self.over()).await;
    }

    /// Waits until it gave up for good.
    pub async fn gave_up(&mut self) {
        let what = format!("{:?} to give up", self.make);
        soon(&what, async { while self.over().await != "for good" {} }).await;
    }

    async fn over(&mut self) -> Value {
        let mut heard = self.next().await;
        assert!(heard["event"].is_null(), "{:?} heard of {heard}", self.make);
        heard["over"].take()
    }

    async fn next(&mut self) -> Value {
        let heard = self.heard.recv().await;
        heard.unwrap_or_else(|| panic!("{:?} ended", self.make))
    }
}

fn eventsource_client(url: &str) -> mpsc::UnboundedReceiver<Value> {
    let transport = HyperTransport::builder().disable_proxy().build_http().expect("it needs no TLS");
    let client = eventsource_client::ClientBuilder::for_url(url).expect("it is one");
    let events = client.build_with_transport(transport).stream();
    pump(events.filter_map(async |event| match event {
        Ok(SSE::Event(event)) => Some(said(&event.event_type, &event.data)),
        Ok(SSE::Connected(_) | SSE::Comment(_)) => None,
        // Not the end: that is the stream's.
        Err(_) => Some(json!({"over": "for now"})),
    }))
}

fn reqwest_eventsource(url: &str) -> mpsc::UnboundedReceiver<Value> {
    let client = reqwest::Client::builder().no_proxy().build().expect("it needs no TLS");
    let events = reqwest_eventsource::EventSource::new(client.get(url)).expect("a GET can be repeated");
    pump(events.filter_map(async |event| match event {
        Ok(reqwest_eventsource::Event::Message(event)) => Some(said(&event.event, &event.data)),
        Ok(reqwest_eventsource::Event::Open) => None,
        Err(_) => Some(json!({"over": "for now"})),
    }))
}

fn said(event: &str, data: &str) -> Value {
    json!({"event": event, "data": serde_json::from_str::<Value>(data).expect("data is JSON")})
}

/// Polls it to its end, which is that the client gave up.
fn pump(events: impl stream::Stream<Item = Value> + Send + 'static) -> mpsc::UnboundedReceiver<Value> {
    let (tell, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let end = stream::iter([json!({"over": "for good"})]);
        let mut events = std::pin::pin!(events.chain(end));
        let told = async {
            while let Some(event) = events.next().await {
                let _ = tell.send(event);
            }
        };
        tokio::select! {
            () = told => {}
            () = tell.closed() => {}
        }
    });
    heard
}

fn node(client: &str, url: &str) -> mpsc::UnboundedReceiver<Value> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/node"));
    let installed = folder.join("node_modules").join("eventsource-parser");
    assert!(installed.is_dir(), "`npm ci` in tests/e2e/node is needed: scripts/test.sh does it");
    let mut process = Command::new("node")
        .args(["clients.mjs", client, url])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("node is needed: scripts/test.sh installs it: {error}"));
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    let (tell, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let _process = process;
        let told = async {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = tell.send(serde_json::from_str(&line).expect("it prints JSON"));
            }
        };
        tokio::select! {
            () = told => {}
            () = tell.closed() => {}
        }
    });
    heard
}
