//! An epoch of the mode `ledger`, applied with times that are its own.
//!
//! ```text
//!   control row:  applied = epoch, first time, how many batches     one compare-and-set, and it decides
//!   batch 0       first + 0 .. 2                                    each batch with times of its own: a cell may be in several, and
//!   batch 1       first + 3 .. 5                                    what comes late of the first must not win over the second
//! ```
//!
//! An epoch that is newer than the one in the row takes times above everything that was ever given for the table, and stands there before anything of
//! it is written. The same epoch again, after a crash or by a paused attempt that wakes up, has the times that stand there, and so
//! the same cells: nothing changes. An older one changes nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use tidelock::write_ahead::{Apply, Version, Writes};
use tidelock::{Error, ErrorKind, JobId, Result, Retry, Uid};

use crate::control::{Applied, Claim, Control, Seen, State};
use crate::merge::STEPS_MAX;
use crate::mutation::RowMutation;
use crate::seen::Written;
use crate::target::{Ready, Target};

const OPERATION: &str = "apply an epoch";

/// What a row that is lost is needed for.
const CANNOT: &str = "an epoch cannot be applied";

/// Applies epochs to the table of a sink.
pub(crate) struct Ledger {
    pub(crate) target: Arc<Target>,
    /// What the table can take, as the writers of this process found it.
    ready: Arc<RwLock<Option<Arc<Ready>>>>,
    /// Up to which time this process knows that times were given, by job.
    known: Mutex<BTreeMap<JobId, i64>>,
    /// A part of the first epoch was read back.
    is_read_back: AtomicBool,
}

/// What an epoch is written with.
struct Begun {
    first: i64,
    /// Nobody had begun it before: nothing newer is written yet.
    is_new: bool,
}

#[async_trait]
impl Apply for Ledger {
    type Record = RowMutation;

    async fn newest(&self, job: &JobId, uid: &Uid) -> Result<Option<Version>> {
        let seen = self.target.control(job, uid).read().await?;
        Ok(seen.state.and_then(|state| state.applied).map(|applied| applied.version))
    }

    fn check(&self, record: &RowMutation) -> Result<()> {
        let ready = self.ready.read().unwrap_or_else(PoisonError::into_inner);
        match ready.as_ref() {
            Some(ready) => ready.checks.check(record),
            None => Err(Error::new(
                ErrorKind::Bug,
                "write a row",
                "a record is checked before its writer was opened",
            )),
        }
    }

    async fn apply(&self, writes: Writes<RowMutation>) -> Result<()> {
        let control = self.target.control(&writes.job, &writes.uid);
        let Some(Begun { first, is_new }) = self.begin(&control, &writes).await? else { return Ok(()) };
        let merge = self.target.merge().await?;
        let (mut batches, mut at) = (writes.batches(), first);
        while let Some(batch) = batches.next().await? {
            let steps = merge.in_order(batch).in_places(at);
            let is_looked_at = is_new && !self.is_read_back.load(Ordering::Relaxed);
            let written = if is_looked_at { Written::of(&steps) } else { None };
            self.target.sender.send(steps).await?;
            if let Some(written) = written {
                let claim = (&control, self.target.last_claim().await);
                written.check(&self.target.gateways, &self.target.config.table, claim).await?;
                self.is_read_back.store(true, Ordering::Relaxed);
            }
            at = at.saturating_add(STEPS_MAX);
        }
        Ok(())
    }
}

impl Ledger {
    pub(crate) fn new(target: Arc<Target>, ready: Arc<RwLock<Option<Arc<Ready>>>>) -> Self {
        Self { target, ready, known: Mutex::default(), is_read_back: AtomicBool::new(false) }
    }

    /// The first time of an epoch, as it stands in the control row. `None`: a later one was applied.
    async fn begin(&self, control: &Control, writes: &Writes<RowMutation>) -> Result<Option<Begun>> {
        let ours = self.target.last_claim().await;
        let (version, batches) = (writes.version, writes.batch_count() as u64);
        let now = self.target.clock.now(control).await?;
        let known = *self.known().entry(writes.job.clone()).or_default();
        let mut is_new = false;
        let decide = |seen: &Seen| {
            let state = begun(control, seen, ours, (version, batches), (now, known))?;
            is_new |= state.is_some();
            Ok(state)
        };
        let Some(state) = control.change(decide).await?.state else { return Err(control.lost(CANNOT)) };
        self.known().insert(writes.job.clone(), state.until);
        let Some(applied) = state.applied else { return Err(control.lost(CANNOT)) };
        if applied.version > version {
            return Ok(None);
        }
        if applied.batches != batches {
            let why = "an epoch has another number of batches than when it was applied first: its records are not the same";
            return Err(Error::new(ErrorKind::Corrupt, OPERATION, why)
                .with_retry(Retry::Halt)
                .with("version", version)
                .with("batches", batches)
                .with("batches_before", applied.batches));
        }
        Ok(Some(Begun { first: applied.first, is_new }))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<JobId, i64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state by which an epoch is begun, where it is newer than what stands there.
fn begun(
    control: &Control,
    seen: &Seen,
    ours: Option<Claim>,
    (version, batches): (Version, u64),
    (now, known): (i64, i64),
) -> Result<Option<State>> {
    // Times never go back: else they would be given twice.
    let Some(state) = seen.state.as_ref().filter(|state| state.until >= known) else {
        return Err(control.lost(CANNOT));
    };
    if state.applied.is_some_and(|applied| applied.version >= version) {
        return Ok(None);
    }
    if let Some(ours) = ours.filter(|ours| *ours < state.claim()) {
        return Err(control.fenced(OPERATION, ours, state.claim()));
    }
    let first = now.max(seen.until.saturating_add(1));
    let times = i64::try_from(batches).unwrap_or(i64::MAX).saturating_mul(STEPS_MAX);
    let last = first.saturating_add(times);
    let applied = Some(Applied { version, first, batches });
    // Writers of the mode `upsert` that are opened after it begin above it, too.
    Ok(Some(State { floor: last, until: last, applied, ..state.clone() }))
}
