#![cfg_attr(feature = "metrics", doc = include_str!("../docs/metrics.md"))]
// The one file that knows names and labels. What it counts is told by plain calls from where it happens, which are
// nothing without the feature: then there are no handles to add to.

#[cfg(feature = "metrics")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "metrics")]
use metrics::{Counter, Gauge, Histogram, Unit};

#[cfg(not(feature = "metrics"))]
use self::nothing::{Counter, Gauge, Histogram};
use crate::hub::{Disconnect, Stats};
use crate::log::{Record, RecordKind};
use crate::proto::{Batch, Millis, Opening};
use crate::{Audit, GapReason};

/// The name of the histogram, for the exporter's setting of its buckets.
#[cfg(feature = "metrics")]
pub const WRITE_LATENCY_SECONDS: &str = "tower_revalidate_write_latency_seconds";

/// Buckets that fit it, in seconds.
#[cfg(feature = "metrics")]
pub const WRITE_LATENCY_BUCKETS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// The metrics of one hub. They are registered when the first of them is told, which gives the app time to install
/// its recorder; cached from then on.
#[derive(Default)]
pub(crate) struct Metrics {
    #[cfg(feature = "metrics")]
    handles: OnceLock<Handles>,
}

/// What kind of event was heard.
#[derive(Clone, Copy)]
pub(crate) enum Heard {
    Revalidate,
    Message,
    Regrant,
}

impl Heard {
    pub(crate) fn of(record: &Record) -> Self {
        match &record.0 {
            RecordKind::Revalidate { .. } => Heard::Revalidate,
            RecordKind::Message { .. } => Heard::Message,
            RecordKind::Regrant { .. } => Heard::Regrant,
        }
    }
}

/// Where revalidations merge.
#[derive(Clone, Copy)]
pub(crate) enum Merged {
    /// Doubles, and keys over the bound, of one publish.
    Publish,
    /// While they wait for their interval, their delay or the log.
    Outbox,
    /// Of several audiences of one session, and keys that another one covers.
    Session,
}

#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "there are none without the feature"))]
struct Handles {
    sessions: Gauge,
    subscriptions: Level,
    topics: Level,
    retained_bytes: Level,
    outbox_waiting: Level,
    lag_events: Level,
    revalidate_in: Counter,
    message_in: Counter,
    regrant_in: Counter,
    hello_out: Counter,
    revalidate_out: Counter,
    message_out: Counter,
    gap_out: Counter,
    bye_out: Counter,
    heartbeat_out: Counter,
    written_bytes: Counter,
    write_latency: Histogram,
    coalesced: [Counter; 3],
    gaps: ByLabel,
    refusals: ByLabel,
    denied_channels: ByLabel,
    ended: ByLabel,
    faults: Counter,
}

/// A gauge of which each hub tells its part, so that several in one process add up.
struct Level {
    gauge: Gauge,
    told: AtomicU64,
}

impl Level {
    fn set(&self, now: u64) {
        let before = self.told.swap(now, Ordering::Relaxed);
        match now.checked_sub(before) {
            Some(0) => {}
            Some(more) => self.gauge.increment(more as f64),
            None => self.gauge.decrement((before - now) as f64),
        }
    }
}

/// A counter for each value of a label; the last one is for what is none of them, so that nothing that an app or a
/// client chose becomes a label.
struct ByLabel {
    values: &'static [&'static str],
    counters: Vec<Counter>,
}

impl ByLabel {
    fn add(&self, value: &str) {
        let known = self.values.iter().position(|known| *known == value);
        if let Some(counter) = known.map_or(self.counters.last(), |index| self.counters.get(index)) {
            counter.increment(1);
        }
    }
}

impl Metrics {
    #[cfg(feature = "metrics")]
    fn tell(&self, tell: impl FnOnce(&Handles)) {
        tell(self.handles.get_or_init(Handles::register));
    }

    #[cfg(not(feature = "metrics"))]
    #[expect(clippy::unused_self, reason = "there is nobody to tell")]
    fn tell(&self, _: impl FnOnce(&Handles)) {}

    pub(crate) fn opened(&self) {
        self.tell(|to| to.sessions.increment(1.0));
    }

    pub(crate) fn closed(&self, why: Disconnect) {
        self.tell(|to| {
            to.sessions.decrement(1.0);
            to.ended.add(why.as_str());
        });
    }

    /// An event stands in retention.
    pub(crate) fn heard(&self, event: Heard) {
        self.tell(|to| match event {
            Heard::Revalidate => to.revalidate_in.increment(1),
            Heard::Message => to.message_in.increment(1),
            Heard::Regrant => to.regrant_in.increment(1),
        });
    }

