//! Every interleaving, up to a bounded number of preemptions, of {append → retention → tip → sweep → wake} with
//! {register, read, sleep}, with heartbeats, with a session that leaves during the sweep, and with users that join
//! and leave.
//!
//! `RUSTFLAGS="--cfg loom_model" cargo test --lib --release loom`. A session that sleeps through an event is a
//! deadlock, which loom reports.

use std::future::poll_fn;
use std::sync::Arc;

use loom::future::block_on;
use loom::thread;

use super::Ticket;
use super::board::{Board, BoardOptions, Opening, Read, Seat};
use super::core::Marked;
use crate::log::{Record, RecordKind};
use crate::proto::{
    Batch, Floors, Follow, Policies, PresenceLimits, ReadLimits, Replay, Retention, RetentionLimits, Start,
    Stretch, TopicName,
};
use crate::revalidate::Audience;
use crate::{Channel, Epoch, QueryKey};

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

fn board() -> Arc<Board> {
    let presence = PresenceLimits { page: 8, updates: true };
    let limits = RetentionLimits {
        bytes: 1 << 20,
        channel_bytes: 1 << 16,
        age: 1 << 30,
        topics: 8,
        keys: 8,
        presence,
    };
    let epoch = Epoch::from_random(1);
    let retention = Retention::new(epoch, 0, Floors::new(1, 0), limits, Policies::default());
    let options = BoardOptions {
        sessions: 8,
        subscriptions: 64,
        read: ReadLimits {
            stretch: Stretch { bytes: 1 << 16, events: 8 },
            gap_every: 0,
            keys: 8,
            refetches_per_s: 1000,
        },
        heartbeat: 1000,
        stall_after: 1 << 30,
        grace: 0,
        describes_ends: false,
        wait: None,
    };
    Arc::new(Board::new(retention, options, 0))
}

fn open(board: &Board) -> Seat {
    open_as(board, None)
}

/// A session; with an identity, one that is present in a room.
fn open_as(board: &Board, identity: Option<&str>) -> Seat {
    let opening = Opening {
        identity: identity.map(Arc::from),
        presence: identity.map(|_| Channel::new("room").unwrap()).into_iter().collect(),
        attendee: None,
        follows: vec![Follow { name: TopicName::Everyone, replay: Replay::Retained }],
        start: Start::At(crate::Cursor { epoch: Epoch::from_random(1), offset: 0 }),
        granted_at: 0,
        expires_in: None,
        runtime: None,
        kind: super::Kind::Stream,
    };
    board.open(opening, 0).unwrap_or_else(|_| unreachable!("the board is open and has room"))
}

/// An open session that has said hello and would sleep now.
fn open_and_greet(board: &Board) -> Seat {
    let seat = open(board);
    assert!(next(board, &seat).opening.is_some());
    seat
}

fn append(board: &Board, offset: u64) -> bool {
    let keys = vec![QueryKey::new("a").unwrap()];
    let record = Record(RecordKind::Revalidate { audience: Audience::Everyone, keys, origin: None });
    board.append(crate::Cursor { epoch: Epoch::from_random(1), offset }, &record, 0).queued
}

/// Marks and wakes one session; true if there is more.
fn sweep(board: &Board) -> bool {
    let mut woken: Vec<Arc<Ticket>> = Vec::new();
    let more = board.sweep(1, &mut woken).1;
    woken.iter().for_each(|ticket| ticket.signal.wake());
    more
}

fn publish(board: &Board, offset: u64) {
    let mut queued = append(board, offset);
    while queued {
        queued = sweep(board);
    }
}

fn next(board: &Board, seat: &Seat) -> Batch {
    block_on(poll_fn(|cx| {
        board.poll_read(seat, cx, || 2000, std::mem::take).map(|read| match read {
            Read::Batch(batch) => batch,
            Read::Ended(..) => unreachable!("nothing ends the session"),
        })
    }))
}

/// Reads until the event was acknowledged. Every event here concerns the session, so that none may be
/// acknowledged by a batch without keys.
fn read_until(board: &Board, seat: &Seat, offset: u64) {
    let mut acknowledged = 0;
    while acknowledged < offset {
        let batch = next(board, seat);
        if let Some(cursor) = batch.cursor.filter(|cursor| cursor.offset > acknowledged) {
            assert!(!batch.keys.is_empty(), "{cursor} was acknowledged and not delivered");
            acknowledged = cursor.offset;
        }
    }
}

