//! The promises of `tests/fuzz`, for libFuzzer. One target a promise:
//!
//! ```text
//! cargo +nightly fuzz run query
//! ```
//!
//! Without a nightly compiler there are no sanitizers, which this crate has no `unsafe` for anyway, and coverage
//! guides it all the same:
//!
//! ```text
//! RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
//!     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
//!     -Ccodegen-units=1" cargo run --release --target "$(rustc --print host-tuple)" \
//!     --manifest-path fuzz/Cargo.toml --bin query -- -max_total_time=60
//! ```
#![allow(
    clippy::new_without_default,
    clippy::should_implement_trait,
    reason = "what the tests share is no library"
)]

pub mod common;
#[path = "../../tests/fuzz/mod.rs"]
pub mod promises;

/// Sees whether a promise holds for this input.
pub fn hold(promise: promises::Promise, data: &[u8]) {
    promise(&data.chunks(128).take(16).collect::<Vec<_>>());
}
