//! What an operator reads in the log. A process of its own: who listens to `tracing` is global.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use common::Visit;
use http::{Request, Response};
use parking_lot::Mutex;
use tower::{Layer, ServiceExt, service_fn};
use tower_revalidate::log::{Ack, AppendError, EventLog, Follower, Record};
use tower_revalidate::{
    Change, ChangeExt, ClientAddress, Cursor, Epoch, Grant, Hub, Revalidate, RevalidateExt,
};

/// What was logged, a line an event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("tower_revalidate")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        self.0.lock().push(line.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// All promises in one test: who listens to `tracing` is global.
#[tokio::test(start_paused = true)]
async fn an_operator_reads_what_was_refused_and_why() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    what_a_handler_said_wrong_is_logged_as_an_error(&log).await;
    log.0.lock().clear();
    a_change_that_does_not_leave_is_logged(&log).await;
    log.0.lock().clear();
    a_refusal_is_logged_with_its_reason_and_escaped(&log).await;
}

/// Row G3: what is refused in a handler is in the log at `error`, since the handler has nobody to tell.
async fn what_a_handler_said_wrong_is_logged_as_an_error(log: &Log) {
    let hub = Hub::new();
    let app = hub.layer().layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(()).revalidate(Revalidate::key("x").to(("user", "sneaky*"))))
    }));
    app.oneshot(Request::post("/").body(()).unwrap()).await.unwrap();
    drop(Visit::of(Grant::user("alice").scope(("role", "odd*"))).open(&hub).await);
    let lines = log.0.lock().clone();
    let errors: Vec<_> = lines.iter().filter(|line| line.starts_with("ERROR")).collect();
    assert_eq!(errors.len(), 2, "{lines:#?}");
    assert!(errors[0].contains("sneaky*") && errors[1].contains("odd*"), "{errors:#?}");
    let said = |text: &str| lines.iter().any(|line| line.starts_with("DEBUG") && line.contains(text));
    assert!(said("session opened") && said("session closed") && said("alice"), "{lines:#?}");
}

/// A log that takes nothing.
struct Full;

impl EventLog for Full {
    fn tip(&self) -> Cursor {
        Cursor { epoch: Epoch::from_random(7), offset: 0 }
    }
    fn follow(&self, _: Cursor, _: Follower) {}
    fn append(&self, _: Record, ack: Ack) {
        ack.failed(AppendError::Refused("full".into()));
    }
}

/// A response has no receipt, so that its change is in the log whatever became of it, and its data are not.
async fn a_change_that_does_not_leave_is_logged(log: &Log) {
    let hub = Hub::builder().event_log(Full).build().unwrap();
    let app = hub.layer().layer(service_fn(|_: Request<()>| async {
        let response = Response::new(()).change(Change::update("posts", "1\nERROR forged", &"hunter2"));
        Ok::<_, Infallible>(response.change(Change::update("posts", 7, &"hunter2")))
    }));
    app.oneshot(Request::post("/").body(()).unwrap()).await.unwrap();
    let lines = log.0.lock().clone();
    let errors: Vec<_> = lines.iter().filter(|line| line.starts_with("ERROR")).collect();
    assert!(matches!(errors[..], [line] if line.contains("forged") && line.contains("posts")), "{lines:#?}");
    let lost = |line: &&String| line.starts_with("WARN") && line.contains("full");
    assert_eq!(lines.iter().filter(lost).count(), 2, "one a channel: {lines:#?}");
    assert!(lines.iter().all(|line| !line.contains('\n') && !line.contains("hunter2")), "{lines:#?}");
}

/// Row D5. What a client wrote cannot forge a line.
async fn a_refusal_is_logged_with_its_reason_and_escaped(log: &Log) {
    let address = ClientAddress::forwarded_for(1);
    let hub = Hub::builder().client_address(address).audit_mutations(true).max_channels(1);
    let hub = hub.build().unwrap();
    drop(Visit::user("alice").following("secret\nERROR forged").open(&hub).await);
    drop(Visit::stranger().header("x-forwarded-for", "192.0.2.1").following("a,b").answer(&hub).await);
    let app =
        hub.layer().layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) }));
    app.oneshot(Request::post("/posts").body(()).unwrap()).await.unwrap();
    let lines = log.0.lock().clone();
    let line = |level: &str, texts: &[&str]| {
        lines.iter().any(|line| line.starts_with(level) && texts.iter().all(|text| line.contains(text)))
    };
    assert!(
        line("INFO", &["channels were denied", r"secret\nERROR forged", "malformed", "alice"]),
        "{lines:#?}"
    );
    assert!(
        line(
            "INFO",
            &[
                "a request was refused",
                "path=\"events\"",
                "status=400",
                "reason=\"over 1 names in `channels`\"",
                "192.0.2.1"
            ]
        ),
        "{lines:#?}"
    );
    assert!(line("WARN", &["said nothing", "POST", "/posts", "status=200"]), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:#?}");
}