    /// Keys merged with others.
    pub(crate) fn merged(&self, at: Merged, keys: usize) {
        if keys > 0 {
            self.tell(|to| to.coalesced[at as usize].increment(keys as u64));
        }
    }

    /// A session read this, and is about to write it.
    pub(crate) fn read(&self, batch: &Batch, now: impl Fn() -> Millis) {
        self.merged(Merged::Session, batch.merged);
        self.tell(|to| {
            if let Some(at) = batch.oldest() {
                to.write_latency.record(now().saturating_sub(at) as f64 / 1000.0);
            }
            if let Some(gap) = &batch.gap {
                to.gaps.add(gap_reason(gap.reason));
            }
        });
    }

    /// A stream wrote this, a frame each.
    pub(crate) fn wrote(&self, batch: &Batch, bytes: usize) {
        self.handed(batch);
        self.wrote_bytes(bytes);
        self.tell(|to| {
            if matches!(batch.opening, Some(Opening::Hello { .. })) {
                to.hello_out.increment(1);
            }
            if batch.heartbeat {
                to.heartbeat_out.increment(1);
            }
        });
    }

    /// What a session hears of this, in process too.
    pub(crate) fn handed(&self, batch: &Batch) {
        self.tell(|to| {
            if !batch.keys.is_empty() {
                to.revalidate_out.increment(1);
            }
            let messages = batch.current.len() + batch.messages.len();
            if messages > 0 {
                to.message_out.increment(messages as u64);
            }
            if batch.gap.is_some() {
                to.gap_out.increment(1);
            }
        });
    }

    /// A stream wrote what a handler sent to it alone.
    pub(crate) fn wrote_bytes(&self, bytes: usize) {
        self.tell(|to| to.written_bytes.increment(bytes as u64));
    }

    /// A stream wrote its last frame.
    pub(crate) fn wrote_bye(&self, bytes: usize) {
        self.wrote_bytes(bytes);
        self.tell(|to| to.bye_out.increment(1));
    }

    pub(crate) fn audited(&self, audit: &Audit<'_>) {
        self.tell(|to| match audit {
            Audit::Refused { code, .. } => to.refusals.add(code),
            Audit::Denied { channels, .. } => channels.iter().for_each(|it| to.denied_channels.add(&it.code)),
            Audit::Fault(_) | Audit::Change { .. } => to.faults.increment(1),
            Audit::Silent { .. } => {}
        });
    }

    /// Figures of this moment: those of the hub, how many entries wait in the outbox, the lag of the slowest session.
    pub(crate) fn levels(&self, levels: impl FnOnce() -> (Stats, usize, u64)) {
        self.tell(|to| {
            let (stats, waiting, lag) = levels();
            to.subscriptions.set(stats.subscriptions as u64);
            to.topics.set(stats.topics as u64);
            to.retained_bytes.set(stats.retained_bytes as u64);
            to.outbox_waiting.set(waiting as u64);
            to.lag_events.set(lag);
        });
    }
}

/// A hub that is gone holds nothing.
#[cfg(feature = "metrics")]
impl Drop for Metrics {
    fn drop(&mut self) {
        if self.handles.get().is_some() {
            self.levels(|| (Stats::default(), 0, 0));
        }
    }
}

fn gap_reason(reason: GapReason) -> &'static str {
    match reason {
        GapReason::Evicted => "evicted",
        GapReason::Unknown => "unknown",
        GapReason::Ahead => "ahead",
        GapReason::Grant => "grant",
        GapReason::Epoch => "epoch",
    }
}

