//! Promises over any input at all, for two drivers: `tests/fuzz.rs` draws inputs with proptest, `fuzz/` has
//! libFuzzer breed them. Each promise is a function of a few byte strings, one a case, that share a hub; it
//! panics where the promise is broken. What is right is judged by oracles of its own, written from the
//! documentation.
//!
//! - [`query`]: requests, and what a stream that opens may hear.
//! - [`cursor`]: where a client comes back to.
//! - [`event`]: what is published reaches the client as it was.
//! - [`name`], [`key`]: names and keys of parts mean what their parts say.
//! - [`post`]: what clients and trusted senders say.
//! - [`header`]: what an upstream says in a response header.
//! - [`record`]: what a broker may hand back.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

pub mod cursor;
pub mod event;
#[cfg(feature = "header")]
pub mod header;
pub mod input;
pub mod key;
pub mod name;
pub mod post;
pub mod query;
pub mod record;
pub mod rights;
pub mod tape;
pub mod viewer;

pub use input::Input;
pub use rights::Rights;
pub use tape::Tape;
pub use viewer::Viewer;

use tokio::runtime::{Builder, Runtime};

/// A promise: it takes cases and panics where one of them breaks it.
pub type Promise = fn(&[&[u8]]);

thread_local! {
    /// Never dropped: at the end of a thread its tasks could reach nothing any more.
    static RUNTIME: &'static Runtime = Box::leak(Box::new(
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap(),
    ));
}

/// On this thread's runtime, which is built once, and whose clock stands still between cases.
fn on_runtime(future: impl Future<Output = ()>) {
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            future.await;
            // The task of a hub ends at the first tick without a session, and the hub with it.
            tokio::time::advance(std::time::Duration::from_secs(2)).await;
            dispatched().await;
        });
    });
}

/// Dispatch had its turns.
async fn dispatched() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}
