//! A recorder that can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit};
use parking_lot::Mutex;

/// Keeps what it is told, by name and labels as Prometheus writes them: `name{label="value"}`.
#[derive(Default)]
pub struct Recorder {
    pub counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    pub gauges: Mutex<BTreeMap<String, Arc<Level>>>,
    pub histograms: Mutex<BTreeMap<String, Arc<Samples>>>,
    pub described: Mutex<BTreeMap<String, Option<Unit>>>,
}

#[derive(Default)]
pub struct Level(Mutex<f64>);
impl GaugeFn for Level {
    fn increment(&self, value: f64) {
        *self.0.lock() += value;
    }
    fn decrement(&self, value: f64) {
        *self.0.lock() -= value;
    }
    fn set(&self, value: f64) {
        *self.0.lock() = value;
    }
}

#[derive(Default)]
pub struct Samples(Mutex<Vec<f64>>);
impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().push(value);
    }
}

fn text(key: &Key) -> String {
    let labels: Vec<_> = key.labels().map(|label| format!("{}={:?}", label.key(), label.value())).collect();
    let labels = labels.join(",");
    if labels.is_empty() { key.name().to_owned() } else { format!("{}{{{labels}}}", key.name()) }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.described.lock().insert(key.as_str().to_owned(), unit);
    }
    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.described.lock().insert(key.as_str().to_owned(), unit);
    }
    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.described.lock().insert(key.as_str().to_owned(), unit);
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.counters.lock().entry(text(key)).or_default().clone())
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.gauges.lock().entry(text(key)).or_default().clone())
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.histograms.lock().entry(text(key)).or_default().clone())
    }
}

impl Recorder {
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.counters.lock();
        let found = counters.get(&format!("tower_revalidate_{name}"));
        found.unwrap_or_else(|| panic!("no {name} in {:#?}", counters.keys())).load(Ordering::Relaxed)
    }

    /// A counter by the values of its one label, without those that are 0.
    pub fn by(&self, name: &str) -> BTreeMap<String, u64> {
        let prefix = format!("tower_revalidate_{name}{{");
        let counters = self.counters.lock();
        let counted = counters.iter().filter(|(name, _)| name.starts_with(&prefix));
        let value = |name: &str| name.split('"').nth(1).unwrap().to_owned();
        let counted = counted.map(|(name, count)| (value(name), count.load(Ordering::Relaxed)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    pub fn gauge(&self, name: &str) -> f64 {
        let gauges = self.gauges.lock();
        let found = gauges.get(&format!("tower_revalidate_{name}"));
        *found.unwrap_or_else(|| panic!("no {name} in {:#?}", gauges.keys())).0.lock()
    }

    /// What was measured since this was last asked.
    pub fn latencies(&self) -> Vec<f64> {
        let histograms = self.histograms.lock();
        let found = histograms.get("tower_revalidate_write_latency_seconds").unwrap();
        std::mem::take(&mut *found.0.lock())
    }

    /// Each time series there is.
    pub fn series(&self) -> BTreeSet<String> {
        let counters = self.counters.lock().keys().cloned().collect::<BTreeSet<_>>();
        let gauges = self.gauges.lock().keys().cloned().collect::<BTreeSet<_>>();
        let histograms = self.histograms.lock().keys().cloned().collect::<BTreeSet<_>>();
        &(&counters | &gauges) | &histograms
    }
}
