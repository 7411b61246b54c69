//! [`Turns`]: whose turn it is in each channel.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::Channel;

/// Lines of events, one a channel that has some; who came last is known, and each waits for the one before it.
///
/// No lock that tasks wait for: a task's place would be where it was first polled, and several threads poll tasks
/// in any order. Here an event has its place when it arrives.
#[derive(Default)]
pub(super) struct Turns(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    last: HashMap<Channel, Line>,
    taken: u64,
}

struct Line {
    last: Before,
    /// Those in it, the one at work too.
    turns: usize,
}

/// Whose end the next in line waits for.
struct Before {
    ticket: u64,
    /// Ends without a word when that turn is over. Of one who left the line before its turn came it says for whom to
    /// wait instead: nobody's leaving lets anyone overtake.
    over: oneshot::Receiver<Before>,
}

/// A turn to come or at work; over when it drops.
pub(super) struct Turn {
    lines: Arc<Mutex<Lines>>,
    channel: Channel,
    ticket: u64,
    before: Option<Before>,
    over: Option<oneshot::Sender<Before>>,
}

impl Turns {
    pub(super) fn take(&self, channel: &Channel) -> Turn {
        let (tell, over) = oneshot::channel();
        let mut lines = self.0.lock();
        lines.taken += 1;
        let ticket = lines.taken;
        let last = Before { ticket, over };
        let before = match lines.last.entry(channel.clone()) {
            Entry::Vacant(free) => {
                free.insert(Line { last, turns: 1 });
                None
            }
            Entry::Occupied(line) => {
                let line = line.into_mut();
                line.turns += 1;
                Some(std::mem::replace(&mut line.last, last))
            }
        };
        Turn { lines: self.0.clone(), channel: channel.clone(), ticket, before, over: Some(tell) }
    }
}

impl Turn {
    /// Waits until those before it are over.
    pub(super) async fn come(&mut self) {
        while let Some(before) = &mut self.before {
            self.before = (&mut before.over).await.ok();
        }
    }

    /// The nearest of those before it that is not over, as far as is known.
    fn waits_for(&mut self) -> Option<Before> {
        let mut before = self.before.take()?;
        loop {
            match before.over.try_recv() {
                Ok(further) => before = further,
                Err(TryRecvError::Empty) => return Some(before),
                Err(TryRecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let before = self.waits_for();
        let passed_on = {
            let mut lines = self.lines.lock();
            let Some(line) = lines.last.get_mut(&self.channel) else { return };
            line.turns -= 1;
            if line.turns == 0 {
                lines.last.remove(&self.channel);
                return;
            }
            match before {
                // The last one: whoever comes next stands behind the one before it.
                Some(before) if line.last.ticket == self.ticket => {
                    line.last = before;
                    None
                }
                before => before,
            }
        };
        // Wakes, so under no lock.
        if let (Some(before), Some(over)) = (passed_on, self.over.take()) {
            let _ = over.send(before);
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

    #[test]
    fn who_leaves_the_line_lets_nobody_overtake() {
        let turns = Turns::default();
        let [mut first, second, mut third, fourth] = [1; 4].map(|id| turns.take(&room(id)));
        assert!(first.come().now_or_never().is_some());
        // One from the middle, one from the end, and who comes behind them.
        drop(second);
        drop(fourth);
        let mut fifth = turns.take(&room(1));
        assert!(third.come().now_or_never().is_none(), "the first is at work");
        assert!(fifth.come().now_or_never().is_none());
        drop(first);
        assert!(fifth.come().now_or_never().is_none(), "the third is at work");
        assert!(third.come().now_or_never().is_some());
        drop(third);
        assert!(fifth.come().now_or_never().is_some());
        drop(fifth);
        assert_eq!(turns.0.lock().last.len(), 0);
    }

    #[test]
    fn a_line_is_in_order_and_forgotten_whoever_leaves_it_when() {
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let turns = Turns::default();
            let mut line: Vec<Turn> = Vec::new();
            for step in 0..60 {
                if rng.bool() {
                    line.push(turns.take(&room(1)));
                } else if !line.is_empty() {
                    drop(line.remove(rng.usize(0..line.len())));
                }
                for (place, turn) in line.iter_mut().enumerate() {
                    let came = turn.come().now_or_never().is_some();
                    assert_eq!(came, place == 0, "seed {seed}, step {step}, place {place}");
                }
            }
            rng.shuffle(&mut line);
            drop(line);
            assert_eq!(turns.0.lock().last.len(), 0, "seed {seed}");
        }
    }
}
