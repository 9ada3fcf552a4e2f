//! Reads what is counted on this thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// By name and table.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<BTreeMap<(String, String), Arc<AtomicU64>>>);

impl Figures {
    /// What was counted of a table.
    pub(crate) fn of(&self, name: &str, table: &str) -> u64 {
        let all = self.0.lock().unwrap();
        all.get(&(name.to_owned(), table.to_owned())).map_or(0, |figure| figure.load(Ordering::Relaxed))
    }
}

impl Recorder for Figures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let table = key.labels().find(|label| label.key() == "table").map_or("", |label| label.value());
        let mut all = self.0.lock().unwrap();
        Counter::from_arc(Arc::clone(all.entry((key.name().to_owned(), table.to_owned())).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
