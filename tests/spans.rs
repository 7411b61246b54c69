//! The span of a session: what concerns one session is found by its name, whoever logs it. A process of its own:
//! who listens to `tracing` is asked once a place in the code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use common::{Visit, eventually};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tower_revalidate::{Grant, Hub};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata};

/// What was logged, each line with the spans around it, and the spans that are open.
#[derive(Clone)]
struct Listener {
    level: Level,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    lines: Vec<(String, String)>,
    /// How they look, and how many hold them.
    spans: HashMap<u64, (String, usize)>,
    entered: Vec<u64>,
    /// Each that was entered, in order.
    history: Vec<String>,
    opened: u64,
}

impl Listener {
    fn at(level: Level) -> Self {
        Listener { level, seen: Arc::default() }
    }

    /// The spans around the one line that holds this text.
    fn around(&self, text: &str) -> String {
        let seen = self.seen.lock();
        let found: Vec<_> = seen.lines.iter().filter(|(line, _)| line.contains(text)).collect();
        let [(_, spans)] = &found[..] else { panic!("{text:?} in {:#?}", seen.lines) };
        spans.clone()
    }

    fn clear(&self) {
        self.seen.lock().lines.clear();
    }

    /// How many spans are open; none is entered.
    fn open(&self) -> usize {
        let seen = self.seen.lock();
        assert!(seen.entered.is_empty(), "an enter without its exit");
        seen.spans.len()
    }
}

#[derive(Default)]
struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "app"
            || metadata.target().starts_with("tower_revalidate") && *metadata.level() <= self.level
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields =
            Fields(format!("{} {} ", attributes.metadata().level(), attributes.metadata().name()));
        attributes.record(&mut fields);
        let mut seen = self.seen.lock();
        seen.opened += 1;
        let id = seen.opened;
        seen.spans.insert(id, (fields.0.trim_end().to_owned(), 1));
        Id::from_u64(id)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut seen = self.seen.lock();
        let around: Vec<_> = seen.entered.iter().map(|id| seen.spans[id].0.clone()).collect();
        seen.lines.push((fields.0, around.join(" / ")));
    }
    fn enter(&self, span: &Id) {
        let mut seen = self.seen.lock();
        let looks = seen.spans[&span.into_u64()].0.clone();
        seen.history.push(looks);
        seen.entered.push(span.into_u64());
    }
    fn exit(&self, span: &Id) {
        assert_eq!(self.seen.lock().entered.pop(), Some(span.into_u64()));
    }
    fn clone_span(&self, span: &Id) -> Id {
        self.seen.lock().spans.get_mut(&span.into_u64()).unwrap().1 += 1;
        span.clone()
    }
    fn try_close(&self, span: Id) -> bool {
        let mut seen = self.seen.lock();
        let held = &mut seen.spans.get_mut(&span.into_u64()).unwrap().1;
        *held -= 1;
        let closes = *held == 0;
        if closes {
            seen.spans.remove(&span.into_u64());
        }
        closes
    }
}

fn hub() -> Hub {
    let hub = Hub::builder()
        .on_connect(|_| tracing::info!(target: "app", "the app greets"))
        .on_disconnect(|_, why| tracing::info!(target: "app", %why, "the app mourns"));
    hub.build().unwrap()
}

/// Row G3.
#[tokio::test(start_paused = true)]
async fn what_concerns_a_session_is_logged_in_its_span() {
    let listener = Listener::at(Level::DEBUG);
    let _listens = tracing::subscriber::set_default(listener.clone());
    let hub = hub();
    let stream = Visit::user("alice").following("room:1,secret").open(&hub).await;
    let span = format!("DEBUG session session={:?} identity=\"alice\"", stream.session());
    for text in ["session opened", "the app greets", "channels were denied"] {
        assert_eq!(listener.around(text), span, "{text}");
    }
    let other = Visit::stranger().open(&hub).await;
    assert_eq!(listener.open(), 2, "a span each");
    listener.clear();
    drop(stream);
    for text in ["session closed", "the app mourns"] {
        assert_eq!(listener.around(text), span, "{text}");
    }
    assert_eq!(listener.open(), 1, "it closes with its session");
    drop(other);
    assert_eq!(listener.open(), 0);
}

/// The hub's own doing, too: by whichever task a session is ended, it is told in the session's span.
#[tokio::test(start_paused = true)]
async fn a_session_that_the_hub_ends_is_told_in_its_span() {
    let listener = Listener::at(Level::DEBUG);
    let _listens = tracing::subscriber::set_default(listener.clone());
    let hub = hub();
    let subscription = hub.subscribe(Grant::user("alice")).unwrap();
    listener.clear();
    hub.disconnect_user("alice").await.unwrap();
    for text in ["session closed", "the app mourns"] {
        let span = listener.around(text);
        assert!(span.starts_with("DEBUG session session=") && span.ends_with("identity=\"alice\""), "{span}");
    }
    assert_eq!(listener.open(), 1, "who holds the subscription may still poll it");
    drop(subscription);
    assert_eq!(listener.open(), 0);
}

/// Reading and writing of one stream are its own, however many take turns on a thread.
#[tokio::test(start_paused = true)]
async fn a_stream_is_read_and_written_in_its_span() {
    let listener = Listener::at(Level::DEBUG);
    let _listens = tracing::subscriber::set_default(listener.clone());
    let hub = Hub::new();
    let mut alice = Visit::user("alice").open(&hub).await;
    let mut bob = Visit::user("bob").open(&hub).await;
    assert!(alice.ready().await.is_empty() && bob.ready().await.is_empty());
    drop(hub.revalidate("posts"));
    eventually("dispatch", 0, async || hub.stats().queued_topics).await;
    for (stream, user) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        listener.seen.lock().history.clear();
        let news = stream.next().now_or_never().expect("it looks when it is polled");
        assert_eq!(news.keys(), [r#"["posts"]"#]);
        let history = std::mem::take(&mut listener.seen.lock().history);
        let [span] = &history[..] else { panic!("once, to read and to write: {history:?}") };
        assert!(span.contains(user), "{span}");
        assert!(stream.next().now_or_never().is_none());
        assert_eq!(listener.seen.lock().history, history, "there is nothing to write");
    }
    let mut subscription = hub.subscribe(Grant::user("worker")).unwrap();
    listener.seen.lock().history.clear();
    assert_eq!(subscription.try_recv(), Ok(None));
    assert!(listener.seen.lock().history.iter().all(|span| span.contains("worker")));
    assert!(!listener.seen.lock().history.is_empty());
}

/// An operator who listens at `info` hears no less, and pays for no spans.
#[tokio::test(start_paused = true)]
async fn who_listens_to_less_gets_no_spans() {
    let listener = Listener::at(Level::INFO);
    let _listens = tracing::subscriber::set_default(listener.clone());
    let hub = hub();
    let stream = Visit::user("alice").following("secret").open(&hub).await;
    assert_eq!(listener.around("channels were denied"), "");
    drop(stream);
    assert_eq!(listener.around("the app mourns"), "");
    assert_eq!(listener.seen.lock().opened, 0);
}
