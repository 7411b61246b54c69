//! What sessions hold: "max alloc" of so many that are open and asleep, divided by their number.
#![allow(clippy::unwrap_used)]

mod common;

use common::{asleep, runtime};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use tower_revalidate::Hub;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 10_000], sample_count = 10, sample_size = 1)]
fn idle(bencher: Bencher<'_, '_>, sessions: usize) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let hub = Hub::new();
    // The topics are there, and the hub's task.
    let _first = asleep(&hub, 1);
    bencher.counter(ItemsCount::new(sessions)).bench_local(|| asleep(&hub, sessions));
}
