//! What the end-to-end tests stand on: the examples as processes ([`Server`]), a server of the test's own
//! ([`stack`]), a client of their HTTP ([`Client`], [`Stream`]), clients that others wrote ([`Listener`]), a link
//! that can break ([`Link`]), and a browser ([`Chromium`]).
//!
//! Tests wait for conditions, never for a time. [`HANG`] is the guard: reaching it is a failure.
#![allow(clippy::panic)]

mod chromium;
mod client;
mod files;
mod gunzip;
mod link;
mod listener;
pub mod proxy;
mod server;
pub mod stack;
mod stream;

use std::fmt::Debug;
use std::time::Duration;

pub use chromium::{Chromium, Tab};
pub use client::{Client, Version};
pub use files::Files;
pub use gunzip::Gunzip;
pub use link::{Link, Traffic};
pub use listener::{Listener, Make};
pub use server::{Example, Server, Signal};
pub use stream::{Event, Stream};

/// Long enough for the slowest machine; nothing that works comes near it.
pub const HANG: Duration = Duration::from_secs(60);

/// Waits for `future`, and fails where it hangs.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANG, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Looks again and again until it sees what is expected, and fails with what it saw instead.
pub async fn eventually<T: PartialEq + Debug>(what: &str, expected: T, look: impl AsyncFn() -> T) {
    let until = tokio::time::Instant::now() + HANG;
    loop {
        let seen = look().await;
        if seen == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{what}: expected {expected:?}, saw {seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
