//! Publishing: from anywhere, with a receipt that means something, bounded, and never a forged byte.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use common::stack::{App, request};
use common::tcp::{Client, Server, Version};
use common::{Visit, json, soon};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_revalidate::log::{Ack, Follower, MemoryLog, Record};
use tower_revalidate::{
    AppendError, Channel, Cursor, Epoch, EventLog, Fault, Grant, Hub, KeyError, Policy, PublishError,
    QueryKey, Revalidate, RevalidateExt, message, revalidate,
};

/// Row C5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_from_a_handler_a_task_and_a_plain_thread() {
    let hub = Hub::new();
    let mut sub = hub.subscribe(Grant::anonymous().follow("room:*")).unwrap().follow("room:1").unwrap();
    let channel = |hub: &Hub, from: &str| hub.channel(("room", 1)).publish("x", &from);

    let publisher = hub.clone();
    let app = Router::new().route(
        "/",
        post(move || async move {
            channel(&publisher, "a handler").await.unwrap();
            "done"
        }),
    );
    app.oneshot(request("POST", "/", "", "")).await.unwrap();
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), message("room:1", "x", &"a handler"));

    let publisher = hub.clone();
    let task = tokio::spawn(async move { channel(&publisher, "a task").await.unwrap() });
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), message("room:1", "x", &"a task"));
    task.await.unwrap();

    let publisher = hub.clone();
    let thread = std::thread::spawn(move || channel(&publisher, "a thread").wait().unwrap());
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), message("room:1", "x", &"a thread"));
    assert_eq!(thread.join().unwrap(), hub.cursor());
}

/// PROTOCOL R6: one node's publishes to a topic keep their order, whatever the number of publishers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_publishers_lose_nothing_and_each_keeps_its_order() {
    let hub = Hub::builder()
        .channel("room:1", Policy::history(65_536))
        .retain_channel_bytes(32 << 20)
        .build()
        .unwrap();
    let mut sub = hub.subscribe(Grant::anonymous().follow("room:*")).unwrap().follow("room:1").unwrap();
    let threads: Vec<_> = (0..4_u64)
        .map(|publisher| {
            let hub = hub.clone();
            std::thread::spawn(move || {
                for number in 0..500_u64 {
                    drop(hub.channel("room:1").publish("x", &(publisher, number)));
                }
            })
        })
        .collect();
    let mut next = [0; 4];
    for _ in 0..2000 {
        let event = soon("an event", sub.recv()).await.unwrap();
        let tower_revalidate::Event::Message(heard) = event else { panic!("{event:?}") };
        let (publisher, number): (usize, u64) = heard.json().unwrap();
        assert_eq!(number, next[publisher], "of publisher {publisher}");
        next[publisher] += 1;
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(hub.cursor().offset, 2000, "dense");
}

#[tokio::test(start_paused = true)]
async fn a_receipt_is_the_place_of_the_event() {
    let hub = Hub::new();
    let before = hub.cursor();
    let receipt = hub.revalidate("posts").await.unwrap();
    assert_eq!(receipt, common::at(before, before.offset + 1));
    let mut stream = Visit::stranger().from(before).open(&hub).await;
    assert_eq!(stream.next().await.cursor(), receipt);
    let parts = Revalidate::key("a").to("user:1").and(Revalidate::key("b").to("user:2"));
    assert_eq!(hub.revalidate(parts).await.unwrap().offset, receipt.offset + 2, "of the last of its parts");
    let nobody = Revalidate::key("a").to_any(Vec::<tower_revalidate::Scope>::new());
    assert_eq!(
        hub.revalidate(nobody).await.unwrap(),
        hub.cursor(),
        "nobody to tell is no error, and no event"
    );
    drop(hub.revalidate("dropped"));
    assert_eq!(hub.cursor().offset, receipt.offset + 3, "a receipt need not be awaited");
}

