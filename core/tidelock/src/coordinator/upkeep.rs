//! What is done now and then while the job runs, and that no epoch waits for: sources are looked at for new splits,
//! leftovers of older attempts are swept, and positions are told to sources for monitors.
//!
//! - Of each, one is under way at a time. What is due while one is under way is left out: the next one does it.
//! - Before the job runs nothing is done; the clock goes on.

use std::time::Duration;

use tokio::time::Instant;

use crate::Result;
use crate::job::JobConfig;
use crate::patience::later;

/// Positions are exported to sources at most this often: it is for monitors only.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Upkeep {
    discovery: Beat,
    sweep: Beat,
    sweeping: bool,
    acknowledge: Beat,
    acknowledging: bool,
}

/// When something is done the next time.
#[derive(Debug)]
struct Beat {
    every: Duration,
    due: Instant,
}

impl Beat {
    fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.due;
        if due {
            self.due = later(now, self.every);
        }
        due
    }
}

impl Upkeep {
    pub(super) fn new(config: &JobConfig, now: Instant) -> Self {
        let beat = |every| Beat { every, due: later(now, every) };
        Self {
            discovery: beat(config.discovery_interval),
            sweep: beat(config.sweep_interval),
            sweeping: false,
            acknowledge: Beat { every: ACKNOWLEDGE_EVERY, due: now },
            acknowledging: false,
        }
    }

    /// When something is due. Positions are told when an entry is durable, and have no moment of their own.
    pub(super) fn due(&self) -> Instant {
        self.discovery.due.min(self.sweep.due)
    }

    /// Whether sources are to be looked at now.
    pub(super) fn is_discovery_due(&mut self, now: Instant) -> bool {
        self.discovery.is_due(now)
    }

    /// Whether leftovers are to be swept now.
    pub(super) fn is_sweep_due(&mut self, now: Instant) -> bool {
        self.sweep.is_due(now)
    }

    /// Begins a sweep, unless one is under way.
    pub(super) fn begin_sweep(&mut self) -> bool {
        !std::mem::replace(&mut self.sweeping, true)
    }

    pub(super) fn swept(&mut self) {
        self.sweeping = false;
    }

    /// Begins to tell positions, unless that is under way, or was done a moment ago.
    pub(super) fn begin_acknowledge(&mut self, now: Instant) -> bool {
        let begins = !self.acknowledging && self.acknowledge.is_due(now);
        self.acknowledging |= begins;
        begins
    }

    /// Positions were told to the sources, or not: nothing depends on it.
    pub(super) fn acknowledged(&mut self, result: Result<()>) {
        self.acknowledging = false;
        if let Err(error) = result {
            tracing::warn!(%error, "positions were not exported to the source; nothing depends on it");
        }
    }
}
