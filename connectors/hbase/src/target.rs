//! What a sink's writers and commits share: the table, its checks, and the claim of the attempt.
//!
//! ```text
//!   recover (coordinator)   look at the table ─> clocks, sample ─> markers tried ─> claim: floor above everything that was given
//!   open (every process)    look at the table ─────────────────────────────────────> claim, where nobody of this attempt has
//! ```
//!
//! What pending epochs were applied with stands in the control row: where it is gone while something is pending, nobody knows whether they
//! were applied and what came after them, and the job halts (I7). The attempt that prepared them has claimed the row before, so one with an older
//! claim is another one: of another table or cluster, or from a backup.

use std::sync::Arc;

use tidelock::{DELIMITER, ErrorKind, JobId, Result, SinkAttempt, Uid};
use tokio::sync::Mutex;

use crate::check::Checks;
use crate::clock::{Clock, ComparedClock};
use crate::control::{Claim, Control, Seen, State};
use crate::error::setting;
use crate::gateway::Gateways;
use crate::merge::Merge;
use crate::sample;
use crate::send::Sender;
use crate::sink_config::{Deletes, HbaseSinkConfig, Mode, Versions};
use crate::table::{KEEPS_DELETED, OWN_ROWS, Table};
use crate::times::{AHEAD, Times};

/// What is known of the table in one attempt.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) checks: Checks,
    pub(crate) merge: Merge,
    /// Where cells have reserved times.
    pub(crate) times: Option<Arc<Times>>,
    /// The newest time that the table is known to have, where versions are those of records.
    pub(crate) newest: Option<i64>,
}

/// The table of a sink.
pub(crate) struct Target {
    pub(crate) config: HbaseSinkConfig,
    pub(crate) gateways: Gateways,
    pub(crate) sender: Sender,
    pub(crate) clock: Arc<ComparedClock>,
    attempt: Mutex<Known>,
}

/// What this process knows of the attempt that it saw last.
#[derive(Default)]
struct Known {
    attempt: Option<SinkAttempt>,
    /// It was recovered here.
    is_recovered: bool,
    /// What its writers share.
    ready: Option<Arc<Ready>>,
}

impl Known {
    /// Forgets what was known of another attempt.
    fn turn_to(&mut self, attempt: &SinkAttempt) {
        if self.attempt.as_ref() != Some(attempt) {
            *self = Self { attempt: Some(attempt.clone()), is_recovered: false, ready: None };
        }
    }
}

impl Target {
    pub(crate) fn new(config: HbaseSinkConfig, clock: Clock) -> Result<Self> {
        config.validate()?;
        let gateways = Gateways::new(&config.hbase)?;
        let sender = Sender::new(&gateways, &config);
        let clock = Arc::new(ComparedClock::new(clock));
        Ok(Self { config, gateways, sender, clock, attempt: Mutex::default() })
    }

    pub(crate) fn control(&self, job: &JobId, uid: &Uid) -> Control {
        Control::new(&self.gateways, &self.config.versions_table, &self.config.table, job, uid)
    }

    /// The claim of the attempt that was seen last in this process.
    pub(crate) async fn last_claim(&self) -> Option<Claim> {
        self.attempt.lock().await.attempt.as_ref().map(Claim::of)
    }

    /// See [`Sink::recover`](tidelock::Sink::recover). Where a newer attempt has the claim, nothing is touched. With nothing pending
    /// `open` says whether that matters, because this one may be about to roll back.
    ///
    /// `pending` is the claim of the newest attempt that prepared what is pending.
    pub(crate) async fn recover(&self, attempt: &SinkAttempt, pending: Option<Claim>) -> Result<()> {
        let mut known = self.attempt.lock().await;
        known.turn_to(attempt);
        // It comes again and again.
        if known.is_recovered {
            return Ok(());
        }
        let table = self.look().await?;
        let newest = table.newest_times(&self.gateways).await?;
        let newest = newest.and_then(|times| times.into_values().max());
        if self.config.reserves() || pending.is_some() {
            let control = self.control(&attempt.job, &attempt.uid);
            control.ensure().await?;
            let compared = self.clock.compare(&control).await;
            let now = compared.map_err(|error| error.with("table", &table.name))?;
            // What was given by ourselves we begin above, however far ahead it is.
            let given = control.reserved().await?;
            sample::check_reserved(&table.name, newest.filter(|newest| Some(*newest) > given), now)?;
            self.try_deletes(&table, attempt, now).await?;
            let above = now.saturating_add(AHEAD).max(newest.unwrap_or_default());
            let (ours, state) = (Claim::of(attempt), self.claim(&control, attempt, above, pending).await?);
            if pending.is_some() && state.claim() > ours {
                return Err(control.fenced("recover", ours, state.claim()));
            }
        } else {
            self.try_deletes(&table, attempt, self.clock.unchecked()).await?;
        }
        known.is_recovered = true;
        Ok(())
    }

