//! One hub over many runtimes, over none, and past the end of some: who may hear hears.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::{Arc, LazyLock, mpsc};
use std::time::Duration;

use common::{HANG, Stream, Visit, soon};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tower_revalidate::{Event, Grant, Hub, RecvError, SseBody, Subscription, message, revalidate};

/// As an app has it that is tested in one process: each test is a runtime of its own, in any order, at once.
static HUB: LazyLock<Hub> = LazyLock::new(Hub::new);

async fn use_the_static_hub(name: &'static str) {
    let channel = tower_revalidate::Channel::new(("room", name)).unwrap();
    let mut sub = HUB.subscribe(Grant::user(name).follow("room:*")).unwrap().follow(&channel).unwrap();
    let mut stream = Visit::user(name).following(channel.as_str()).open(&HUB).await;
    for number in 0..100 {
        HUB.channel(&channel).publish("x", &number).await.unwrap();
        assert_eq!(soon("an event", sub.recv()).await.unwrap(), message(&channel, "x", &number));
        assert_eq!(stream.next().await.payload(), number);
    }
}

#[tokio::test]
async fn a_hub_in_a_static_works_in_one_test() {
    use_the_static_hub("one").await;
}

#[tokio::test]
async fn a_hub_in_a_static_works_in_another_test() {
    use_the_static_hub("another").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_in_a_static_works_in_a_test_with_threads() {
    use_the_static_hub("threads").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_hub_in_a_static_works_in_a_test_with_one_worker() {
    use_the_static_hub("worker").await;
}

#[test]
fn a_hub_in_a_static_works_on_runtimes_that_come_and_go() {
    for name in ["first", "second", "third"] {
        current_thread().block_on(use_the_static_hub(name));
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn with_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A hub whose heartbeats come often, so that a test sees whether the ticker runs.
fn ticking() -> Hub {
    Hub::builder().heartbeat(Duration::from_millis(50)).build().unwrap()
}

/// A stream that is read on a runtime with a thread of its own; its heartbeats arrive at the other end.
fn read_on(runtime: &Runtime, mut stream: Stream<SseBody>) -> mpsc::Receiver<common::Frame> {
    let (tell, hears) = mpsc::channel();
    runtime.spawn(async move {
        while let Some(frame) = stream.frame().await {
            if tell.send(frame).is_err() {
                return;
            }
        }
    });
    hears
}

fn next(frames: &mpsc::Receiver<common::Frame>, wanted: impl Fn(&common::Frame) -> bool) -> common::Frame {
    let until = std::time::Instant::now() + HANG;
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let frame = frames.recv_timeout(left).expect("waited in vain for a frame");
        if wanted(&frame) {
            return frame;
        }
    }
}

fn is_heartbeat(frame: &common::Frame) -> bool {
    frame.name.is_empty()
}

/// The runtime that dispatch runs on goes down while a session lives on another: dispatch and ticker move.
#[test]
fn a_session_outlives_the_runtime_that_served_it() {
    for flavour in [current_thread, with_threads] {
        let hub = ticking();
        let first = flavour();
        let second = with_threads();
        // The first session's runtime is the one that dispatch starts on.
        let held = first.block_on(async {
            let mut stream = Visit::stranger().open(&hub).await;
            assert!(is_heartbeat(&stream.frame().await.unwrap()), "it runs");
            stream
        });
        let stream = second.block_on(Visit::user("alice").following("room:1").open(&hub));
        let frames = read_on(&second, stream);
        drop(first);
        next(&frames, is_heartbeat);
        next(&frames, is_heartbeat);
        let publisher = hub.clone();
        std::thread::spawn(move || publisher.channel("room:1").publish("x", &1).wait().unwrap())
            .join()
            .unwrap();
        assert_eq!(next(&frames, |frame| frame.name == "message").payload(), 1);
        drop(held);
    }
}

/// `held` sessions on a runtime whose task never runs, and one on another: the first goes down.
fn outlives_a_runtime_with(held: usize) {
    let hub = ticking();
    let first = current_thread();
    let second = with_threads();
    let subs: Vec<_> = {
        let _context = first.enter();
        (0..held).map(|_| hub.subscribe(Grant::anonymous()).unwrap()).collect()
    };
    let stream = Visit::user("alice").following("room:1");
    let mut stream = second.block_on(stream.answer(&hub)).into_body();
    drop(first);
    // Nobody publishes, nobody opens: the heartbeat alone shows that somebody looks after the session.
    let mut parsed = Stream::new(&mut stream, None);
    second.block_on(async {
        parsed.greet().await;
        for _ in 0..2 {
            assert!(is_heartbeat(&parsed.frame().await.unwrap()));
        }
    });
    drop(subs);
}

/// The same, where the task was spawned on the first runtime and never ran there.
#[test]
fn a_session_outlives_a_runtime_that_never_ran_its_task() {
    outlives_a_runtime_with(1);
}

/// The same, where most sessions are of the runtime that went down.
#[test]
fn a_runtime_that_went_down_with_many_sessions_hides_no_other() {
    outlives_a_runtime_with(40);
}

/// All runtimes are gone, and a session is held: the next runtime to come by looks after it.
#[test]
fn a_session_waits_for_the_next_runtime() {
    let hub = ticking();
    let first = current_thread();
    let mut stream = first.block_on(Visit::user("alice").following("room:1").open(&hub));
    drop(first);
    hub.channel("room:1").publish("x", &1).wait().unwrap();
    let second = current_thread();
    second.block_on(async {
        assert_eq!(stream.next().await.payload(), 1, "what was published meanwhile");
        hub.channel("room:1").publish("x", &2).await.unwrap();
        assert_eq!(stream.next().await.payload(), 2);
        assert!(is_heartbeat(&stream.frame().await.unwrap()), "the task runs here now");
    });
}

/// Sessions on two runtimes, published to from both and from a thread.
#[test]
fn sessions_on_two_runtimes_hear_the_same() {
    let hub = Hub::new();
    let runtimes = [with_threads(), with_threads()];
    let frames: Vec<_> = runtimes
        .iter()
        .map(|runtime| {
            let stream = runtime.block_on(Visit::user("alice").following("room:1").open(&hub));
            read_on(runtime, stream)
        })
        .collect();
    let publish = |number: u64| hub.channel("room:1").publish("x", &number);
    for number in (0..300).step_by(3) {
        runtimes[0].block_on(publish(number).into_future()).unwrap();
        runtimes[1].block_on(publish(number + 1).into_future()).unwrap();
        publish(number + 2).wait().unwrap();
        for frames in &frames {
            for number in number..number + 3 {
                assert_eq!(next(frames, |frame| frame.name == "message").payload(), number);
            }
        }
    }
}

/// A subscription needs no runtime at all.
#[test]
fn without_any_runtime_a_subscription_hears() {
    let hub = Hub::new();
    let mut sub = hub.subscribe(Grant::anonymous().follow("room:*")).unwrap().follow("room:1").unwrap();
    assert_eq!(sub.recv().now_or_never(), None);
    hub.revalidate("posts").wait().unwrap();
    hub.channel("room:1").publish("x", &1).wait().unwrap();
    assert_eq!(sub.recv().now_or_never().unwrap().unwrap(), revalidate("posts"));
    assert_eq!(sub.recv().now_or_never().unwrap().unwrap(), message("room:1", "x", &1));
    assert_eq!(sub.recv().now_or_never(), None);
}

/// And one that waits on a plain thread is woken from another.
#[test]
fn without_any_runtime_a_waiting_thread_is_woken() {
    let hub = Hub::new();
    let sub =
        |hub: &Hub| hub.subscribe(Grant::anonymous().follow("room:*")).unwrap().follow("room:1").unwrap();
    let (tell, hears) = mpsc::channel();
    let listening: Vec<_> = (0..4)
        .map(|_| {
            let (mut sub, tell) = (sub(&hub), tell.clone());
            std::thread::spawn(move || {
                for number in 0..50 {
                    assert_eq!(block_on(&mut sub).unwrap(), message("room:1", "x", &number));
                    tell.send(()).unwrap();
                }
            })
        })
        .collect();
    for number in 0..50 {
        hub.channel("room:1").publish("x", &number).wait().unwrap();
        for _ in &listening {
            hears.recv_timeout(HANG).expect("a thread was not woken");
        }
    }
    listening.into_iter().for_each(|thread| thread.join().unwrap());
}

/// The smallest executor there is: a thread that parks.
fn block_on(sub: &mut Subscription) -> Result<Event, RecvError> {
    use std::task::{Context, Poll, Wake, Waker};
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut recv = std::pin::pin!(sub.recv());
    loop {
        match recv.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(event) => return event,
            Poll::Pending => std::thread::park_timeout(HANG),
        }
    }
}

/// Defect 6 of the reference implementations, over runtimes: when the last session is gone the task is too, and
/// the hub keeps nothing alive.
#[test]
fn when_the_last_session_is_gone_nothing_runs_and_the_hub_can_go() {
    let (hub, runtime) = (ticking(), with_threads());
    let held = Arc::new(Mutex::new(()));
    let hold = held.clone();
    let hub = {
        drop(hub);
        Hub::builder()
            .heartbeat(Duration::from_millis(50))
            .on_disconnect(move |_, _| drop(hold.lock()))
            .build()
            .unwrap()
    };
    for _ in 0..3 {
        let stream = runtime.block_on(Visit::user("alice").open(&hub));
        drop(stream);
    }
    drop(hub);
    runtime.block_on(common::eventually("what the hub holds is freed", 1, async || Arc::strong_count(&held)));
}

/// Who was there through a runtime that is gone leaves on the next one.
#[test]
fn a_user_whose_runtime_went_down_leaves_on_the_next() {
    let hub = Hub::builder()
        .heartbeat(Duration::from_millis(50))
        .presence_grace(Duration::from_millis(50))
        .build()
        .unwrap();
    let join = |user: &str| Visit::user(user).query("presence=room:1");
    let first = current_thread();
    drop(first.block_on(join("alice").open(&hub)));
    drop(first);
    // Nothing runs: she is still there, as nobody says otherwise.
    let second = current_thread();
    second.block_on(async {
        let _bob = join("bob").open(&hub).await;
        let presence = hub.presence("room:1").unwrap();
        common::eventually("alice left", (false, 1), async || (presence.has("alice"), presence.count()))
            .await;
    });
}

/// The task outlives the last session until its user has left, and no longer.
#[test]
fn when_the_last_user_left_nothing_runs() {
    let held = Arc::new(());
    let hold = held.clone();
    let hub = Hub::builder()
        .heartbeat(Duration::from_millis(50))
        .presence_grace(Duration::from_millis(100))
        .on_disconnect(move |_, _| _ = &hold)
        .build()
        .unwrap();
    let runtime = with_threads();
    drop(runtime.block_on(Visit::user("alice").query("presence=room:1").open(&hub)));
    assert!(hub.presence("room:1").unwrap().has("alice"));
    drop(hub);
    runtime.block_on(common::eventually("what the hub holds is freed", 1, async || Arc::strong_count(&held)));
}
