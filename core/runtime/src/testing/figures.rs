//! Reads the figures that this process counts, where tests ask for them by name and uid.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// By name and uid.
type All = BTreeMap<(String, String), Arc<Figure>>;

/// What has been counted: of a histogram, how often.
#[derive(Debug, Default, Clone)]
pub(super) struct Figures {
    all: Arc<Mutex<All>>,
}

#[derive(Debug, Default)]
struct Figure(Arc<AtomicU64>);

impl HistogramFn for Figure {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Figures {
    /// Those of this process: there is one recorder for all its tests, which have uids of their own.
    pub(super) fn of_process() -> &'static Self {
        static FIGURES: LazyLock<Figures> = LazyLock::new(|| {
            let figures = Figures::default();
            metrics::set_global_recorder(figures.clone()).expect("the first recorder");
            figures
        });
        &FIGURES
    }

    /// A figure; of a gauge its bits.
    pub(super) fn of(&self, name: &str, uid: &str) -> u64 {
        let all = self.all.lock().unwrap();
        all.get(&(name.into(), uid.into())).map_or(0, |figure| figure.0.load(Ordering::SeqCst))
    }

    fn figure(&self, key: &Key) -> Arc<Figure> {
        let uid = key.labels().find(|label| label.key() == "uid").map_or("", |label| label.value());
        let mut all = self.all.lock().unwrap();
        Arc::clone(all.entry((key.name().into(), uid.into())).or_default())
    }
}

impl Recorder for Figures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(&self.figure(key).0))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::clone(&self.figure(key).0))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.figure(key))
    }
}
