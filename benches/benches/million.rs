//! A million sessions without sockets: what one holds, what an event to all of them takes, what it takes when they
//! come back at once, and what `publish` costs the handler meanwhile.
//!
//! `cargo bench -p benches --bench million`, or with another number of sessions behind it: `-- 1100000`. What is held
//! is counted by the allocator, at that number and a tenth above it (lists that double are emptiest right behind a
//! power of two), the body included; RSS stands beside it. Each case runs in a process of its own, so that none finds
//! room that another left.
#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::System;
use std::fmt::Display;
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{read, runtime};
use futures_util::{FutureExt, Stream, StreamExt};
use http::Request;
use http_body_util::Empty;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower::ServiceExt;
use tower_revalidate::{Grant, Hub, Policy, SseBody};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Sessions that are tasks of a runtime, or come back at once.
const TASKS: usize = 100_000;

/// Who opens a stream, by its number: the channels that it follows, and its user.
struct Kind {
    name: &'static str,
    channels: fn(usize) -> String,
    grant: fn(usize) -> Grant,
}

fn anyone(_: usize) -> Grant {
    Grant::anonymous().follow("room:*")
}

const KINDS: [Kind; 6] = [
    Kind { name: "everyone alone", channels: |_| String::new(), grant: anyone },
    Kind { name: "and a shared channel", channels: |_| "room:1".into(), grant: anyone },
    Kind { name: "and three shared channels", channels: |_| "room:1,room:2,room:3".into(), grant: anyone },
    Kind { name: "and a channel of its own", channels: |n| format!("room:{n}"), grant: anyone },
    Kind { name: "signed in, with its scope", channels: |_| String::new(), grant: Grant::user },
    Kind {
        name: "so, and a shared scope",
        channels: |_| String::new(),
        grant: |n| Grant::user(n).scope("role:member"),
    },
];

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    match (arguments.first().map(String::as_str), &numbers[..]) {
        (Some("--held"), &[kind, sessions]) => held(&KINDS[kind], sessions),
        (Some("--dispatch"), &[sessions]) => dispatch(sessions),
        (Some("--tasks"), _) => tasks(),
        (Some("--resume"), _) => resume(),
        (Some("--publish"), &[sessions]) => publish(sessions),
        (Some("--threads"), _) => threads(),
        (_, sessions) => all(sessions.first().copied().unwrap_or(1_000_000)),
    }
}

fn all(sessions: usize) {
    println!("bytes a session (allocated, RSS)");
    for kind in 0..KINDS.len() {
        for sessions in [sessions, sessions + sessions / 10] {
            run("--held", &[kind, sessions]);
        }
    }
    println!("an event to all");
    run("--dispatch", &[sessions]);
    run("--tasks", &[]);
    println!("coming back at once, 10 messages and 10 keys behind");
    run("--resume", &[]);
    println!("`publish` in the handler");
    [0, 10_000, TASKS].iter().for_each(|sessions| run("--publish", &[*sessions]));
    println!("reading an event in {TASKS} sessions: what one thread does alone, and two side by side");
    run("--threads", &[]);
}

fn run(case: &str, numbers: &[usize]) {
    let numbers = numbers.iter().map(usize::to_string);
    let status = Command::new(std::env::current_exe().unwrap()).arg(case).args(numbers).status();
    assert!(status.unwrap().success(), "{case} failed");
}

fn row(name: impl Display, value: impl Display) {
    println!("  {name:<52} {value}");
}

fn hub(sessions: usize) -> Hub {
    let hub = Hub::builder().max_sessions(sessions + 2).max_subscriptions(sessions * 8 + 16);
    hub.channel("room:*", Policy::history(1000)).build().unwrap()
}

fn open(hub: &Hub, channels: &str, grant: Grant, cursor: Option<&str>) -> SseBody {
    let mut request =
        Request::get(format!("/events?channels={channels}")).body(Empty::<Bytes>::new()).unwrap();
    if let Some(cursor) = cursor {
        request.headers_mut().insert("last-event-id", cursor.parse().unwrap());
    }
    request.extensions_mut().insert(grant);
    hub.service().oneshot(request).now_or_never().unwrap().unwrap().into_body()
}

/// Streams that have read all there is and sleep.
fn asleep(hub: &Hub, kind: &Kind, sessions: usize) -> Vec<SseBody> {
    let mut bodies = Vec::with_capacity(sessions);
    for number in 0..sessions {
        let mut body = open(hub, &(kind.channels)(number), (kind.grant)(number), None);
        assert!(read(&mut body) > 0);
        bodies.push(body);
    }
    bodies
}

fn allocated() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Resident pages, where the system tells.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4096
}

fn held(kind: &Kind, sessions: usize) {
    let (runtime, hub) = (runtime(), hub(sessions));
    let _entered = runtime.enter();
    let _first = asleep(&hub, kind, 1);
    let (before, resident_before) = (allocated(), resident());
    let bodies = asleep(&hub, kind, sessions);
    let (bytes, resident) = (allocated() - before, resident().saturating_sub(resident_before));
    let name = format!("{}, {sessions} sessions", kind.name);
    row(name, format_args!("{:>5} {:>5}", bytes / sessions, resident / sessions));
    std::mem::forget(bodies);
}

/// A waker that counts, and costs next to nothing.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll(body: &mut SseBody, waker: &Waker) -> usize {
    let mut bytes = 0;
    while let Poll::Ready(chunk) = Pin::new(&mut *body).poll_next(&mut Context::from_waker(waker)) {
        bytes += chunk.unwrap().unwrap().len();
    }
    bytes
}

