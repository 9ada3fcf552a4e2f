//! When a job is killed.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tidelock::Position;

use crate::{Evidence, Process};

/// A start takes about as long: killed by then, it is killed at any step of it.
const START: Duration = Duration::from_millis(1_500);

/// When the job is killed.
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    /// After this time from its start, also before it started to work.
    FromStart(Duration),
    /// After this time from when it worked.
    AtWork(Duration),
    /// As soon as a new entry shows: just before what it lists is committed, more often than not.
    AtEntry,
}

impl Moment {
    /// Half of them at an entry.
    pub fn choose(random: &mut StdRng, interval: Duration) -> Self {
        match random.random_range(0..4) {
            0 => Self::FromStart(random.random_range(Duration::ZERO..START)),
            1 => Self::AtWork(random.random_range(Duration::ZERO..interval * 20)),
            _ => Self::AtEntry,
        }
    }

    /// Waits for it. The process was started when the log had `before`; `records` waits until something new is visible.
    pub async fn wait_for(
        self,
        log: &Evidence,
        process: &mut Process,
        before: Position,
        records: impl AsyncFnOnce(&mut Process),
    ) {
        match self {
            Self::FromStart(time) => tokio::time::sleep(time).await,
            Self::AtWork(time) => {
                log.wait_for_attempt(process, before).await;
                tokio::time::sleep(time).await;
            }
            Self::AtEntry => {
                log.wait_for_attempt(process, before).await;
                // Some epochs of this attempt first, so that there are records in them.
                records(process).await;
                log.wait_for_entry(process, 3).await;
            }
        }
    }
}
