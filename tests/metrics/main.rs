//! What the feature `metrics` tells an operator, read with a recorder of the tests' own: one a thread, and therefore
//! one a test.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
mod documents;
mod recorder;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Visit, at, eventually};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use tokio::time::{advance, sleep};
use tower::ServiceExt;
use tower_revalidate::log::{Ack, Follower, Record};
use tower_revalidate::{Cursor, Epoch, EventLog, Grant, Hub, Policy, Refusal, Revalidate};

use recorder::Recorder;

fn counted<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.into_iter().map(|(value, count)| (value.to_owned(), count)).collect()
}

/// Longer than a tick, and than a round of them.
const ROUND: Duration = Duration::from_millis(4500);

/// Row D5: what is there is counted, and when it is gone the figures are 0 again, whatever took it.
#[tokio::test(start_paused = true)]
async fn what_is_there_is_counted_and_returns_to_nothing() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let hub = Hub::new();
    let alice = Visit::user("alice").following("room:1,room:2").open(&hub).await;
    let bob = Visit::user("bob").following("room:1").open(&hub).await;
    let worker = hub.subscribe(Grant::user("worker")).unwrap();
    assert_eq!(recorder.gauge("sessions"), 3.0, "at once");
    hub.channel(("room", 1)).publish("x", &"some bytes").await.unwrap();
    sleep(Duration::from_millis(1100)).await;
    let stats = hub.stats();
    for (gauge, figure) in [
        ("subscriptions", stats.subscriptions),
        ("topics", stats.topics),
        ("retained_bytes", stats.retained_bytes),
    ] {
        assert!(figure > 0);
        assert_eq!(recorder.gauge(gauge), figure as f64, "{gauge}");
    }
    drop(alice);
    assert_eq!(recorder.gauge("sessions"), 2.0, "at once");
    hub.disconnect_user("bob").await.unwrap();
    drop(bob);
    drop(worker);
    assert_eq!(recorder.gauge("sessions"), 0.0);
    eventually("the task to end", 0.0, async || recorder.gauge("subscriptions")).await;
    assert_eq!(recorder.gauge("topics"), hub.stats().topics as f64, "what is retained is there");
    assert_eq!(recorder.by("sessions_ended_total"), counted([("closed", 2), ("grant", 1)]));

    let stalled = Visit::user("carol").following("room:1").open(&hub).await;
    let expiring = Visit::of(Grant::anonymous().expires_in(Duration::from_secs(9))).open(&hub).await;
    hub.channel(("room", 1)).publish("x", &"nobody reads it").await.unwrap();
    eventually("both are ended", 0.0, async || recorder.gauge("sessions")).await;
    let last = Visit::stranger().open(&hub).await;
    hub.shutdown();
    let ended = counted([("closed", 2), ("grant", 1), ("stalled", 1), ("expired", 1), ("shutdown", 1)]);
    assert_eq!(recorder.by("sessions_ended_total"), ended);
    drop((stalled, expiring, last));
    assert_eq!(recorder.by("sessions_ended_total"), ended, "each once");
    eventually("the task to end", 0.0, async || recorder.gauge("subscriptions")).await;

    let other = Hub::new();
    let there = Visit::stranger().open(&other).await;
    assert_eq!(recorder.gauge("sessions"), 1.0);
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(recorder.gauge("subscriptions"), 1.0, "hubs add up");
    drop(there);
    eventually("the task to end", 0.0, async || recorder.gauge("subscriptions")).await;
    drop((hub, other));
    for gauge in ["sessions", "subscriptions", "topics", "retained_bytes", "outbox_waiting", "lag_events"] {
        assert_eq!(recorder.gauge(gauge), 0.0, "{gauge}, of hubs that are gone");
    }
}