/// From the call until all were marked and woken, and until all have read it; one thread does either.
fn dispatch(sessions: usize) {
    let (runtime, hub) = (runtime(), hub(sessions));
    let _entered = runtime.enter();
    let mut bodies = asleep(&hub, &KINDS[1], sessions);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    for round in 0..3 {
        bodies.iter_mut().for_each(|body| assert_eq!(poll(body, &waker), 0));
        woken.0.store(0, Ordering::Relaxed);
        let began = Instant::now();
        drop(hub.channel("room:1").publish("new_message", &"hello"));
        runtime.block_on(async {
            while woken.0.load(Ordering::Relaxed) < sessions {
                tokio::task::yield_now().await;
            }
        });
        let marked = began.elapsed();
        bodies.iter_mut().for_each(|body| assert!(poll(body, &waker) > 0));
        let read = began.elapsed();
        if round > 0 {
            row(format_args!("{sessions} sessions: marked and woken"), format_args!("{marked:.1?}"));
            row(format_args!("{sessions} sessions: read by all"), format_args!("{read:.1?}"));
        }
    }
}

/// The same with tasks of a runtime with a thread a core, to which the publisher does not belong.
fn tasks() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let hub = hub(TASKS);
    let heard = Arc::new(AtomicUsize::new(0));
    for mut body in asleep(&hub, &KINDS[1], TASKS) {
        let heard = heard.clone();
        runtime.spawn(async move {
            while body.next().await.is_some() {
                heard.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    thread::sleep(Duration::from_millis(500));
    for round in 0..3 {
        heard.store(0, Ordering::Relaxed);
        let began = Instant::now();
        drop(hub.channel("room:1").publish("new_message", &"hello"));
        while heard.load(Ordering::Relaxed) < TASKS {
            thread::sleep(Duration::from_micros(100));
        }
        if round > 0 {
            row(format_args!("{TASKS} tasks: read by all"), format_args!("{:.1?}", began.elapsed()));
        }
    }
    hub.shutdown();
}

fn resume() {
    let (runtime, hub) = (runtime(), hub(TASKS));
    let _entered = runtime.enter();
    let cursor = hub.cursor().to_string();
    for number in 0..10 {
        hub.channel("room:1").publish("new_message", &number);
        hub.revalidate(tower_revalidate::Revalidate::key(("posts", number)));
    }
    let began = Instant::now();
    let mut bodies: Vec<_> = (0..TASKS).map(|n| open(&hub, "room:1", anyone(n), Some(&cursor))).collect();
    let opened = began.elapsed();
    let bytes: usize = bodies.iter_mut().map(read).sum();
    let all = began.elapsed();
    row(format_args!("{TASKS} sessions: opened"), format_args!("{opened:.1?}"));
    row(format_args!("{TASKS} sessions: {} bytes each read", bytes / TASKS), format_args!("{all:.1?}"));
}

/// The call alone. Nothing of dispatch runs meanwhile.
fn publish(sessions: usize) {
    const CALLS: u32 = 10_000;
    let (runtime, hub) = (runtime(), hub(sessions));
    let _entered = runtime.enter();
    let _bodies = asleep(&hub, &KINDS[1], sessions);
    let mut took: Vec<_> = (0..CALLS)
        .map(|_| {
            let began = Instant::now();
            drop(hub.channel("room:1").publish("new_message", &"hello"));
            began.elapsed()
        })
        .collect();
    took.sort();
    let [median, rare] = [took.len() / 2, took.len() * 99 / 100].map(|index| took[index]);
    row(
        format_args!("{sessions} sessions: median, 99th percentile"),
        format_args!("{median:.1?}, {rare:.1?}"),
    );
}

/// Whether finer locks would pay. Two threads that only wait for each other take as long as one; two that never do,
/// half as long: what one read holds the lock for is at most the part that does not shrink.
fn threads() {
    let (runtime, hub) = (runtime(), hub(TASKS));
    let _entered = runtime.enter();
    let mut bodies = asleep(&hub, &KINDS[1], TASKS);
    let mut best = [Duration::MAX; 2];
    for _ in 0..10 {
        for threads in [1, 2] {
            drop(hub.channel("room:1").publish("new_message", &"hello"));
            runtime.block_on(async {
                // The last topic leaves the queue before its sessions are marked, a few at a turn.
                for _ in 0..TASKS / 16 {
                    tokio::task::yield_now().await;
                }
            });
            best[threads - 1] = best[threads - 1].min(side_by_side(&mut bodies, threads));
        }
    }
    let [one, two] = best.map(|time| time.as_secs_f64());
    row("one thread", format_args!("{:.1?}, {:.0} ns a read", best[0], one * 1e9 / TASKS as f64));
    row("two threads", format_args!("{:.1?}, {:.2} times as fast", best[1], one / two));
    let serial = (2.0 * two / one - 1.0).clamp(0.0, 1.0);
    row("of a read, at most under the lock", format_args!("{:.0} %", serial * 100.0));
}

/// Has all read one event, by this many threads.
fn side_by_side(bodies: &mut [SseBody], threads: usize) -> Duration {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let halves = bodies.chunks_mut(TASKS / threads).map(|half| {
            scope.spawn(|| {
                barrier.wait();
                let began = Instant::now();
                half.iter_mut().for_each(|body| assert!(read(body) > 0));
                began.elapsed()
            })
        });
        let running: Vec<_> = halves.collect();
        running.into_iter().map(|half| half.join().unwrap()).max().unwrap()
    })
}
