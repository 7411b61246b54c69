//! [`Runtimes`]: where sessions run, each runtime held once.

use slab::Slab;
use tokio::runtime::Handle;

/// Of a session that was opened outside of any runtime.
const NOWHERE: u32 = u32::MAX;

/// The runtimes of the open sessions. They are few, and sessions many.
#[derive(Default)]
pub(super) struct Runtimes(Slab<Runtime>);

struct Runtime {
    handle: Handle,
    sessions: usize,
}

impl Runtimes {
    /// A session runs here. What it keeps instead of the handle.
    pub(super) fn enter(&mut self, handle: Option<Handle>) -> u32 {
        let Some(handle) = handle else { return NOWHERE };
        let known = self.0.iter_mut().find(|(_, runtime)| runtime.handle.id() == handle.id());
        let index = match known {
            Some((index, runtime)) => {
                runtime.sessions += 1;
                index
            }
            None => self.0.insert(Runtime { handle, sessions: 1 }),
        };
        index as u32
    }

    /// A session that ran here is over.
    pub(super) fn leave(&mut self, index: u32) {
        let index = index as usize;
        let Some(runtime) = self.0.get_mut(index) else { return };
        runtime.sessions -= 1;
        if runtime.sessions == 0 {
            self.0.remove(index);
        }
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().map(|(_, runtime)| &runtime.handle)
    }
}
