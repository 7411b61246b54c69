//! [`Open`]: how many streams each client has at this moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::access::Wait;

/// How many streams each client has open; no more entries than there are streams.
pub(super) struct Open {
    max: u32,
    clients: Mutex<HashMap<u64, u32>>,
}

/// One of a client's streams.
pub(super) struct OpenPlace {
    open: Arc<Open>,
    client: u64,
}

impl Open {
    pub(super) fn new(max: u32) -> Arc<Self> {
        Arc::new(Open { max, clients: Mutex::default() })
    }

    /// Nobody knows when one closes; this is when to ask again.
    const WAIT: Duration = Duration::from_secs(5);

    /// One that replaces another may be open beside it.
    pub(super) fn enter(self: &Arc<Self>, client: u64, replaces: bool) -> Result<OpenPlace, Wait> {
        let mut clients = self.clients.lock();
        let count = clients.get(&client).copied().unwrap_or_default();
        if count >= self.max.saturating_add(u32::from(replaces)) {
            return Err(Wait { time: Self::WAIT, reason: "too many streams of one client are open" });
        }
        clients.insert(client, count.saturating_add(1));
        Ok(OpenPlace { open: self.clone(), client })
    }
}

impl Drop for OpenPlace {
    fn drop(&mut self) {
        let mut clients = self.open.clients.lock();
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}