    /// What `attempt` may write, in this process. The floor is read when the first writer is opened: what was pending is applied by then.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](tidelock::ErrorKind::Conflict) with the advice to halt, where a newer attempt has the claim.
    pub(crate) async fn open(&self, attempt: &SinkAttempt) -> Result<Arc<Ready>> {
        let mut known = self.attempt.lock().await;
        known.turn_to(attempt);
        if let Some(ready) = &known.ready {
            return Ok(Arc::clone(ready));
        }
        let table = self.look().await?;
        let (mut times, mut newest) = (None, None);
        if self.config.reserves() {
            let control = self.control(&attempt.job, &attempt.uid);
            control.ensure().await?;
            let (ours, now) = (Claim::of(attempt), self.clock.now(&control).await?);
            let above = now.saturating_add(AHEAD);
            let state = self.claim(&control, attempt, above, None).await?;
            if state.claim() != ours {
                return Err(control.fenced("open", ours, state.claim()));
            }
            times = Some(Arc::new(Times::new(control, ours, state.floor, Arc::clone(&self.clock))));
        } else {
            let control = self.control(&attempt.job, &attempt.uid);
            let Some(sampled) = table.newest_times(&self.gateways).await? else {
                return Err(sample::not_looked_at(&table.name));
            };
            // Deletes that were written with such times are in no sample.
            newest = sampled.into_values().max().max(control.reserved().await?);
        }
        let checks = Checks::new(&self.config, &table);
        let merge = Merge::new(table.families.into_keys(), &self.config.deletes);
        let ready = Arc::new(Ready { checks, merge, times, newest });
        known.ready = Some(Arc::clone(&ready));
        Ok(ready)
    }

    /// How records of the table become calls, where only what is pending is applied.
    pub(crate) async fn merge(&self) -> Result<Merge> {
        if let Some(ready) = &self.attempt.lock().await.ready {
            return Ok(ready.merge.clone());
        }
        Ok(Merge::new(self.look().await?.families.into_keys(), &self.config.deletes))
    }

    /// Looks at the table, and whether the settings go with it.
    async fn look(&self) -> Result<Table> {
        let attributes = if self.config.deletes == Deletes::Markers { KEEPS_DELETED } else { "" };
        let table = Table::look_for(&self.gateways, &self.config.table, attributes).await?;
        if let Deletes::Tombstones { column } = &self.config.deletes {
            table.family(column.family()).map_err(|error| error.with("setting", "deletes"))?;
        }
        let by_record = self.config.mode == Mode::Upsert && self.config.versions == Versions::Record;
        let lives = table.families.iter().find(|(_, family)| family.time_to_live.is_some());
        if by_record && let Some((family, _)) = lives {
            let why = "a family of the table has a time to live, which is measured with timestamps, and versions of records are no times: what is \
                       written would be gone at once, or never. Choose `reserved`, or alter the family";
            return Err(setting("versions", why).with("table", &table.name).with("family", family));
        }
        Ok(table)
    }

    /// Tries what a gateway does not show of the families.
    async fn try_deletes(&self, table: &Table, attempt: &SinkAttempt, now: i64) -> Result<()> {
        if self.config.deletes != Deletes::Markers {
            return Ok(());
        }
        let families = table.families.keys().cloned().collect();
        let mut row = OWN_ROWS.to_vec();
        // The same in each attempt: what one leaves that dies while it tries, the next one deletes.
        row.extend_from_slice(format!("{}{DELIMITER}{}", attempt.job, attempt.uid).as_bytes());
        let tried = table.try_deletes(&self.gateways, &families, &row, now).await;
        let Err(error) = &tried else { return tried };
        if error.kind() != ErrorKind::Config {
            return tried;
        }
        // An attempt that begins at the same time tries on the same row. So what is refused is tried again on a row that nobody else has.
        row.extend_from_slice(format!("{DELIMITER}{}", attempt.number).as_bytes());
        table.try_deletes(&self.gateways, &families, &row, now).await
    }

    /// Claims the versions of the table for an attempt, where nobody newer has. Returns what stands there then.
    async fn claim(
        &self,
        control: &Control,
        attempt: &SinkAttempt,
        above: i64,
        pending: Option<Claim>,
    ) -> Result<State> {
        let ours = Claim::of(attempt);
        let seen = control.change(|seen| claimed(control, seen, ours, above, pending)).await?;
        seen.state.ok_or_else(|| control.lost("the claim of this attempt is not there"))
    }
}

/// The state by which an attempt takes the claim, where it has to. Its floor is above all that anybody was given for this table.
fn claimed(
    control: &Control,
    seen: &Seen,
    ours: Claim,
    above: i64,
    pending: Option<Claim>,
) -> Result<Option<State>> {
    let there = seen.state.as_ref().map(State::claim);
    if there.is_some_and(|there| there >= ours) {
        return Ok(None);
    }
    if let Some(pending) = pending.filter(|pending| there.is_none_or(|there| there < *pending)) {
        let error = control
            .lost("nobody knows whether the epochs that are pending were applied, and what came after them");
        let found = there.map_or_else(|| "none".to_owned(), |there| there.to_string());
        return Err(error.with("prepared_by", pending).with("newest_claim", found).with(
            "remedy",
            "restore the versions table, or configure the one of before, with its table and its cluster. If it is lost, abandon what is \
             pending with `tidelock snapshots abandon`, and roll back to a snapshot from before it, which reads and writes it again",
        ));
    }
    let floor = above.max(seen.until);
    let applied = seen.state.as_ref().and_then(|state| state.applied);
    Ok(Some(State {
        serial: 0,
        generation: ours.generation,
        attempt: ours.attempt,
        floor,
        until: floor,
        applied,
    }))
}
