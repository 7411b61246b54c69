//! [`Tape`]: a log that sends every record through its bytes, as a broker does.

use std::sync::{Arc, Mutex};

use tower_revalidate::log::{Ack, EventLog, Follower, Record};
use tower_revalidate::{Cursor, Epoch};

#[derive(Clone)]
pub struct Tape(Arc<Mutex<State>>);

struct State {
    tip: Cursor,
    follower: Option<Arc<Follower>>,
}

impl Tape {
    pub fn new() -> Self {
        let tip = Cursor { epoch: Epoch::from_random(7), offset: 0 };
        Tape(Arc::new(Mutex::new(State { tip, follower: None })))
    }

    pub fn follower(&self) -> Arc<Follower> {
        self.0.lock().unwrap().follower.clone().expect("the hub is built")
    }
}

/// What is written reads back, and says the same.
pub fn through_bytes(record: &Record) -> Record {
    let json = serde_json::to_string(record).expect("a record serialises");
    let read: Record = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    read
}

impl EventLog for Tape {
    fn tip(&self) -> Cursor {
        self.0.lock().unwrap().tip
    }

    fn follow(&self, _: Cursor, follower: Follower) {
        self.0.lock().unwrap().follower = Some(Arc::new(follower));
    }

    fn append(&self, record: Record, ack: Ack) {
        let record = through_bytes(&record);
        let (at, follower) = {
            let mut state = self.0.lock().unwrap();
            state.tip.offset += 1;
            (state.tip, state.follower.clone())
        };
        drop(follower.map(|follower| follower.event(at, &record)));
        ack.appended(at);
    }

    fn is_local(&self) -> bool {
        true
    }
}
