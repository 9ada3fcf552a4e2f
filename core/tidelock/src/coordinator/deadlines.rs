//! What must fit into the time for which targets keep prepared data: decided by numbers, before the job is
//! claimed.
//!
//! ```text
//!   barrier n-1        barrier n            entry n asked for      durable           committed
//!   ─────┬─────────────────┬─────────────────────┬─────────────────────┬─────────────────┬──>
//!        │<─── interval ──>│                     │<─ append_timeout ──>│<── the other ──>│
//!        │  epoch n is written                   │                         half          │
//!        │                                       │<────────── commit_margin ────────────>│
//!        │<────────────────── a target keeps it: at least interval + commit_margin ─────────···
//! ```
//!
//! What `prepare` needs comes on top, and nobody knows it beforehand. So each entry is judged again when it
//! is asked for: where less than the margin remains of what it would list, the attempt restarts, and nothing
//! is lost. Data that even a checkpoint without any delay would leave too little time for is refused here,
//! or the job would restart for ever.

use std::sync::Arc;
use std::time::Duration;

use crate::job::{Graph, JobConfig, Settings};
use crate::{Error, ErrorKind, Result, Uid};

/// The margins of a job, and how long each of its targets keeps what is prepared.
#[derive(Debug, Clone)]
pub(super) struct Deadlines {
    commit_margin: Duration,
    append_timeout: Duration,
    call_timeout: Duration,
    /// Sinks whose targets do not keep it for ever.
    keeps: Arc<[(Uid, Duration)]>,
}

impl Deadlines {
    pub(super) fn new(config: &JobConfig, graph: &Graph) -> Self {
        let keeps = graph.sinks.iter().filter_map(|(uid, sink)| Some((uid.clone(), sink.keeps_prepared()?)));
        Self {
            commit_margin: config.commit_margin,
            append_timeout: config.append_timeout(),
            call_timeout: config.call_timeout,
            keeps: keeps.collect(),
        }
    }

    /// Refuses settings with which prepared data could never be committed in time.
    pub(super) fn check(&self, settings: &Settings) -> Result<()> {
        settings.validate()?;
        let between = between_barriers(settings);
        let needed = between.saturating_add(self.commit_margin);
        let Some((uid, keeps)) = self.keeps.iter().find(|(_, keeps)| *keeps < needed) else { return Ok(()) };
        Err(Error::new(
            ErrorKind::Config,
            "configure",
            "the sink's target throws prepared data away before it could be committed: let it keep the data for \
             longer, which for Kafka is transaction.timeout.ms, checkpoint more often, or allow less time for append \
             and commit with commit_margin",
        )
        .with("uid", uid)
        .with("kept_for", format_args!("{keeps:?}"))
        .with("needed", format_args!("{needed:?}"))
        .with("interval", format_args!("{between:?}"))
        .with("commit_margin", format_args!("{:?}", self.commit_margin)))
    }

    /// How long an entry may take from the moment when its expiry was judged until its request is answered.
    pub(super) fn append_timeout(&self) -> Duration {
        self.append_timeout
    }

    /// How long a call may take that no prepared data waits for.
    pub(super) fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    /// How long a commit may take while the job runs. What is prepared and written meanwhile waits for it, and lives
    /// no longer than its targets keep it: a sink that hangs must not end the job by the loss, or the failure, of
    /// another one. Half of what remains is for the attempt after it, which commits all of it. That one takes all
    /// the time of a call: nothing waits for it, and what is only slow would be given up again and again.
    pub(super) fn commit_timeout(&self, settings: &Settings) -> Duration {
        let spent = between_barriers(settings).saturating_add(self.append_timeout);
        let shortest = self.keeps.iter().map(|(_, keeps)| keeps.saturating_sub(spent) / 2).min();
        shortest.map_or(self.call_timeout, |shortest| shortest.min(self.call_timeout))
    }
}

/// The time between two barriers where nothing is late.
fn between_barriers(settings: &Settings) -> Duration {
    settings.interval.max(settings.pause_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn deadlines(keeps: &[u64]) -> Deadlines {
        let uid = |index| Uid::new(format!("sink-{index}")).expect("legal");
        let keeps = keeps.iter().enumerate().map(|(index, keeps)| (uid(index), secs(*keeps)));
        Deadlines {
            commit_margin: secs(30),
            append_timeout: secs(15),
            call_timeout: secs(600),
            keeps: keeps.collect(),
        }
    }

    fn settings(interval: u64, pause_min: u64) -> Settings {
        Settings { interval: secs(interval), pause_min: secs(pause_min), ..Settings::default() }
    }

    #[test]
    fn prepared_data_must_live_for_interval_and_margin() {
        for (keeps, interval, pause_min, fits) in [
            (&[][..], 3_600, 0, true),
            (&[40], 10, 0, true),
            (&[39], 10, 0, false),
            (&[40], 1, 10, true),
            (&[40], 1, 11, false),
            (&[900, 39], 10, 0, false),
            (&[29], 1, 0, false),
        ] {
            let checked = deadlines(keeps).check(&settings(interval, pause_min));
            assert_eq!(checked.is_ok(), fits, "{keeps:?} {interval} {pause_min}: {checked:?}");
        }
        let error = deadlines(&[900, 39]).check(&settings(10, 0)).expect_err("too short").to_string();
        for part in ["uid=sink-1", "kept_for=39s", "needed=40s", "interval=10s", "commit_margin=30s"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn settings_that_cannot_work_by_themselves_are_refused_too() {
        assert!(deadlines(&[]).check(&settings(0, 0)).is_err());
    }

    #[test]
    fn a_commit_ends_before_what_waits_for_it_is_thrown_away() {
        assert_eq!(deadlines(&[]).commit_timeout(&settings(10, 0)), secs(600));
        assert_eq!(deadlines(&[900, 65]).commit_timeout(&settings(10, 0)), secs(20));
        // Where the rule holds at all, a quarter of the margin remains.
        assert_eq!(deadlines(&[40]).commit_timeout(&settings(10, 0)), Duration::from_millis(7_500));
        assert_eq!(deadlines(&[86_400]).commit_timeout(&settings(10, 0)), secs(600));
    }
}