/// PROTOCOL R6: who awaits receipts cannot outrun the sessions; who does not is told by nobody.
#[tokio::test(start_paused = true)]
async fn a_receipt_waits_for_dispatch_that_is_far_behind() {
    let hub = Hub::new();
    let mut sub = hub.subscribe(Grant::anonymous().follow("**")).unwrap().follow("room:0").unwrap();
    for id in 1..200 {
        sub = sub.follow(("room", id)).unwrap();
    }
    assert_eq!(sub.recv().now_or_never(), None);
    // Without a yield nothing is dispatched: each event queues another topic.
    let publish = |id: u32| hub.channel(("room", id)).publish("x", &id);
    let mut receipts: Vec<_> = (0..200).map(|id| publish(id).into_future()).collect();
    // Without the runtime's own budget, which would have them wait as well.
    type Waiting = std::pin::Pin<Box<dyn Future<Output = Result<Cursor, PublishError>> + Send>>;
    let ready = |receipt: &mut Waiting| tokio::task::unconstrained(receipt).now_or_never().is_some();
    assert!(receipts[..64].iter_mut().all(ready), "up to 64 events behind nobody waits");
    assert!(!receipts[64..].iter_mut().any(ready), "and from there on everybody does");
    let last = receipts.pop().unwrap();
    soon("dispatch", last).await.unwrap();
    assert_eq!(hub.stats().queued_topics, 0);
}

/// A publisher that awaits its receipts never outruns a session that shares its thread: no gap, however long
/// the flood.
#[tokio::test(start_paused = true)]
async fn a_flood_with_receipts_makes_no_gap() {
    let hub = Hub::new();
    let mut sub = hub.subscribe(Grant::anonymous().follow("**")).unwrap().follow("room:1").unwrap();
    let publisher = hub.clone();
    let flood = tokio::spawn(async move {
        for number in 0..20_000 {
            publisher.channel("room:1").publish("x", &number).await.unwrap();
        }
    });
    for expected in 0..20_000 {
        let event = soon("an event", sub.recv()).await.unwrap();
        assert_eq!(event, message("room:1", "x", &expected));
    }
    soon("the flood", flood).await.unwrap();
}

/// Row B15: leading edge first, then one event for the rest, and an ongoing burst still comes through.
#[tokio::test(start_paused = true)]
async fn a_burst_is_one_event_at_once_and_one_for_the_rest() {
    let hub = Hub::builder().min_interval(Duration::from_millis(100)).build().unwrap();
    let mut stream = Visit::user("1").open(&hub).await;
    let began = Instant::now();
    for id in 0..50 {
        drop(hub.revalidate(("posts", id)));
        assert!(began.elapsed() < Duration::from_millis(80));
        advance(Duration::from_micros(1600)).await;
        if id == 0 {
            assert_eq!(stream.next().await.keys(), [r#"["posts",0]"#], "the first goes at once");
        }
    }
    let rest = stream.next().await;
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(100) && waited < Duration::from_millis(200), "{waited:?}");
    assert_eq!(rest.keys().len(), 49, "the union of the others");
    assert_eq!(hub.cursor().offset, 2);

    // An ongoing burst: something in each interval, not only when it is over.
    let began = Instant::now();
    let mut frames = 0;
    while began.elapsed() < Duration::from_secs(2) {
        drop(hub.revalidate("posts"));
        sleep(Duration::from_millis(7)).await;
        frames += stream.ready().await.iter().filter(|frame| frame.name == "revalidate").count();
    }
    assert!((15..=21).contains(&frames), "{frames} in two seconds");
}

/// The interval is of one audience; another's news does not wait for it.
#[tokio::test(start_paused = true)]
async fn audiences_do_not_wait_for_each_other() {
    let hub = Hub::builder().min_interval(Duration::from_secs(10)).build().unwrap();
    let mut stream = Visit::of(Grant::user(1).scope("role:a")).open(&hub).await;
    for audience in ["user:1", "role:a"] {
        drop(hub.revalidate(Revalidate::key(("of", audience)).to(audience)));
    }
    drop(hub.revalidate("everyone"));
    assert_eq!(stream.next().await.keys().len(), 3);
    let receipt = hub.revalidate("later");
    let began = Instant::now();
    receipt.await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(9), "a receipt is for what stands");
}

