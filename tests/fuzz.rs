//! Promises over any input at all, a hundred thousand cases each, drawn by proptest. A failure prints the bytes
//! of its smallest case and the seed; `SEED` replays it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "fuzz/mod.rs"]
mod promises;

use promises::Promise;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

const CASES: u32 = 100_000;
/// Cases that share a hub, which costs more than they do.
const AT_ONCE: u32 = 16;

fn hold(promise: Promise) {
    let config = ProptestConfig {
        cases: CASES / AT_ONCE,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(common::random().u64(..)),
        ..ProptestConfig::default()
    };
    // Bytes by the word: drawing each alone takes longer than the cases do.
    let cases = vec(vec(any::<u64>(), 0..16), AT_ONCE as usize);
    let outcome = TestRunner::new(config).run(&cases, |cases| {
        let bytes = |words: &Vec<u64>| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let cases: Vec<Vec<u8>> = cases.iter().map(bytes).collect();
        promise(&cases.iter().map(Vec::as_slice).collect::<Vec<_>>());
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn no_request_breaks_the_service_or_hears_more_than_its_grant() {
    hold(promises::query::query);
}

#[test]
fn any_cursor_is_fresh_resumed_or_told_of_a_gap() {
    hold(promises::cursor::cursor);
}

#[test]
fn what_is_published_is_heard_as_it_was() {
    hold(promises::event::event);
}

#[test]
fn clients_emit_nothing_that_they_may_not() {
    hold(promises::post::emit);
}

#[test]
fn a_sender_broadcasts_nothing_that_it_may_not() {
    hold(promises::post::broadcast);
}

#[test]
fn what_a_sender_revalidates_is_for_whom_it_says() {
    hold(promises::post::revalidate);
}

#[test]
fn names_of_parts_mean_what_the_parts_say() {
    hold(promises::name::name);
}

#[test]
fn keys_are_their_segments() {
    hold(promises::key::key);
}

#[cfg(feature = "header")]
#[test]
fn a_header_is_published_whole_or_not_at_all() {
    hold(promises::header::header);
}

#[test]
fn a_broker_may_hand_back_anything() {
    hold(promises::record::record);
}
