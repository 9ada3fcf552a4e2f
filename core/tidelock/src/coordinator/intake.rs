//! What comes in between a barrier and the entry that covers it: reports, and splits that are found meanwhile.
//!
//! ```text
//!   barrier n ──sent──> task reports n ──held until discovery has answered──> machine, state in the making
//! ```
//!
//! - A report that a split has ended waits until its source was asked for children: they enter the same snapshot as
//!   their parent's end. Reports reach the machine in the order of their arrival, so what came later waits too.
//! - What was prepared lives from the time of its barrier on, whenever its report comes.
//! - The end of input is noticed once: all sources are read to their ends, and no more splits will come.

use std::collections::{BTreeMap, VecDeque};

use super::splits::Splits;
use crate::host::Report;
use crate::protocol::Millis;
use crate::{Epoch, Uid};

#[derive(Debug, Default)]
pub(super) struct Intake {
    /// When the barriers were sent that no durable entry covers yet.
    barriers: BTreeMap<Epoch, Millis>,
    held: VecDeque<Held>,
    ended: bool,
}

/// A report that waits for discovery.
#[derive(Debug)]
struct Held {
    report: Report,
    needs: BTreeMap<Uid, u64>,
}

impl Intake {
    pub(super) fn barrier_sent(&mut self, epoch: Epoch, now: Millis) {
        self.barriers.insert(epoch, now);
    }

    /// A durable entry covers everything up to `epoch`.
    pub(super) fn covered(&mut self, epoch: Epoch) {
        self.barriers = self.barriers.split_off(&epoch.next());
    }

    /// A report came. `needs` says how many discovery requests of each source must be answered before it counts.
    pub(super) fn hold(&mut self, report: Report, needs: BTreeMap<Uid, u64>) {
        self.held.push_back(Held { report, needs });
    }

    /// When the barrier of a report was sent.
    ///
    /// What remains of prepared data was counted from the return of `prepare`, by a clock that may be another
    /// process's. The barrier was sent before that, so its time can only err towards caution; the report's arrival
    /// could not, because reports are delayed and processes stand still.
    pub(super) fn sent(&self, epoch: Epoch) -> Millis {
        self.barriers.get(&epoch).copied().unwrap_or_default()
    }

    /// The first report, where discovery has answered what it waits for.
    pub(super) fn next_answered(&mut self, sources: &BTreeMap<Uid, Splits>) -> Option<Report> {
        let answered = |(uid, wanted): (&Uid, &u64)| {
            sources.get(uid).is_none_or(|splits| splits.discoveries_answered() >= *wanted)
        };
        let first = self.held.front()?;
        first.needs.iter().all(answered).then(|| self.held.pop_front())?.map(|held| held.report)
    }

    /// Whether the end of input is noticed now.
    pub(super) fn ends(&mut self, sources: &BTreeMap<Uid, Splits>) -> bool {
        let ended = !sources.is_empty() && sources.values().all(Splits::is_exhausted);
        ended && !std::mem::replace(&mut self.ended, true)
    }
}
