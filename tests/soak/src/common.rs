//! The strict reader of streams, as every test has it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

#[path = "../../common/sse.rs"]
pub(crate) mod sse;

/// The clients have guards of their own.
pub(crate) fn soon<F: Future>(_: &str, future: F) -> F {
    future
}
