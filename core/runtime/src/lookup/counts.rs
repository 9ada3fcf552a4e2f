//! What is counted of a lookup, under its uid.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tidelock::Uid;

/// The figures of one lookup. A batch counts once, not a record.
#[derive(Debug)]
pub(super) struct Counts {
    hits: Counter,
    misses: Counter,
    stale: Counter,
    failures: Counter,
    seconds: Histogram,
    entries: Gauge,
}

impl Counts {
    pub(super) fn new(uid: &Uid) -> Self {
        let uid = || uid.to_string();
        Self {
            hits: counter!("tidelock_lookup_hits_total", "uid" => uid()),
            misses: counter!("tidelock_lookup_misses_total", "uid" => uid()),
            stale: counter!("tidelock_lookup_stale_total", "uid" => uid()),
            failures: counter!("tidelock_lookup_failures_total", "uid" => uid()),
            seconds: histogram!("tidelock_lookup_request_seconds", "uid" => uid()),
            entries: gauge!("tidelock_lookup_table_entries", "uid" => uid()),
        }
    }

    /// So many records of a batch were answered by what is in memory, and so many were not.
    pub(super) fn batch(&self, hits: u64, misses: u64) {
        self.hits.increment(hits);
        self.misses.increment(misses);
    }

    /// The store answered.
    pub(super) fn answered(&self, after: Duration) {
        self.seconds.record(after);
    }

    /// The store failed, after a time that may have been long.
    pub(super) fn failed(&self, after: Duration) {
        self.failures.increment(1);
        self.seconds.record(after);
    }

    /// So many keys went on with an answer that is past its time.
    pub(super) fn stale(&self, keys: u64) {
        self.stale.increment(keys);
    }

    /// A table was loaded.
    pub(super) fn loaded(&self, entries: usize) {
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        self.entries.set(entries as f64);
    }
}