/// Events are counted where they come in and where they go out, and bytes as they are written.
#[tokio::test(start_paused = true)]
async fn events_and_bytes_are_counted_as_they_pass() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let hub = Hub::builder().channel("now", Policy::latest().public()).build().unwrap();
    hub.channel("now").publish("x", &0).await.unwrap();
    let mut body = Visit::user("alice").following("room:1,now").answer(&hub).await.into_body();
    let mut written = 0;
    let mut read = async |chunks: usize| {
        for _ in 0..chunks {
            let frame = BodyExt::frame(&mut body).await.unwrap().unwrap();
            written += frame.into_data().unwrap().len() as u64;
        }
        written
    };
    read(1).await;
    assert_eq!(
        recorder.by("events_out_total"),
        counted([("hello", 1), ("message", 1)]),
        "and the value of now"
    );
    hub.revalidate(["a", "b"]).await.unwrap();
    read(1).await;
    hub.channel(("room", 1)).publish("x", &1).await.unwrap();
    hub.channel(("room", 1)).publish("x", &2).await.unwrap();
    read(1).await;
    let heartbeats = read(1).await;
    assert_eq!(recorder.counter("written_bytes_total"), heartbeats);
    hub.disconnect_user("alice").await.unwrap();
    hub.disconnect_user("a stranger").await.unwrap();
    let all = read(1).await;
    assert_eq!(recorder.counter("written_bytes_total"), all);
    let events_in = counted([("revalidate", 1), ("message", 3), ("regrant", 2)]);
    assert_eq!(recorder.by("events_in_total"), events_in);
    let events_out = [("hello", 1), ("revalidate", 1), ("message", 3), ("heartbeat", 1), ("bye", 1)];
    assert_eq!(recorder.by("events_out_total"), counted(events_out));

    let mut worker =
        hub.subscribe(Grant::user("worker").follow("room:*")).unwrap().follow(("room", 1)).unwrap();
    hub.revalidate("c").await.unwrap();
    hub.channel(("room", 1)).publish("x", &3).await.unwrap();
    worker.recv().await.unwrap();
    worker.recv().await.unwrap();
    let events_out = [("hello", 1), ("revalidate", 2), ("message", 4), ("heartbeat", 1), ("bye", 1)];
    assert_eq!(recorder.by("events_out_total"), counted(events_out), "in process, too");
    assert_eq!(recorder.counter("written_bytes_total"), all, "which writes nothing");
}

/// Each byte of a handler's own stream, also of what it sends to that one alone.
#[tokio::test(start_paused = true)]
async fn a_stream_of_a_handler_counts_what_it_writes() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let hub = Hub::new();
    let (parts, ()) = Request::new(()).into_parts();
    let mut stream = hub.stream_as(Grant::anonymous().follow("room:*"), &parts, [("room", 1)]).unwrap();
    stream.send("initial", &["rows"]).unwrap();
    let handle = stream.handle();
    let mut body = stream.into_response().into_body();
    let mut written = 0;
    let mut read = async || {
        let frame = BodyExt::frame(&mut body).await.unwrap().unwrap();
        written += frame.into_data().unwrap().len() as u64;
        assert_eq!(recorder.counter("written_bytes_total"), written);
    };
    read().await;
    handle.send("note", &1).unwrap();
    read().await;
    hub.channel(("room", 1)).publish("x", &1).await.unwrap();
    read().await;
    handle.send("note", &2).unwrap();
    hub.shutdown();
    read().await;
    assert_eq!(recorder.by("events_out_total"), counted([("hello", 1), ("message", 1)]));
}

/// A log that says everything twice, as a broker may.
#[derive(Clone)]
struct Stammering(Arc<Mutex<(Cursor, Option<Follower>)>>);

impl Stammering {
    fn new() -> Self {
        Stammering(Arc::new(Mutex::new((Cursor { epoch: Epoch::from_random(1), offset: 0 }, None))))
    }
}

impl EventLog for Stammering {
    fn tip(&self) -> Cursor {
        self.0.lock().0
    }
    fn follow(&self, _: Cursor, follower: Follower) {
        self.0.lock().1 = Some(follower);
    }
    fn append(&self, record: Record, ack: Ack) {
        let (at, delivered) = {
            let mut log = self.0.lock();
            log.0.offset += 1;
            let follower = log.1.as_ref().unwrap();
            (log.0, [follower.event(log.0, &record), follower.event(log.0, &record)])
        };
        ack.appended(at);
        drop(delivered);
    }
    fn is_local(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_heard_twice_is_counted_once() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let hub = Hub::builder().event_log(Stammering::new()).build().unwrap();
    hub.revalidate("a").await.unwrap();
    hub.channel(("room", 1)).publish("x", &1).await.unwrap();
    hub.disconnect_user("alice").await.unwrap();
    let events_in = counted([("revalidate", 1), ("message", 1), ("regrant", 1)]);
    assert_eq!(recorder.by("events_in_total"), events_in);
}

/// What is merged is counted where it is merged.
#[tokio::test(start_paused = true)]
async fn merged_keys_are_counted_where_they_merge() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let hub = Hub::builder().min_interval(Duration::from_secs(1)).build().unwrap();
    let both = Grant::user("alice").scope(("role", "admin"));
    let mut alice = hub.subscribe(both).unwrap();
    hub.revalidate(["first", "first", "second"]).await.unwrap();
    assert_eq!(recorder.by("coalesced_keys_total"), counted([("publish", 1)]));
    alice.recv().await.unwrap();

