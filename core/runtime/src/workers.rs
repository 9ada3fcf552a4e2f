//! Where a job runs: how many worker threads.

use timely::{CommunicationConfig, Config, WorkerConfig};

/// The workers of a job. Each runs the whole graph on its share of the splits and keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workers {
    threads: usize,
}

impl Workers {
    /// Worker threads in this process; at least one.
    pub fn threads(threads: usize) -> Self {
        Self { threads: threads.max(1) }
    }

    /// How many workers run in all.
    pub(crate) fn count(&self) -> usize {
        self.threads
    }

    pub(crate) fn to_timely(&self) -> Config {
        let communication = match self.threads {
            1 => CommunicationConfig::Thread,
            threads => CommunicationConfig::Process(threads),
        };
        Config { communication, worker: WorkerConfig::default() }
    }
}
