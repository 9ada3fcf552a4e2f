//! What one measurement gave: a line of JSON.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::reader::histogram;
use crate::systems::System;
use crate::target::Target;

/// What was asked for. Outcomes of one setting are compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// Results from before there was a choice are of Kafka.
    #[serde(default)]
    pub(crate) target: Target,
    pub(crate) throughput: bool,
    pub(crate) interval_ms: u64,
    /// Records a second; for throughput 0.
    pub(crate) rate: u64,
    pub(crate) size: u64,
    pub(crate) partitions: u32,
    /// Seconds that were measured; for throughput 0.
    pub(crate) seconds: u64,
    /// Records that were preloaded; for latency 0.
    pub(crate) records: u64,
    /// Of the pipeline: how many keys have a state.
    #[serde(default)]
    pub(crate) keys: Option<u64>,
}

impl Setting {
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

/// The figures of one measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) system: System,
    pub(crate) setting: Setting,
    pub(crate) at: jiff::Timestamp,
    pub(crate) seed: u64,
    pub(crate) records_per_second: f64,
    /// Of the system's process, in the time that was measured.
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) cpu_micros_per_record: Option<f64>,
    /// Resident, at the end.
    pub(crate) memory_mib: Option<f64>,
    /// What the system's process gave to the disk, in the time that was measured.
    #[serde(default)]
    pub(crate) disk_bytes: Option<u64>,
    /// What the gateway took for the system, where that goes through one: the CPU for a record, and the memory.
    #[serde(default)]
    pub(crate) gateway_micros_per_record: Option<f64>,
    #[serde(default)]
    pub(crate) gateway_memory_mib: Option<f64>,
    /// The size of a checkpoint in that time, in the mean, by the system's own account.
    #[serde(default)]
    pub(crate) checkpoint_bytes: Option<u64>,
    /// Checkpoints in that time.
    #[serde(default)]
    pub(crate) checkpoints: Option<u64>,
    /// Records that did not become visible.
    pub(crate) missing: u64,
    /// Records that came again or out of order.
    pub(crate) wrong: u64,
    /// Latencies in microseconds and how often each came.
    pub(crate) micros: Vec<(u64, u64)>,
}

impl Outcome {
    pub(crate) fn histogram(&self) -> Histogram<u64> {
        let mut histogram = histogram();
        for (value, count) in &self.micros {
            histogram.saturating_record_n(*value, *count);
        }
        histogram
    }

    /// Adds it to a file.
    pub(crate) fn store(&self, file: &Path) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::new("store a result", error);
        let line = serde_json::to_string(self).map_err(|error| Failure::new("store a result", error))?;
        let mut file = OpenOptions::new().create(true).append(true).open(file).map_err(failed)?;
        writeln!(file, "{line}").map_err(failed)
    }
}

/// All outcomes of a file.
pub(crate) fn load(file: &Path) -> Result<Vec<Outcome>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::new("read the results", error))?;
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().map_err(|error| Failure::new("read the results", error))
}