    let waiting = ["a", "a", "b"].map(|key| hub.revalidate(key));
    for receipt in waiting {
        receipt.await.unwrap();
    }
    assert_eq!(recorder.by("coalesced_keys_total"), counted([("publish", 1), ("outbox", 1)]));
    alice.recv().await.unwrap();

    hub.revalidate(Revalidate::key("posts").to(("user", "alice"))).await.unwrap();
    hub.revalidate(Revalidate::keys(["posts", "posts.list", "users"]).to(("role", "admin"))).await.unwrap();
    assert_eq!(alice.recv().await.unwrap(), tower_revalidate::revalidate(["posts", "users"]));
    let merged = counted([("publish", 1), ("outbox", 1), ("session", 2)]);
    assert_eq!(recorder.by("coalesced_keys_total"), merged);
    assert_eq!(recorder.by("events_out_total"), counted([("revalidate", 3)]));
}

#[tokio::test(start_paused = true)]
async fn gaps_are_counted_by_their_reason() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let log = Stammering::new();
    let hub = Hub::builder().channel("room:*", Policy::history(1)).event_log(log.clone()).build().unwrap();
    let start = hub.cursor();
    for number in 0..3 {
        hub.channel(("room", 1)).publish("x", &number).await.unwrap();
    }
    hub.regrant("bob").await.unwrap();
    let gap = async |visit: Visit| {
        let mut stream = visit.open(&hub).await;
        assert_eq!(stream.next().await.name, "gap");
        stream
    };
    gap(Visit::user("alice").following("room:1").from(start)).await;
    gap(Visit::stranger().from("zzzzzz-1")).await;
    gap(Visit::stranger().from(at(start, 1000))).await;
    gap(Visit::user("bob").from(start)).await;
    let mut stream = Visit::stranger().open(&hub).await;
    let told = log.0.lock().1.as_ref().unwrap().reset(Cursor { epoch: Epoch::from_random(2), offset: 0 });
    drop(told);
    assert_eq!(stream.next().await.name, "gap");
    let gaps = [("evicted", 1), ("unknown", 1), ("ahead", 1), ("grant", 1), ("epoch", 1)];
    assert_eq!(recorder.by("gaps_total"), counted(gaps));
}

/// Row F16: the slowest session is seen before it hears a gap, and whoever merely sleeps is none.
#[tokio::test(start_paused = true)]
async fn the_lag_is_that_of_the_slowest_session_which_has_something_to_read() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let hub = Hub::builder().write_events(10).heartbeat(Duration::from_secs(30)).build().unwrap();
    let asleep = Visit::user("asleep").following("room:2").open(&hub).await;
    let mut slow = Visit::user("slow").following("room:1").open(&hub).await;
    let publish = async |count: usize| {
        for number in 0..count {
            hub.channel(("room", 1)).publish("x", &number).await.unwrap();
        }
    };
    sleep(2 * ROUND).await;
    publish(5).await;
    slow.chunk().await.unwrap();
    sleep(2 * ROUND).await;
    assert_eq!(recorder.gauge("lag_events"), 0.0, "one has read all of it, for the other there was nothing");

    publish(100).await;
    sleep(2 * ROUND).await;
    assert_eq!(recorder.gauge("lag_events"), 100.0, "it was woken and does not read");
    slow.chunk().await.unwrap();
    sleep(ROUND).await;
    assert_eq!(recorder.gauge("lag_events"), 90.0, "it reads, and is not through");
    while recorder.by("events_out_total")["message"] < 105 {
        slow.chunk().await.unwrap();
    }
    sleep(2 * ROUND).await;
    assert_eq!(recorder.gauge("lag_events"), 0.0);

    publish(7).await;
    sleep(2 * ROUND).await;
    assert_eq!(recorder.gauge("lag_events"), 7.0);
    drop((slow, asleep));
    eventually("whoever was behind is gone", 0.0, async || recorder.gauge("lag_events")).await;
    assert_eq!(recorder.by("gaps_total"), counted([]));
    assert_eq!(recorder.by("sessions_ended_total"), counted([("closed", 2)]));
}

