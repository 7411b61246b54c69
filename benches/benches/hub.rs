//! What publishing, dispatch and resuming take. Publishing must not depend on how many listen: fan-out is
//! dispatch's, off the publisher's path.
#![allow(clippy::unwrap_used)]

mod common;

use common::{asleep, open, read, runtime};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use tower_revalidate::{Hub, Policy};

/// Sessions that do something at once.
const SESSIONS: usize = 10_000;

fn main() {
    divan::main();
}

/// A message from the call to its frame in retention, by the size of its payload.
#[divan::bench(args = [16, 256, 4096, 65_000])]
fn encode(bencher: Bencher<'_, '_>, size: usize) {
    let hub = Hub::new();
    let payload = "x".repeat(size);
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| drop(hub.channel("room:1").publish("new_message", &payload)));
}

/// Revalidating a key while so many streams of everyone are open. Nothing of dispatch is counted.
#[divan::bench(args = [0, 10_000, 100_000], sample_size = 100)]
fn publish_key(bencher: Bencher<'_, '_>, sessions: usize) {
    let (runtime, hub) = (runtime(), Hub::new());
    let _entered = runtime.enter();
    let _bodies = asleep(&hub, sessions);
    bencher.bench_local(|| drop(hub.revalidate("posts.list")));
}

/// A message while so many streams follow its channel. Nothing of dispatch is counted.
#[divan::bench(args = [0, 10_000, 100_000], sample_size = 100)]
fn publish_message(bencher: Bencher<'_, '_>, sessions: usize) {
    let (runtime, hub) = (runtime(), Hub::new());
    let _entered = runtime.enter();
    let _bodies = asleep(&hub, sessions);
    bencher.bench_local(|| drop(hub.channel("room:1").publish("new_message", &"hello")));
}

/// A message from the call until each of 10 000 sessions has written it and sleeps again.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn dispatch(bencher: Bencher<'_, '_>) {
    let (runtime, hub) = (runtime(), Hub::new());
    let _entered = runtime.enter();
    let mut bodies = asleep(&hub, SESSIONS);
    bencher.counter(ItemsCount::new(SESSIONS)).bench_local(|| {
        drop(hub.channel("room:1").publish("new_message", &"hello"));
        runtime.block_on(async {
            while hub.stats().queued_topics > 0 {
                tokio::task::yield_now().await;
            }
            // The last topic left the queue; its sessions are swept a few at a turn.
            for _ in 0..SESSIONS / 16 {
                tokio::task::yield_now().await;
            }
        });
        let heard = bodies.iter_mut().filter_map(|body| (read(body) > 0).then_some(())).count();
        assert_eq!(heard, SESSIONS);
    });
}

/// 10 000 sessions come back at once, each so many messages and as many keys behind, and read all of it.
#[divan::bench(args = [0, 10, 100], sample_count = 20, sample_size = 1)]
fn resume(bencher: Bencher<'_, '_>, behind: usize) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let hub = Hub::builder().channel("room:*", Policy::history(1000)).build().unwrap();
    let cursor = hub.cursor().to_string();
    for number in 0..behind {
        hub.channel("room:2").publish("new_message", &number);
        hub.revalidate(tower_revalidate::Revalidate::key(("posts", number)));
    }
    bencher.counter(ItemsCount::new(SESSIONS)).bench_local(|| {
        let mut bodies: Vec<_> = (0..SESSIONS).map(|_| open(&hub, Some(&cursor))).collect();
        let bytes: usize = bodies.iter_mut().map(read).sum();
        assert!(bytes > SESSIONS * behind);
        bodies
    });
}
