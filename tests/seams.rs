//! Where the hub meets foreign code: logs, hooks, middleware, wakers. Each test stands for a defect that a review
//! proved on an earlier state of the code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use common::{Visit, at};
use http::Request;
use parking_lot::Mutex;
use serde_json::json;
use tower::{Layer, Service, ServiceExt};
use tower_revalidate::log::{Ack, Follower, MemoryLog, Record};
use tower_revalidate::{
    AppendError, ByeReason, Cursor, Disconnect, Epoch, Event, EventLog, Grant, Hub, Policy, Revalidate,
    RevalidateExt, message, revalidate,
};

/// A log that the test drives by hand: it keeps records until they are let through.
#[derive(Clone)]
struct ByHand(Arc<Mutex<Kept>>);

struct Kept {
    tip: Cursor,
    follower: Option<Follower>,
    records: Vec<Record>,
    panics: Arc<AtomicBool>,
}

impl ByHand {
    fn new() -> Self {
        let tip = Cursor { epoch: Epoch::from_random(1), offset: 0 };
        let panics = Arc::new(AtomicBool::new(false));
        ByHand(Arc::new(Mutex::new(Kept { tip, follower: None, records: Vec::new(), panics })))
    }

    fn hub(&self) -> Hub {
        Hub::builder().retain_topics(100).event_log(self.clone()).build().unwrap()
    }

    fn tell<T>(&self, tell: impl FnOnce(&Follower) -> T) {
        drop(tell(self.0.lock().follower.as_ref().unwrap()));
    }

    /// Lets everything through that was kept, in order.
    fn let_through(&self) {
        let mut kept = self.0.lock();
        for record in std::mem::take(&mut kept.records) {
            kept.tip.offset += 1;
            let delivered = kept.follower.as_ref().unwrap().event(kept.tip, &record);
            drop(delivered);
        }
    }

    fn reset(&self, epoch: u64) {
        let tip = Cursor { epoch: Epoch::from_random(epoch), offset: 0 };
        self.0.lock().tip = tip;
        self.tell(|follower| follower.reset(tip));
    }
}

