//! The promises of `PROTOCOL.md` over random histories. See [`sim`].
//!
//! A failure prints its seed; `SIM_SEED=… SIM_TRACE=1 cargo test --test simulator` replays it and prints what
//! happened. `SIM_HISTORIES` is how many are run.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sim::history::{History, Setting, Trace};

const OPS: usize = 40;

fn on_virtual_clock<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

/// One history from one seed.
fn play(seed: u64, traced: bool) -> Trace {
    on_virtual_clock(async {
        let mut rng = fastrand::Rng::with_seed(seed);
        let setting = Setting::draw(seed, &mut rng);
        let clients = rng.usize(1..5);
        let mut history = History::new(setting, clients, rng);
        history.trace.is_on = traced;
        history.run(OPS).await;
        history.finish().await;
        history.trace
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn nothing_is_lost_in_ten_thousand_histories() {
    if let Some(seed) = number("SIM_SEED") {
        play(seed, true);
        return;
    }
    let histories = number("SIM_HISTORIES").unwrap_or(10_000);
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let run = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= histories || failed.load(Ordering::Relaxed) {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| play(seed, false))).is_err() {
                failed.store(true, Ordering::Relaxed);
                eprintln!("seed {seed} fails: SIM_SEED={seed} SIM_TRACE=1 cargo test --test simulator");
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(run);
        scope.spawn(run);
    });
    assert!(!failed.into_inner(), "an objection; the seed stands above");
}

#[test]
fn a_seed_replays_its_history_exactly() {
    for seed in 0..200 {
        assert_eq!(play(seed, true), play(seed, true), "seed {seed}");
    }
}

#[test]
fn nothing_is_lost_wherever_a_history_is_cut() {
    let play = |cut| {
        on_virtual_clock(async {
            let setting = Setting::fixed();
            let rng = fastrand::Rng::with_seed(setting.seed);
            let mut history = History::new(setting, 1, rng);
            history.cut_first_at = Some(cut);
            let was_cut = history.run_fixed().await;
            history.finish().await;
            was_cut
        })
    };
    let mut cut = 0;
    loop {
        match catch_unwind(AssertUnwindSafe(|| play(cut))) {
            Ok(true) => cut += 1,
            Ok(false) => break,
            Err(_) => panic!("an objection after a cut at byte {cut}; it stands above"),
        }
    }
    assert!(cut > 1000, "the history is {cut} bytes long");
}