/// From its place in retention to the write, in seconds; once a write.
#[tokio::test(start_paused = true)]
async fn the_latency_of_a_write_is_that_of_its_oldest_event() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let hub = Hub::new();
    let alice = || Visit::user("alice").following("room:1");
    let mut stream = alice().open(&hub).await;
    let start = hub.cursor();
    let millis = Duration::from_millis;
    let message = async |number: u32| hub.channel(("room", 1)).publish("x", &number).await.unwrap();

    message(1).await;
    advance(millis(25)).await;
    message(2).await;
    advance(millis(5)).await;
    stream.chunk().await.unwrap();
    assert_eq!(recorder.latencies(), [0.030], "of two messages the older");

    hub.revalidate("a").await.unwrap();
    advance(millis(7)).await;
    hub.revalidate("b").await.unwrap();
    advance(millis(4)).await;
    stream.chunk().await.unwrap();
    assert_eq!(recorder.latencies(), [0.004], "since the last change that it carries");

    hub.revalidate(Revalidate::key("a").to(("user", "alice"))).await.unwrap();
    advance(millis(10)).await;
    hub.revalidate("b").await.unwrap();
    message(3).await;
    advance(millis(2)).await;
    stream.chunk().await.unwrap();
    assert_eq!(recorder.latencies(), [0.012], "of several audiences the one that waits for longest");

    message(4).await;
    stream.chunk().await.unwrap();
    assert_eq!(recorder.latencies(), [0.0], "under 1 ms");

    stream.chunk().await.unwrap();
    assert_eq!(recorder.by("events_out_total")["heartbeat"], 1);
    drop(stream);
    let mut back = alice().from(start).open(&hub).await;
    assert_eq!(back.next().await.name, "revalidate");
    assert_eq!(back.next().await.payload(), 1);
    assert!(recorder.latencies().is_empty(), "what is old is not late, nor is a heartbeat");
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_outbox_is_counted() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let hub = Hub::builder().min_interval(Duration::from_secs(30)).build().unwrap();
    let _stream = Visit::stranger().open(&hub).await;
    hub.revalidate("a").await.unwrap();
    let waits = hub.revalidate("b");
    let other = hub.revalidate(Revalidate::key("b").delay(Duration::from_secs(20)));
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(recorder.gauge("outbox_waiting"), 2.0);
    waits.await.unwrap();
    other.await.unwrap();
    eventually("all of it to go", 0.0, async || recorder.gauge("outbox_waiting")).await;
}

/// Row D5. Whatever clients and apps write, it becomes no label.
#[tokio::test(start_paused = true)]
async fn refusals_are_counted_by_codes_of_this_crate() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let hub = Hub::builder()
        .max_channels(4)
        .max_sessions(1)
        .require_https(|parts| !parts.headers.contains_key("plain"))
        .authorize(async |parts| match parts.headers.get("x-who").map(|who| who.as_bytes()) {
            Some(b"nobody") => Err(Refusal::unauthorized("sign in")),
            Some(b"villain") => Err(Refusal::forbidden("not you")),
            Some(b"debtor") => Err(Refusal::new(StatusCode::PAYMENT_REQUIRED, "debt-of-alice", "pay first")),
            Some(b"broken") => Err(Refusal::error("no database")),
            _ => Ok(Grant::user("alice").publish("room:*")),
        })
        .build()
        .unwrap();
    let stream = Visit::stranger().following("secret,a*b,also secret").open(&hub).await;
    let series = recorder.series();
    let denied = counted([("accessdenied", 2), ("malformed", 1)]);
    assert_eq!(recorder.by("denied_channels_total"), denied);
    for who in ["nobody", "villain", "villain", "debtor", "broken", "one too many"] {
        drop(Visit::stranger().header("x-who", who).answer(&hub).await);
    }
    drop(Visit::stranger().following("1,2,3,4,5").answer(&hub).await);
    drop(Visit::stranger().header("plain", "1").answer(&hub).await);
    for kind in ["text/plain", "application/json"] {
        let said = r#"{"channel":"room:1","event":"said"}"#;
        let request = Request::post("/realtime/emit").header("content-type", kind);
        drop(hub.service().oneshot(request.body(Full::new(Bytes::from(said))).unwrap()).await);
    }
    drop(hub.revalidate(Revalidate::key("x").to(("user", "sneaky*"))));
    hub.shutdown();
    drop((Visit::stranger().answer(&hub).await, stream));
    let refusals = [
        ("unauthorized", 1),
        ("accessdenied", 2),
        ("internal", 1),
        ("busy", 1),
        ("malformed", 1),
        ("httpsrequired", 1),
        ("shutdown", 1),
        ("mediatype", 1),
        ("unhandled", 1),
        ("other", 1),
    ];
    assert_eq!(recorder.by("refusals_total"), counted(refusals));
    assert_eq!(recorder.counter("faults_total"), 1);
    assert_eq!(recorder.series(), series, "no series comes later than the first");
}

/// The recorder may be installed after the hub was built.
#[tokio::test(start_paused = true)]
async fn a_recorder_is_in_time_until_the_first_that_is_told() {
    let hub = Hub::new();
    let _ = (hub.stats(), hub.cursor(), hub.layer(), hub.service());
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let _stream = Visit::stranger().open(&hub).await;
    assert_eq!(recorder.gauge("sessions"), 1.0);
}