impl EventLog for ByHand {
    fn tip(&self) -> Cursor {
        self.0.lock().tip
    }
    fn follow(&self, _: Cursor, follower: Follower) {
        self.0.lock().follower = Some(follower);
    }
    fn append(&self, record: Record, ack: Ack) {
        assert!(!self.0.lock().panics.load(Ordering::Relaxed), "a log that panics");
        let mut kept = self.0.lock();
        kept.records.push(record);
        let at = at(kept.tip, kept.tip.offset + kept.records.len() as u64);
        drop(kept);
        ack.appended(at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_trim_leaves_nothing_that_eviction_would_stumble_over() {
    let log = ByHand::new();
    let hub = log.hub();
    let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
    drop(hub.revalidate("a"));
    log.let_through();
    log.tell(|follower| follower.trimmed(10));
    // Beyond the age of all events the topic of everyone is forgotten.
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    assert!(matches!(sub.recv().await.unwrap(), Event::Gap(_)));
    assert_eq!(hub.stats().retained_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_takes_along_the_topics_that_nobody_follows() {
    let log = ByHand::new();
    let hub = log.hub();
    let _stream = Visit::user("alice").following("room:1").open(&hub).await;
    let before = hub.stats().topics;
    for epoch in 2..12 {
        for room in 0..100 {
            drop(hub.channel(("room", room)).publish("m", &room));
        }
        log.let_through();
        log.reset(epoch);
        assert_eq!((hub.stats().topics, hub.stats().retained_bytes), (before, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_of_an_ended_epoch_is_not_read_again() {
    let log = ByHand::new();
    let hub = log.hub();
    let mut sub = hub.subscribe(Grant::anonymous().follow("room:1")).unwrap().follow("room:1").unwrap();
    for epoch in 2..5 {
        // At the same offsets in each.
        for part in 0..2 {
            drop(hub.channel("room:1").publish("m", &[epoch, part]));
        }
        log.let_through();
        for part in 0..2 {
            assert_eq!(sub.recv().await.unwrap(), message("room:1", "m", &[epoch, part]));
        }
        log.reset(epoch);
        tokio::time::sleep(Duration::from_secs(20)).await; // at most one gap in 10 s
        assert!(matches!(sub.recv().await.unwrap(), Event::Gap(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_event_of_an_ended_epoch_is_ignored() {
    let log = ByHand::new();
    let hub = log.hub();
    drop(hub.revalidate("late"));
    let late = log.0.lock().records.pop().unwrap();
    log.reset(2);
    let tip = hub.cursor();
    log.tell(|follower| follower.event(Cursor { epoch: Epoch::from_random(1), offset: 1 }, &late));
    assert_eq!(hub.cursor(), tip);
    log.tell(|follower| follower.event(at(tip, 1), &late));
    assert_eq!(hub.cursor(), at(tip, 1));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_panics_takes_neither_the_handler_nor_the_ticker_down() {
    let log = ByHand::new();
    let hub = log.hub();
    let grant = Grant::user("alice").expires_in(Duration::from_secs(60));
    let mut stream = Visit::of(grant).open(&hub).await;
    log.0.lock().panics.store(true, Ordering::Relaxed);
    drop(hub.revalidate("a")); // it is tried again, by the task too
    let failed = hub.channel("room:1").publish("m", &1).await;
    assert_eq!(failed, Err(AppendError::Unknown.into()));
    let frames = stream.rest().await;
    assert_eq!(frames.last().unwrap().json(), json!({"reason": "expired"}));
    log.0.lock().panics.store(false, Ordering::Relaxed);
    let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    log.let_through();
    assert_eq!(sub.recv().await.unwrap(), revalidate("a"), "it came after all");
}

#[test]
fn a_waiting_thread_hands_on_what_was_held_back() {
    let hub = Hub::builder().min_interval(Duration::from_millis(20)).build().unwrap();
    hub.revalidate("a").wait().unwrap();
    hub.revalidate("a").wait().unwrap();
    hub.revalidate(Revalidate::key("b").delay(Duration::from_millis(20))).wait().unwrap();
    assert_eq!(hub.cursor().offset, 3);
}

#[tokio::test(start_paused = true)]
async fn hooks_come_in_their_order() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hub = Arc::new(Mutex::new(None::<Hub>));
    let (connects, disconnects, inside) = (heard.clone(), heard.clone(), hub.clone());
    let built = Hub::builder()
        .on_connect(move |info| {
            let hub = inside.lock().clone().unwrap();
            drop(hub.regrant(info.identity.as_deref().unwrap())); // ends this very session
            connects.lock().push("connect");
        })
        .on_disconnect(move |_, why| {
            assert_eq!(why, Disconnect::Bye(ByeReason::Grant), "it ended before its hook returned");
            disconnects.lock().push("disconnect");
        })
        .build()
        .unwrap();
    *hub.lock() = Some(built.clone());
    let answer = Visit::user("alice").answer(&built).await;
    assert_eq!(*heard.lock(), ["connect", "disconnect"]);
    drop(answer);
    assert_eq!(heard.lock().len(), 2, "each once");
    *hub.lock() = None;
}

/// Auth that makes a grant, and is overtaken by its change.
fn overtaken<S>(
    hub: &Hub,
    inner: S,
) -> impl Service<Request<String>, Response = S::Response, Error = S::Error>
where
    S: Service<Request<String>>,
{
    let hub = hub.clone();
    tower::util::MapRequest::new(inner, move |mut request: Request<String>| {
        request.extensions_mut().insert(Grant::user("alice").scope("role:admin"));
        drop(hub.regrant("alice"));
        request
    })
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_changed_on_its_way_opens_nothing() {
    let hub = Hub::new();
    let app = hub.layer().layer(overtaken(&hub, hub.service()));
    let request = Request::get("/events").header("x-revalidate-client", "1").body(String::new()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(hub.stats().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn the_layer_of_another_hub_says_nothing_of_this_one() {
    let (other, hub) = (Hub::new(), Hub::new());
    hub.regrant("alice").await.unwrap();
    let app = other.layer().layer(hub.service());
    let mut request = Request::get("/events").body(String::new()).unwrap();
    request.extensions_mut().insert(Grant::user("alice"));
    let _response = app.oneshot(request).await.unwrap();
    assert_eq!(hub.stats().sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_layers_of_one_hub_the_outer_one_counts() {
    let hub = Hub::new();
    let app = hub.layer().layer(overtaken(&hub, hub.layer().layer(hub.service())));
    let request = Request::get("/events").body(String::new()).unwrap();
    let _response = app.oneshot(request).await.unwrap();
    assert_eq!(hub.stats().sessions, 0);
}

#[test]
fn a_cancelled_pledge_cancels_those_inside_it() {
    let hub = Hub::new();
    let inner = hub.pledge("a");
    hub.pledge(Revalidate::from(inner).and("b")).cancel();
    assert_eq!(hub.cursor().offset, 0);
    drop(http::Response::new(()).revalidate(hub.pledge("a")));
    assert_eq!(hub.cursor().offset, 1, "a response that never arrives publishes");
}

/// Current values keep the bound of one write, and all of them come.
#[tokio::test(start_paused = true)]
async fn the_first_write_is_bounded_too() {
    let hub = Hub::builder().channel("tile:*", Policy::latest().public()).build().unwrap();
    for tile in 0..50 {
        hub.channel(("tile", tile)).publish("m", &"x".repeat(20_000)).await.unwrap();
    }
    let channels: Vec<_> = (0..50).map(|tile| format!("tile:{tile}")).collect();
    let mut stream = Visit::stranger().following(&channels.join(",")).open(&hub).await;
    let mut seen = stream.parsed();
    while seen.len() < 50 {
        let chunk = stream.chunk().await.unwrap();
        assert!(chunk.len() <= 64 << 10, "{} bytes in one write", chunk.len());
        seen.extend(stream.parsed());
    }
    hub.channel("tile:1").publish("m", &"new").await.unwrap();
    assert_eq!(stream.next().await.json()["data"], "new");
}

/// Of many scopes with many keys only so much is read in one go, and no key is lost.
#[tokio::test(start_paused = true)]
async fn far_more_keys_than_an_event_carries_are_everything() {
    let hub = Hub::builder().max_scopes(20).build().unwrap();
    let grant = (0..10).fold(Grant::user("alice"), |grant, role| grant.scope(("role", role)));
    let cursor = hub.cursor();
    for role in 0..10 {
        let keys = (0..1000).map(|key| (role, key));
        hub.revalidate(Revalidate::keys(keys).to(("role", role))).await.unwrap();
    }
    let mut stream = Visit::of(grant).from(cursor).open(&hub).await;
    assert_eq!(stream.next().await.json()["keys"], json!([[]]));
}

#[tokio::test(start_paused = true)]
async fn a_test_can_say_that_nothing_was_heard() {
    let hub = Hub::builder().event_log(MemoryLog::new(Epoch::from_random(3))).build().unwrap();
    let mut sub = hub.subscribe(Grant::user("alice")).unwrap();
    assert_eq!(sub.try_recv(), Ok(None));
    drop(hub.revalidate(Revalidate::key("b").to(("user", "bob"))));
    assert_eq!(sub.try_recv(), Ok(None), "not for her");
    drop(hub.revalidate("a"));
    assert_eq!(sub.try_recv(), Ok(Some(revalidate("a"))), "at once, without a turn of dispatch");
    assert_eq!(sub.try_recv(), Ok(None));
    hub.shutdown();
    assert!(sub.try_recv().is_err());
}

/// Wakers are foreign code, too: those of other sessions are woken all the same, and later ones.
#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_costs_nobody_else_an_event() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker that panics");
        }
    }
    let hub = Hub::new();
    // A task each, so that each is polled for its own wake only.
    let others: Vec<_> = (0..5)
        .map(|_| {
            let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
            tokio::spawn(async move { (sub.recv().await.unwrap(), sub.recv().await.unwrap()) })
        })
        .collect();
    tokio::task::yield_now().await;
    let mut odd = hub.subscribe(Grant::anonymous()).unwrap();
    let waker = Waker::from(Arc::new(Panics));
    assert!(pin!(odd.recv()).poll(&mut Context::from_waker(&waker)).is_pending());
    hub.revalidate("a").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    hub.revalidate("b").await.unwrap();
    for other in others {
        let heard = common::soon("both events", other).await.unwrap();
        assert_eq!(heard, (revalidate("a"), revalidate("b")));
    }
    assert_eq!(odd.try_recv().unwrap(), Some(revalidate(["a", "b"])));
}
