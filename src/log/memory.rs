//! [`MemoryLog`]: the order of one process.

use parking_lot::Mutex;

use super::{Ack, EventLog, Follower, Record};
use crate::{Cursor, Epoch};

/// The order of one process: a counter. A record stands in the hub's retention before `append` returns.
#[derive(Debug)]
pub struct MemoryLog {
    epoch: Epoch,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tip: u64,
    follower: Option<Follower>,
}

impl MemoryLog {
    /// An empty log of this epoch. A restarted process takes another one, so that cursors of the old process
    /// are told apart.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        MemoryLog { epoch, state: Mutex::new(State { tip: 0, follower: None }) }
    }
}

impl EventLog for MemoryLog {
    fn tip(&self) -> Cursor {
        Cursor { epoch: self.epoch, offset: self.state.lock().tip }
    }

    fn follow(&self, _after: Cursor, follower: Follower) {
        self.state.lock().follower = Some(follower);
    }

    fn append(&self, record: Record, ack: Ack) {
        // The lock spans numbering and delivery, or a later record could be delivered first.
        let (at, delivered) = {
            let mut state = self.state.lock();
            state.tip += 1;
            let at = Cursor { epoch: self.epoch, offset: state.tip };
            (at, state.follower.as_ref().map(|follower| follower.event(at, &record)))
        };
        ack.appended(at);
        drop(delivered);
    }

    fn is_local(&self) -> bool {
        true
    }
}