#[tokio::test(start_paused = true)]
async fn what_is_delayed_comes_when_it_is_due() {
    let hub = Hub::new();
    let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
    let began = Instant::now();
    drop(hub.revalidate(Revalidate::key("late").delay(Duration::from_secs(3)).and("now")));
    drop(hub.revalidate(Revalidate::key("later").delay(Duration::from_secs(7))));
    assert_eq!(soon("an event", sub.recv()).await.unwrap(), revalidate("now"));
    assert_eq!(began.elapsed(), Duration::ZERO);
    for (key, seconds) in [("late", 3), ("later", 7)] {
        assert_eq!(soon("an event", sub.recv()).await.unwrap(), revalidate(key));
        let waited = began.elapsed();
        assert!(
            waited >= Duration::from_secs(seconds) && waited < Duration::from_secs(seconds + 1),
            "{waited:?}"
        );
    }
}

/// Row E17: too large is an error, and no event.
#[tokio::test(start_paused = true)]
async fn what_is_over_a_bound_is_a_typed_error() {
    struct Fails;
    impl Serialize for Fails {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let hub = Hub::new();
    let channel = || hub.channel("room:1");
    let fits = "x".repeat((64 << 10) - 2);
    channel().publish("x", &fits).await.unwrap();
    let before = hub.cursor();
    let error = channel().publish("x", &format!("{fits}y")).await.unwrap_err();
    assert_eq!(error, PublishError::TooLarge { bytes: (64 << 10) + 1, limit: 64 << 10 });
    assert!(matches!(channel().publish("x", &Fails).await, Err(PublishError::Serialize(_))));
    assert!(matches!(channel().publish("", &1).await, Err(PublishError::EventName(_))));
    assert!(matches!(channel().publish(&"x".repeat(129), &1).await, Err(PublishError::EventName(_))));
    assert!(matches!(hub.channel(("room", "*")).publish("x", &1).await, Err(PublishError::Channel(_))));
    assert!(matches!(
        hub.channel(("room", "x".repeat(300))).publish("x", &1).await,
        Err(PublishError::Channel(_))
    ));

    let keys = |count: u32| Revalidate::keys((0..count).map(|id| ("posts", id)));
    hub.revalidate(keys(512).to_any(["role:a", "role:b"])).await.unwrap();
    let error = hub.revalidate(keys(513).to_any(["role:a", "role:b"])).await.unwrap_err();
    assert_eq!(error, PublishError::TooMany { keys: 513, scopes: 2, limit: 1024 });
    for (refused, expected) in [
        (Revalidate::key("posts..list"), "empty segment"),
        (Revalidate::key(("posts", Fails)), "cannot be serialised"),
        (Revalidate::key(("posts", "x".repeat(2000))), "over the limit of 1024"),
        (Revalidate::key("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q"), "over the limit of 16"),
        (Revalidate::key("posts").to(("user", "*")), "audience was refused"),
    ] {
        // What is refused in part is refused as a whole.
        let error = hub.revalidate(refused.and("fine")).await.unwrap_err();
        assert!(matches!(error, PublishError::Refused(Fault::Key(_) | Fault::Audience(_))), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(hub.cursor().offset, before.offset + 1, "of those refused, nothing was published");
    assert!(matches!(QueryKey::try_from(json!("posts")), Err(KeyError::NotAnArray(_))));
}

/// A log that answers as it is told to.
#[derive(Clone)]
struct Broken(Arc<BrokenState>);

struct BrokenState {
    memory: MemoryLog,
    answers: Mutex<Vec<AppendError>>,
}

impl Broken {
    fn new(answers: Vec<AppendError>) -> Self {
        let memory = MemoryLog::new(Epoch::from_random(7));
        Broken(Arc::new(BrokenState { memory, answers: Mutex::new(answers) }))
    }
}

impl EventLog for Broken {
    fn tip(&self) -> Cursor {
        self.0.memory.tip()
    }
    fn follow(&self, after: Cursor, follower: Follower) {
        self.0.memory.follow(after, follower);
    }
    fn append(&self, record: Record, ack: Ack) {
        let answer = self.0.answers.lock().pop();
        match answer {
            None => self.0.memory.append(record, ack),
            Some(error) => ack.failed(error),
        }
    }
}

/// Idempotent, so that a revalidation is tried until it stands; a message is not, and its publisher is told.
#[tokio::test(start_paused = true)]
async fn a_log_that_fails_delays_revalidations_and_fails_messages() {
    let unavailable = || AppendError::Unavailable("down".into());
    let log = Broken::new(vec![unavailable(), AppendError::Unknown, unavailable()]);
    let hub = Hub::builder().event_log(log.clone()).build().unwrap();
    let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
    let receipt = hub.revalidate("posts").into_future();
    drop(hub.revalidate("users"));
    soon("the receipt", receipt).await.unwrap();
    assert_eq!(
        soon("an event", sub.recv()).await.unwrap(),
        revalidate(["posts", "users"]),
        "the second joined the first that waits"
    );

    *log.0.answers.lock() = vec![unavailable()];
    assert_eq!(hub.channel("room:1").publish("x", &1).await, Err(PublishError::Log(unavailable())));
    *log.0.answers.lock() = vec![AppendError::Refused("never".into())];
    assert!(matches!(hub.revalidate("x").await, Err(PublishError::Log(AppendError::Refused(_)))));
}

/// One log that several hubs follow, as the nodes behind a balancer do.
#[derive(Clone)]
struct SharedLog(Arc<Mutex<(u64, Vec<Follower>)>>);

impl EventLog for SharedLog {
    fn tip(&self) -> Cursor {
        Cursor { epoch: Epoch::from_random(7), offset: self.0.lock().0 }
    }
    fn follow(&self, _: Cursor, follower: Follower) {
        self.0.lock().1.push(follower);
    }
    fn append(&self, record: Record, ack: Ack) {
        // As it would travel: as bytes.
        let record: Record = serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
        let (at, delivered) = {
            let mut log = self.0.lock();
            log.0 += 1;
            let at = Cursor { epoch: Epoch::from_random(7), offset: log.0 };
            (at, log.1.iter().map(|follower| follower.event(at, &record)).collect::<Vec<_>>())
        };
        ack.appended(at);
        drop(delivered);
    }
}

/// Defect 15: what is published on one node is heard on every other, and a cursor of one is good on another.
#[tokio::test(start_paused = true)]
async fn fan_out_leaves_the_process() {
    let log = SharedLog(Arc::new(Mutex::new((0, Vec::new()))));
    let node = || Hub::builder().event_log(log.clone()).build().unwrap();
    let (here, there) = (node(), node());
    let mut tabs = [
        Visit::user("alice").following("room:1").open(&here).await,
        Visit::user("alice").following("room:1").open(&there).await,
    ];
    let mut bob = Visit::user("bob").open(&there).await;
    here.revalidate(Revalidate::key("mine").to("user:alice")).await.unwrap();
    there.channel("room:1").publish("x", &json!({"a": 1})).await.unwrap();
    for tab in &mut tabs {
        let frames = tab.until(|frame| frame.name == "message").await;
        assert_eq!(frames[0].keys(), [r#"["mine"]"#]);
        assert_eq!(frames[1].payload(), json!({"a": 1}));
    }
    let [tab, _] = tabs;
    let cursor = tab.cursor();
    drop(tab);
    there.channel("room:1").publish("x", &2).await.unwrap();
    let mut elsewhere = Visit::user("alice").following("room:1").from(cursor).open(&there).await;
    assert!(elsewhere.resumed());
    assert_eq!(elsewhere.next().await.payload(), 2);
    here.disconnect_user("alice").await.unwrap();
    assert_eq!(
        elsewhere.rest().await.last().unwrap().json(),
        json!({"reason": "grant"}),
        "from the other node"
    );
    assert!(bob.ready().await.iter().all(|frame| frame.name.is_empty()));
}

/// What waits is bounded, and whoever is over it is told.
#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded() {
    let hub = Hub::builder().max_pending(2).build().unwrap();
    let late = |key: &'static str| Revalidate::key(key).delay(Duration::from_secs(60));
    drop(hub.revalidate(late("a")));
    drop(hub.revalidate(late("b")));
    assert_eq!(hub.revalidate(late("c")).await, Err(PublishError::Full));
}

/// PROTOCOL R6a, in process: carried away, cancelled, or dropped.
#[tokio::test(start_paused = true)]
async fn a_pledge_is_published_once_or_as_the_response_decides() {
    let hub = Hub::new();
    let pledge = || hub.pledge(Revalidate::key("posts"));
    let events = || hub.cursor().offset;
    drop(pledge());
    assert_eq!(events(), 1, "dropped, it is published");
    pledge().cancel();
    assert_eq!(events(), 1, "cancelled, it is not");

    let answer = async |status: u16| {
        let stale = Mutex::new(Some(pledge()));
        let app = hub.layer().layer(service_fn(|_: Request<()>| {
            let stale = stale.lock().take().unwrap();
            async move {
                Ok::<_, Infallible>(Response::builder().status(status).body(()).unwrap().revalidate(stale))
            }
        }));
        app.oneshot(Request::post("/").body(()).unwrap()).await.unwrap();
    };
    answer(201).await;
    assert_eq!(events(), 2, "with its response, once");
    answer(422).await;
    assert_eq!(events(), 2, "a handler that came to its end decided: nothing changed");
    hub.revalidate(pledge()).await.unwrap();
    assert_eq!(events(), 3, "by hand, once");
    let response = Response::new(()).revalidate(pledge());
    drop(response);
    assert_eq!(events(), 4, "a response that never got to the layer");
    drop(hub.clone().pledge("posts"));
    assert_eq!(events(), 5);
}

/// PROTOCOL R6a, as it happens: the client hangs up while the handler is between its commit and its answer.
#[tokio::test]
async fn a_request_dropped_after_its_commit_still_tells_the_others() {
    for version in [Version::Http1, Version::Http2] {
        let hub = Hub::new();
        let committed = Arc::new(Notify::new());
        let rows = Arc::new(AtomicUsize::new(0));
        let (pledging, committing, storing) = (hub.clone(), committed.clone(), rows.clone());
        let app = Router::new()
            .route(
                "/posts",
                post(move || async move {
                    let stale = pledging.pledge(Revalidate::key("posts.list"));
                    storing.fetch_add(1, Ordering::SeqCst);
                    committing.notify_one();
                    std::future::pending::<()>().await;
                    (StatusCode::CREATED, Revalidate::from(stale))
                }),
            )
            .layer(hub.layer());
        let server = Server::start(App::new(app)).await;
        let mut sub = hub.subscribe(Grant::anonymous()).unwrap();
        let mut client = Client::connect(server.addr, version).await;
        {
            let posting = client.send(request("POST", "/posts", "", ""));
            tokio::select! {
                _ = posting => panic!("the handler never answers"),
                () = soon("the commit", committed.notified()) => {}
            }
            assert_eq!(sub.recv().now_or_never(), None, "not yet: it may still answer");
        }
        drop(client);
        assert_eq!(soon("the news", sub.recv()).await.unwrap(), revalidate("posts.list"), "{version:?}");
        assert_eq!(rows.load(Ordering::SeqCst), 1);
    }
}

/// Strings that would forge a field, end a frame, break JSON, or mean something in a name.
fn corpus() -> Vec<String> {
    let mut corpus: Vec<String> = [
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\0",
        "\u{feff}",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{b}",
        "\u{c}",
        "\u{1b}[31m",
        "\u{7f}",
        "a\nid: 1",
        "a\n\nevent: bye\ndata: {}\n\n",
        "a\rdata: x",
        "a\r\n\r\nretry: 1\r\n",
        ": comment",
        "id: x-1",
        "event: gap",
        "data: {}",
        "retry: 99999999",
        "\"",
        "\\",
        "\\n",
        "\\u000a",
        "\"}\n\n",
        "\",\"data\":1",
        "</script><script>alert(1)</script>",
        "<!--",
        "'; DROP TABLE posts; --",
        "${7*7}",
        "{{7*7}}",
        "%0a%0aevent:bye",
        "%00",
        "..",
        "../../etc/passwd",
        "*",
        "**",
        ":",
        ",",
        "a:b",
        "a,b",
        " ",
        "",
        "🦀",
        "é",
        "e\u{301}",
        "\u{202e}x",
        "\u{d7ff}\u{e000}",
        "null",
        "true",
        "0",
        "[]",
        "{}",
    ]
    .map(str::to_owned)
    .to_vec();
    corpus.push("x".repeat(10_000));
    corpus.push("\n".repeat(1000));
    corpus.push("[".repeat(1000));
    corpus
}

/// Row D4, defect 9, invariant 11: the reader objects to whatever is forged, and what arrives is what was said.
#[tokio::test(start_paused = true)]
async fn nothing_on_the_wire_can_be_forged_by_what_is_published() {
    let hub = Hub::new();
    let (mut said, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for text in corpus() {
        let mut stream = Visit::of(Grant::user("alice").follow("**")).following("room:1").open(&hub).await;

        // As a payload, and as a member's name in one.
        hub.channel("room:1").publish("x", &json!({ &text: &text })).await.unwrap();
        assert_eq!(
            stream.next().await.json(),
            json!({"channel": "room:1", "event": "x", "data": {&text: &text}})
        );

        // As a payload that was JSON before, white space and all.
        let raw = format!("{{\r\n \"a\"\r:\n{}\n}}", serde_json::to_string(&text).unwrap());
        let raw = serde_json::value::RawValue::from_string(raw).unwrap();
        hub.channel("room:1").publish("x", &raw).await.unwrap();
        assert_eq!(stream.next().await.payload(), json!({"a": text}));

        // As the name of an event.
        match hub.channel("room:1").publish(&text, &1).await {
            Ok(_) => {
                said.insert(format!("event {text}"));
                assert_eq!(stream.next().await.json()["event"], text);
            }
            Err(error) => {
                refused.insert(format!("event {text}"));
                assert!(matches!(error, PublishError::EventName(_)), "{error:?}");
            }
        }

        // As a part of a key, and as the text of one.
        let key = Revalidate::key(("posts", &text));
        hub.revalidate(key.clone()).await.ok();
        let leaked: &'static str = text.clone().leak();
        hub.revalidate(Revalidate::key(leaked)).await.ok();
        hub.revalidate("sentinel").await.unwrap();
        let keys = stream.next().await.json()["keys"].clone();
        assert!(keys.as_array().unwrap().contains(&json!(["sentinel"])) || keys == json!([[]]), "{keys}");
        if text.len() < 1000 {
            assert!(keys.as_array().unwrap().contains(&json!(["posts", text])), "{keys}");
        }

        // As a part of a scope and of a channel: one part, or refused.
        if let Ok(scope) = tower_revalidate::Scope::new(("user", &text)) {
            assert_eq!(scope.as_str().split(':').count(), 2, "{scope:?}");
            let mut theirs = Visit::of(Grant::user(&text)).open(&hub).await;
            hub.revalidate(Revalidate::key("mine").to(&scope)).await.unwrap();
            assert_eq!(theirs.next().await.keys(), [r#"["mine"]"#]);
        }
        match Channel::new(("room", &text)) {
            Err(_) => _ = refused.insert(format!("channel {text}")),
            Ok(channel) => {
                said.insert(format!("channel {text}"));
                let visit = Visit::of(Grant::user(1).follow(("room", &text)).follow("room:x"));
                let mut follower = visit.following(channel.as_str()).open(&hub).await;
                hub.channel(&channel).publish("x", &1).await.unwrap();
                let heard = follower.next().await.json();
                assert_eq!(heard["channel"], channel.as_str());
                assert_eq!(follower.hello.json()["channels"], json!([channel]));
            }
        }
    }
    for text in ["\n", "\r", "\0", "a\nid: 1", "\u{85}"] {
        for what in ["event", "channel"] {
            assert!(refused.contains(&format!("{what} {text}")), "{what} {text:?}");
        }
    }
    assert!(said.contains("event 🦀") && said.contains("channel 🦀"));
}

/// The same corpus from the other side: in everything that a client sends.
#[tokio::test(start_paused = true)]
async fn nothing_on_the_wire_can_be_forged_by_what_a_client_sends() {
    let hub = Hub::builder().authorize(|parts| async move {
        let name =
            parts.headers.get("x-user").map(|user| String::from_utf8_lossy(user.as_bytes()).into_owned());
        Ok(Grant::user(name.unwrap_or_default()))
    });
    let hub = hub.build().unwrap();
    let epoch = hub.cursor().epoch;
    for text in corpus() {
        // As channels; the name comes back in `denied`, as it was.
        if text.len() < 2000 {
            let stream = Visit::stranger().following(&text).open(&hub).await;
            let denied = stream.hello.json()["denied"].clone();
            let names: Vec<_> = text.split(',').filter(|name| !name.is_empty()).collect::<Vec<_>>();
            let back: Vec<_> =
                denied.as_array().unwrap().iter().map(|denied| denied["channel"].clone()).collect();
            assert_eq!(json!(back), json!(names), "{text:?}");
        }
        // As a cursor in the query, and as names and values of nothing we know.
        let quoted: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        if quoted.len() < 4000 {
            for query in [
                format!("last_event_id={quoted}"),
                format!("lastEventId={epoch}-1{quoted}"),
                format!("{quoted}={quoted}"),
                format!("channels={quoted}&channels={quoted}"),
            ] {
                let mut stream = Visit::stranger().query(&query).open(&hub).await;
                let resumed = stream.resumed();
                let frames = stream.ready().await;
                assert_eq!(
                    frames.iter().any(|frame| frame.name == "gap"),
                    !resumed && stream.hello.id.is_none()
                );
            }
        }
        // As headers, those that HTTP lets through.
        let Ok(value) = http::HeaderValue::from_bytes(text.as_bytes()) else { continue };
        for name in ["last-event-id", "x-user", "x-revalidate-id", "x-revalidate-client", "cookie", "accept"]
        {
            let mut request = Visit::stranger().request();
            request.headers_mut().insert(name, value.clone());
            let response = hub.service().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            for value in response.headers().values() {
                assert!(!value.as_bytes().iter().any(u8::is_ascii_control));
            }
            let mut stream = common::Stream::new(response.into_body(), None);
            stream.greet().await;
            stream.ready().await;
        }
    }
    assert_eq!(hub.cursor().epoch, epoch);
    assert_eq!(hub.stats().sessions, 0);
}

/// A refusal's words are data, too.
#[tokio::test(start_paused = true)]
async fn a_refusals_message_is_json_whatever_it_says() {
    for text in corpus() {
        let said = text.clone();
        let hub = Hub::builder()
            .authorize(move |_| std::future::ready(Err(tower_revalidate::Refusal::forbidden(said.clone()))))
            .build()
            .unwrap();
        let (status, error) = json(Visit::stranger().answer(&hub).await).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(error, json!({"code": "accessdenied", "message": text}));
    }
}

/// A log that keeps what it is given as text.
#[derive(Clone)]
struct Written(Arc<Mutex<Vec<String>>>);

impl EventLog for Written {
    fn tip(&self) -> Cursor {
        Cursor { epoch: Epoch::from_random(7), offset: 0 }
    }
    fn follow(&self, _: Cursor, _: Follower) {}
    fn append(&self, record: Record, ack: Ack) {
        self.0.lock().push(serde_json::to_string(&record).unwrap());
        ack.failed(AppendError::Refused("written down".into()));
    }
}

/// A record reads back as it was written, and one from outside is checked like anything else.
#[tokio::test(start_paused = true)]
async fn a_record_from_outside_is_checked_like_any_other() {
    let log = Written(Arc::new(Mutex::new(Vec::new())));
    let hub = Hub::builder().event_log(log.clone()).build().unwrap();
    drop(hub.channel("room:1").publish("posted", &json!({"a": [1, null, "\n"]})));
    drop(hub.revalidate(Revalidate::key(("posts", 1)).to("user:alice")));
    drop(hub.revalidate("users"));
    drop(hub.disconnect_user("mallory"));
    let written = log.0.lock().clone();
    assert_eq!(written.len(), 4);
    for text in &written {
        let record: Record = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(serde_json::to_string(&record).unwrap(), *text);
    }
    for (from, to) in [
        ("room:1", "room:*"),
        ("room:1", "room:\\n"),
        ("user:alice", "user:*"),
        ("user:alice", ""),
        (r#"["users"]"#, r#""users""#),
    ] {
        let text =
            written.iter().find(|text| text.contains(from)).unwrap_or_else(|| panic!("{from} is in none"));
        let forged = text.replace(from, to);
        assert!(serde_json::from_str::<Record>(&forged).is_err(), "{forged}");
    }
}
