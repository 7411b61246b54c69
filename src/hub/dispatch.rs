//! The hub's one task: dispatch and ticker.
//!
//! It starts with the first session, on that session's runtime, and ends with the last. When its runtime goes
//! down before the last session, the guard that drops with it starts it again on the runtime of another; where
//! there is none, the next session or publish does. Without any runtime, publishing dispatches inline.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::Shared;
use super::core::Marked;

/// Sessions woken between two yields: more starves the rest of the runtime, measured as the tail of latency.
const WAKES: usize = 16;
/// Sessions looked after between two yields.
const VISITS: usize = 256;
/// A session is looked after in one tick of so many.
const PHASES: usize = 4;

#[derive(Default)]
pub(crate) struct Task {
    running: Mutex<bool>,
    notify: Notify,
}

/// Held by the task; drops with it.
struct Running {
    shared: Arc<Shared>,
    /// Whether a runtime took the task. One that is down drops it while it spawns, and is no place to start
    /// again; one that goes down later may drop it before it was ever polled.
    taken: Arc<AtomicBool>,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        *self.shared.task.running.lock() = false;
        if self.taken.load(Ordering::Acquire) && !std::thread::panicking() {
            self.shared.start();
        }
    }
}

impl Running {
    /// Ends the task if nobody needs it. The flag falls under its lock, and whoever opens a session looks at
    /// the flag afterwards, so that no session is left without a task.
    fn end_if_idle(&mut self) -> bool {
        let mut running = self.shared.task.running.lock();
        let is_idle = self.shared.board.is_idle() && self.shared.outbox.lock().is_empty();
        if is_idle && self.shared.typists.lock().is_empty() {
            *running = false;
            self.ended = true;
        }
        self.ended
    }
}

impl Shared {
    /// There is something to do: tells the task, or starts it.
    pub(crate) fn kick(self: &Arc<Self>) {
        if *self.task.running.lock() {
            self.task.notify.notify_one();
        } else {
            self.start();
        }
    }

    /// Starts the task on the first runtime that takes it. Without one, dispatches here.
    fn start(self: &Arc<Self>) {
        let candidates = Handle::try_current().into_iter().chain(self.board.runtimes());
        for runtime in candidates {
            {
                let mut running = self.task.running.lock();
                if *running {
                    self.task.notify.notify_one();
                    return;
                }
                *running = true;
            }
            let taken = Arc::new(AtomicBool::new(false));
            let guard = Running { shared: self.clone(), taken: taken.clone(), ended: false };
            // A runtime that is down drops the task at once, and the guard takes the flag back.
            runtime.spawn(run(guard));
            taken.store(true, Ordering::Release);
            if *self.task.running.lock() {
                return;
            }
        }
        let mut woken = Vec::new();
        while self.sweep(&mut woken) {}
        self.flush(self.clock.now());
    }

    /// Tells the metrics the figures of this moment.
    fn tell_levels(&self, lag: u64) {
        self.metrics.levels(|| (self.board.stats(), self.outbox.lock().len(), lag));
    }

    /// Marks and wakes a few sessions; true if there are more.
    fn sweep(&self, woken: &mut Vec<Arc<super::Ticket>>) -> bool {
        let (done, more) = self.board.sweep(WAKES, woken);
        self.tell_dispatched(done);
        woken.drain(..).for_each(|ticket| ticket.signal.wake());
        more
    }
}

async fn run(mut guard: Running) {
    let shared = guard.shared.clone();
    let tick = shared.board.options().tick();
    let mut next_tick = shared.clock.now() + tick;
    let mut phase = 0;
    let mut alarm = pin!(tokio::time::sleep(Duration::ZERO));
    let mut alarmed = None;
    let mut lags = [0; PHASES];
    let mut woken = Vec::with_capacity(WAKES);
    loop {
        let mut more = shared.sweep(&mut woken);
        let now = shared.clock.now();
        shared.flush(now);
        if now >= next_tick {
            let mut from = Some(0);
            lags[phase] = 0;
            while let Some(at) = from {
                let mut marked = Marked::default();
                from = shared.board.visit((phase, PHASES), at, VISITS, now, &mut marked);
                lags[phase] = lags[phase].max(marked.lag);
                shared.settle(&marked);
                more |= marked.queued;
                tokio::task::yield_now().await;
            }
            phase = (phase + 1) % PHASES;
            next_tick = now + tick;
            while shared.expire_typing(now) {
                tokio::task::yield_now().await;
            }
            shared.tell_levels(lags.into_iter().max().unwrap_or_default());
        }
        if more {
            tokio::task::yield_now().await;
            continue;
        }
        if guard.end_if_idle() {
            shared.tell_levels(0);
            return;
        }
        let due = shared.outbox.lock().next_due().unwrap_or(u64::MAX).min(next_tick);
        // A timer is set when its time changes, and not for each event.
        if alarmed != Some(due) {
            let sleep = Duration::from_millis(due.saturating_sub(shared.clock.now()));
            alarm.as_mut().reset(tokio::time::Instant::now() + sleep);
            alarmed = Some(due);
        }
        let mut notified = pin!(shared.task.notify.notified());
        // Whether it was notified or the time has come, the loop looks at everything.
        poll_fn(|cx| {
            if notified.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            alarm.as_mut().poll(cx).map(|()| alarmed = None)
        })
        .await;
    }
}