#[cfg(feature = "metrics")]
impl Handles {
    fn register() -> Self {
        const IN: &str = "tower_revalidate_events_in_total";
        const OUT: &str = "tower_revalidate_events_out_total";
        const COALESCED: &str = "tower_revalidate_coalesced_keys_total";
        let events_in = |kind| counter(IN, "Events that this node heard from the log", Some(("kind", kind)));
        let events_out =
            |kind| counter(OUT, "Frames written, and events handed out in process", Some(("kind", kind)));
        let coalesced =
            |stage| counter(COALESCED, "Keys that were merged with others", Some(("stage", stage)));
        metrics::describe_histogram!(
            WRITE_LATENCY_SECONDS,
            Unit::Seconds,
            "From an event's place in retention to its write"
        );
        Handles {
            sessions: gauge("tower_revalidate_sessions", Unit::Count, "Open sessions"),
            subscriptions: level(
                "tower_revalidate_subscriptions",
                Unit::Count,
                "Places of sessions in topics",
            ),
            topics: level(
                "tower_revalidate_topics",
                Unit::Count,
                "Topics with sessions, or with something retained",
            ),
            retained_bytes: level("tower_revalidate_retained_bytes", Unit::Bytes, "What retention holds"),
            outbox_waiting: level(
                "tower_revalidate_outbox_waiting",
                Unit::Count,
                "Revalidations that wait for their time or for the log",
            ),
            lag_events: level(
                "tower_revalidate_lag_events",
                Unit::Count,
                "Events by which the slowest session is behind",
            ),
            revalidate_in: events_in("revalidate"),
            message_in: events_in("message"),
            regrant_in: events_in("regrant"),
            hello_out: events_out("hello"),
            revalidate_out: events_out("revalidate"),
            message_out: events_out("message"),
            gap_out: events_out("gap"),
            bye_out: events_out("bye"),
            heartbeat_out: events_out("heartbeat"),
            written_bytes: {
                let name = "tower_revalidate_written_bytes_total";
                metrics::describe_counter!(name, Unit::Bytes, "Bytes that streams wrote");
                metrics::counter!(name)
            },
            write_latency: metrics::histogram!(WRITE_LATENCY_SECONDS),
            coalesced: [coalesced("publish"), coalesced("outbox"), coalesced("session")],
            gaps: by_label(
                "tower_revalidate_gaps_total",
                "Gaps told, by reason",
                "reason",
                &["evicted", "unknown", "ahead", "grant", "epoch"],
            ),
            refusals: by_label(
                "tower_revalidate_refusals_total",
                "Requests refused, by the code of the answer",
                "code",
                &CODES,
            ),
            denied_channels: by_label(
                "tower_revalidate_denied_channels_total",
                "Channels denied to streams that were opened, by code",
                "code",
                &["accessdenied", "malformed", "other"],
            ),
            ended: by_label(
                "tower_revalidate_sessions_ended_total",
                "Sessions that ended, by what ended them",
                "reason",
                &["closed", "shutdown", "grant", "expired", "stalled", "other"],
            ),
            faults: counter(
                "tower_revalidate_faults_total",
                "Parts of a `Revalidate`, and changes, that were refused",
                None,
            ),
        }
    }
}

/// The codes of refusals that are the hub's own.
#[cfg(feature = "metrics")]
const CODES: [&str; 21] = [
    "accessdenied",
    "busy",
    "conflict",
    "crosssite",
    "grant",
    "httpsrequired",
    "internal",
    "invalid",
    "limited",
    "malformed",
    "mediatype",
    "methodnotallowed",
    "notpresent",
    "reserved",
    "shutdown",
    "timeout",
    "toolarge",
    "unauthorized",
    "unavailable",
    "unhandled",
    "other",
];

#[cfg(feature = "metrics")]
fn counter(name: &'static str, help: &'static str, label: Option<(&'static str, &'static str)>) -> Counter {
    metrics::describe_counter!(name, Unit::Count, help);
    match label {
        Some((label, value)) => metrics::counter!(name, label => value),
        None => metrics::counter!(name),
    }
}

#[cfg(feature = "metrics")]
fn by_label(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: &'static [&'static str],
) -> ByLabel {
    let counters = values.iter().map(|value| counter(name, help, Some((label, value)))).collect();
    ByLabel { values, counters }
}

#[cfg(feature = "metrics")]
fn gauge(name: &'static str, unit: Unit, help: &'static str) -> Gauge {
    metrics::describe_gauge!(name, unit, help);
    metrics::gauge!(name)
}

#[cfg(feature = "metrics")]
fn level(name: &'static str, unit: Unit, help: &'static str) -> Level {
    Level { gauge: gauge(name, unit, help), told: AtomicU64::new(0) }
}

/// What stands for the facade's handles where there is no facade.
#[cfg(not(feature = "metrics"))]
mod nothing {
    pub(super) struct Counter;
    pub(super) struct Gauge;
    pub(super) struct Histogram;

    impl Counter {
        pub(super) fn increment(&self, _: u64) {}
    }
    impl Gauge {
        pub(super) fn increment(&self, _: f64) {}
        pub(super) fn decrement(&self, _: f64) {}
    }
    impl Histogram {
        pub(super) fn record(&self, _: f64) {}
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_value_that_nobody_foresaw_counts_as_other() {
        let counts: [Arc<AtomicU64>; 2] = Default::default();
        let counters = counts.iter().map(|count| Counter::from_arc(count.clone())).collect();
        let labelled = ByLabel { values: &["known", "other"], counters };
        ["known", "user=alice", "", "other"].iter().for_each(|value| labelled.add(value));
        assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [1, 3]);
        assert_eq!(CODES.last(), Some(&"other"));
    }
}
