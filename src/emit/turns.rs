//! [`Turns`]: whose turn it is in each channel.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Channel;

/// Lines of events, one a channel that has some; who came last is known, and each waits for the one before it.
///
/// No lock that tasks wait for: a task's place would be where it was first polled, and several threads poll tasks
/// in any order. Here an event has its place when it arrives.
#[derive(Default)]
pub(super) struct Turns(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    last: HashMap<Channel, Last>,
    taken: u64,
}

struct Last {
    ticket: u64,
    /// Ends without a word when its turn is over.
    over: oneshot::Receiver<()>,
}

/// A turn to come or at work; over when it drops.
pub(super) struct Turn {
    lines: Arc<Mutex<Lines>>,
    channel: Channel,
    ticket: u64,
    before: Option<oneshot::Receiver<()>>,
    _over: oneshot::Sender<()>,
}

impl Turns {
    pub(super) fn take(&self, channel: &Channel) -> Turn {
        let (tell, over) = oneshot::channel();
        let mut lines = self.0.lock();
        lines.taken += 1;
        let ticket = lines.taken;
        let before = lines.last.insert(channel.clone(), Last { ticket, over }).map(|last| last.over);
        Turn { lines: self.0.clone(), channel: channel.clone(), ticket, before, _over: tell }
    }
}

impl Turn {
    /// Waits until those before it are over.
    pub(super) async fn come(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = before.await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        if lines.last.get(&self.channel).is_some_and(|last| last.ticket == self.ticket) {
            lines.last.remove(&self.channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn room(id: u32) -> Channel {
        Channel::new(("room", id)).unwrap()
    }

    #[test]
    fn turns_come_in_the_order_in_which_they_were_taken() {
        let turns = Turns::default();
        let [mut first, mut second, mut third] = [1, 1, 1].map(|id| turns.take(&room(id)));
        let mut other = turns.take(&room(2));
        assert!(other.come().now_or_never().is_some(), "another channel waits for nobody");
        assert!(third.come().now_or_never().is_none());
        assert!(second.come().now_or_never().is_none());
        assert!(first.come().now_or_never().is_some());
    }

    #[test]
    fn a_line_that_is_over_is_forgotten() {
        let turns = Turns::default();
        let (first, second) = (turns.take(&room(1)), turns.take(&room(1)));
        drop(first);
        assert_eq!(turns.0.lock().last.len(), 1, "one is left");
        drop(second);
        assert_eq!(turns.0.lock().last.len(), 0);
        assert!(turns.take(&room(1)).come().now_or_never().is_some());
    }
}
