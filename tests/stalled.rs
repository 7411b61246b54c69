//! A client that stops reading, over a real socket: memory stays flat. A process of its own, because it looks at
//! the memory of all of it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::stack;
use common::tcp::{Raw, Server};
use tower_revalidate::Hub;

/// How much this process holds in memory, in MiB.
#[cfg(target_os = "linux")]
fn resident() -> f64 {
    let pages: f64 =
        std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    // The kernel's own unit for this file on the common architectures; a larger page makes the figure smaller.
    pages * 4096.0 / f64::from(1 << 20)
}

#[cfg(not(target_os = "linux"))]
fn resident() -> f64 {
    0.0
}

/// Defect 7 (52 → 172 MiB there). The stalled session is not freed here, so that all of it happens past it.
#[tokio::test]
async fn a_client_that_stops_reading_costs_no_memory() {
    const EVENTS: u32 = 20_000;
    let hub = Hub::builder().stall_after(Duration::from_secs(3600)).build().unwrap();
    let server = Server::start(stack::tower(&hub)).await;
    let mut stalled = Raw::get(server.addr, "room:1", "alice").await;
    stalled.read_until("event: hello").await;
    let payload = "x".repeat(4096);
    let before = resident();
    let mut most = before;
    for number in 0..EVENTS {
        hub.channel("room:1").publish("x", &payload).await.unwrap();
        if number % 16 == 0 {
            // The connection's own turn: it takes what it can.
            tokio::task::yield_now().await;
            most = most.max(resident());
        }
    }
    println!(
        "{EVENTS} events of 4 KiB past a client that does not read: {before:.1} MiB, then {most:.1} MiB at most"
    );
    assert_eq!(hub.stats().sessions, 1, "it was there all the time");
    assert!(most - before < 40.0, "{before:.1} → {most:.1} MiB");
    assert!(hub.stats().retained_bytes <= 1 << 20, "{}", hub.stats().retained_bytes);

    // What it missed is a gap when it reads again, and not the end of it.
    let missed = stalled.read_until("event: gap").await;
    assert!(!missed.is_empty());
}