#[test]
fn loom_a_session_does_not_sleep_through_an_event() {
    model(|| {
        let board = board();
        let publisher = thread::spawn({
            let board = board.clone();
            move || publish(&board, 1)
        });
        let seat = open(&board);
        read_until(&board, &seat, 1);
        publisher.join().unwrap();
    });
}

#[test]
fn loom_two_events_are_both_heard() {
    model(|| {
        let board = board();
        let seat = open(&board);
        let publisher = thread::spawn({
            let board = board.clone();
            move || {
                publish(&board, 1);
                publish(&board, 2);
            }
        });
        read_until(&board, &seat, 2);
        publisher.join().unwrap();
    });
}

#[test]
fn loom_a_heartbeat_acknowledges_nothing_unread() {
    model(|| {
        let board = board();
        let seat = open(&board);
        let ticker = thread::spawn({
            let board = board.clone();
            move || {
                let mut marked = Marked::default();
                board.visit((0, 1), 0, 8, 2000, &mut marked);
                marked.woken.iter().for_each(|ticket| ticket.signal.wake());
            }
        });
        let publisher = thread::spawn({
            let board = board.clone();
            move || publish(&board, 1)
        });
        read_until(&board, &seat, 1);
        publisher.join().unwrap();
        ticker.join().unwrap();
    });
}

#[test]
fn loom_an_event_during_a_sweep_is_swept_again() {
    model(|| {
        let board = board();
        let [first, second] = std::array::from_fn(|_| open_and_greet(&board));
        let publisher = thread::spawn({
            let board = board.clone();
            move || {
                append(&board, 1);
                sweep(&board);
                append(&board, 2);
                while sweep(&board) {}
            }
        });
        read_until(&board, &second, 2);
        read_until(&board, &first, 2);
        publisher.join().unwrap();
    });
}

#[test]
fn loom_a_session_that_leaves_takes_no_wake_of_another() {
    model(|| {
        let board = board();
        let [first, second, third] = std::array::from_fn(|_| open_and_greet(&board));
        let publisher = thread::spawn({
            let board = board.clone();
            move || publish(&board, 1)
        });
        // The last in the list moves to the place of the one that leaves.
        board.close(&first, 0);
        read_until(&board, &third, 1);
        read_until(&board, &second, 1);
        publisher.join().unwrap();
    });
}

/// Reads until it is told of this user under this event.
fn read_until_told(board: &Board, seat: &Seat, event: &str, user: &str) {
    let user = format!("{user:?}");
    let is_told = |batch: &Batch| {
        let mut told = batch.current.iter().filter(|posted| &*posted.event == event);
        told.any(|posted| std::str::from_utf8(&posted.data).unwrap().contains(&user))
    };
    while !is_told(&next(board, seat)) {}
}

#[test]
fn loom_who_is_there_is_told_of_a_join_and_of_a_leave() {
    model(|| {
        let board = board();
        let alice = open_as(&board, Some("alice"));
        read_until_told(&board, &alice, "presence", "alice");
        let bob = thread::spawn({
            let board = board.clone();
            move || {
                let bob = open_as(&board, Some("bob"));
                while sweep(&board) {}
                bob
            }
        });
        read_until_told(&board, &alice, "presence_update", "bob");
        let bob = bob.join().unwrap();
        let ticker = thread::spawn({
            let board = board.clone();
            move || {
                board.close(&bob, 0);
                let mut marked = Marked::default();
                board.visit((0, 1), 0, 8, 0, &mut marked);
                marked.woken.iter().for_each(|ticket| ticket.signal.wake());
                while sweep(&board) {}
            }
        });
        read_until_told(&board, &alice, "presence_update", "bob");
        ticker.join().unwrap();
    });
}

#[test]
fn loom_two_who_join_at_once_know_each_other() {
    model(|| {
        let board = board();
        let other = thread::spawn({
            let board = board.clone();
            move || {
                let bob = open_as(&board, Some("bob"));
                while sweep(&board) {}
                bob
            }
        });
        let alice = open_as(&board, Some("alice"));
        while sweep(&board) {}
        let mut told = String::new();
        while !told.contains("\"bob\"") || !told.contains("\"alice\"") {
            let batch = next(&board, &alice);
            told.extend(batch.current.iter().map(|posted| std::str::from_utf8(&posted.data).unwrap()));
        }
        other.join().unwrap();
    });
}
