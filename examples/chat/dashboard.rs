//! The dashboard: figures on a channel that keeps the newest, so that who is slow misses what is old, and nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use examples_common::Refused;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use crate::{Chat, seed};

const MINUTE: i64 = 60_000;
const MINUTES: i64 = 60;

/// The event `update` of `dashboard:metrics`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    messages_last_hour: i64,
    /// Of each of the last 60 minutes, the oldest first.
    per_minute: Vec<i64>,
    document_versions: i64,
    /// Users with a stream open, and streams.
    aboard: usize,
    streams: usize,
    /// What the hub keeps for those who return.
    retained_bytes: usize,
    updated_at: i64,
}

/// Counts who is connected, of the hub's hooks. A user with three tabs is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aboard(Arc<Mutex<HashMap<String, usize>>>);

impl Aboard {
    pub(crate) fn comes(&self, user: Option<&str>) {
        if let Some(user) = user {
            *self.0.lock().entry(user.to_owned()).or_default() += 1;
        }
    }

    pub(crate) fn goes(&self, user: Option<&str>) {
        let mut sessions = self.0.lock();
        if let Some(left) = user.and_then(|user| sessions.get_mut(user)) {
            *left -= 1;
        }
        sessions.retain(|_, left| *left > 0);
    }
}

/// Publishes the figures of now. Handlers call it with what they changed.
pub(crate) fn publish(chat: &Chat) -> Result<(), Refused> {
    let metrics = measure(chat, seed::now())?;
    chat.hub.channel("dashboard:metrics").publish("update", &metrics);
    Ok(())
}

/// Publishes what changes by itself: the hour goes on, and people come and go.
pub(crate) async fn run(chat: Chat) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        every.tick().await;
        // A database that has a problem said so; the next one is in a second.
        let Ok(metrics) = measure(&chat, seed::now()) else { continue };
        let same = |before: &Metrics| Metrics { updated_at: metrics.updated_at, ..before.clone() } == metrics;
        if !last.as_ref().is_some_and(same) {
            chat.hub.channel("dashboard:metrics").publish("update", &metrics);
            last = Some(metrics);
        }
    }
}

fn measure(chat: &Chat, now: i64) -> Result<Metrics, Refused> {
    // Whole minutes: the oldest leaves when a new one begins.
    let since = (now / MINUTE - MINUTES + 1) * MINUTE;
    let mut per_minute = vec![0; MINUTES as usize];
    let document_versions = chat.db.transaction(|db| {
        let mut query = db.prepare("SELECT created_at FROM messages WHERE created_at >= ?")?;
        for at in query.query_map([since], |row| row.get::<_, i64>(0))? {
            if let Some(minute) = per_minute.get_mut(((at? - since) / MINUTE) as usize) {
                *minute += 1;
            }
        }
        let versions =
            db.query_row("SELECT total(version) FROM documents", [], |row| row.get::<_, f64>(0))?;
        Ok(versions as i64)
    })?;
    let stats = chat.hub.stats();
    Ok(Metrics {
        messages_last_hour: per_minute.iter().sum(),
        per_minute,
        document_versions,
        aboard: chat.aboard.0.lock().len(),
        streams: stats.sessions,
        retained_bytes: stats.retained_bytes,
        updated_at: now,
    })
}
