//! How fast a job goes that a test kills.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How much longer a record takes when a process has had its share, and how long at least: its input does not end before the test comes to kill
/// it, however slow the machine is, and there are still epochs meanwhile.
const SLOWER: u32 = 5;
const SLOWLY: Duration = Duration::from_millis(5);

/// How long each record of a job takes, so that the input is many epochs long, and does not end before a kill.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pace {
    record: Duration,
    /// How many records of a process take no longer than that.
    share: u64,
    #[serde(skip)]
    taken: Arc<AtomicU64>,
}

impl Pace {
    /// Each record takes so long, and longer where a process has taken this many: its share of an input that is read by one process after
    /// another.
    #[must_use]
    pub fn new(record: Duration, share: u64) -> Self {
        Self { record, share, taken: Arc::default() }
    }

    /// Each record takes so long, however many there are.
    #[must_use]
    pub fn even(record: Duration) -> Self {
        Self::new(record, u64::MAX)
    }

    /// As fast as the job can.
    #[must_use]
    pub fn full() -> Self {
        Self::even(Duration::ZERO)
    }

    /// Whether records take no time of their own.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.record.is_zero()
    }

    /// Takes the time of one record, on the thread of a worker.
    pub fn take(&self) {
        let is_within = self.taken.fetch_add(1, Ordering::Relaxed) < self.share;
        let time = if is_within { self.record } else { (self.record * SLOWER).max(SLOWLY) };
        if !time.is_zero() {
            sleep(time);
        }
    }
}
