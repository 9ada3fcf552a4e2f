//! The control row: which times are given away, to which attempt, and which epoch was applied last.
//!
//! ```text
//!   table `tidelock_versions`:  row = the table that is written, column v:JOB.UID = 1 CHECKSUM {"serial":7,"generation":..,"attempt":9,
//!                                                                 "floor":..,"until":..,"applied":{..}}
//!   recover, open   claim    attempt and floor: above every time that anybody was given for this table
//!   write           reserve  until: the owner of the claim alone may raise it; a newer claim is a fence
//!   commit          begin    applied: the epoch and its first time, before anything of it is written
//! ```
//!
//! One row for each table and a column for each job and sink, so that one look tells what all of them were given: a fork, or a sink
//! that was renamed, begins above what the other one wrote.
//!
//! A cell is changed by compare-and-set alone (`checkAndPut`), with a text that was never there before: each has a serial number. So a
//! request that comes late or twice changes nothing, and one without an answer is settled by looking again. The server gives the cell
//! its own time, or that of the cell before where its clock went back. What decides is what stands in the text, and no clock.

use std::fmt;

use hbase_thrift::hbase::{Mutation, THbaseSyncClient, TRowResult};
use serde::{Deserialize, Serialize};
use tidelock::write_ahead::Version;
use tidelock::{
    DELIMITER, Error, ErrorKind, Generation, JobId, Patience, Position, Result, Retry, SinkAttempt, Uid,
};

use crate::gateway::{CALLS_AGAIN, Gateways};
use crate::send::AGAIN_FOR;
use crate::table::{there_or_made, without_default_namespace};

const FAMILY: &str = "v";

/// Written to learn the time of the server.
const CLOCK: &str = "v:clock";

const READ: &str = "read the versions table";
const CHANGE: &str = "change the versions table";

/// Writers of a job reserve seconds at a time, so another one is seldom in the way, and more seldom twice.
const TRIES_MAX: u32 = 200;

/// What to do about a cell that cannot be read.
const DAMAGED: &str = "take the newest build; or restore the cell; or delete it, when the last job that wrote to the table has not written \
                       for a minute: the next attempt begins a minute ahead of the clock, and above what the other cells of the row say";

/// Said of a versions table that was there when the attempt began.
const GONE_REMEDY: &str = "the versions table was dropped while the job ran: restore it, or start the job again, which makes it anew and begins a \
     minute ahead of the clocks; with an epoch pending in the mode `ledger` the start says what to do";

/// The form of the text.
const FORM: &str = "1";

/// An attempt by its place in history. Ordered: a newer generation wins, and within it the newer attempt. A log that is made anew
/// counts its attempts from the beginning, and has a newer generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) generation: Generation,
    pub(crate) attempt: Position,
}

impl Claim {
    pub(crate) fn of(attempt: &SinkAttempt) -> Self {
        Self { generation: attempt.generation, attempt: attempt.number }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} of generation {}", self.attempt, self.generation)
    }
}

/// The epoch that was applied last, or is being applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Applied {
    pub(crate) version: Version,
    /// The first time of its cells.
    pub(crate) first: i64,
    /// How many batches it has.
    pub(crate) batches: u64,
}

/// What the column of a job and its sink says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// Of each text another one.
    pub(crate) serial: u64,
    pub(crate) generation: Generation,
    pub(crate) attempt: Position,
    /// The attempt that has the claim gives times above this one.
    pub(crate) floor: i64,
    /// No time above this one was given by anybody.
    pub(crate) until: i64,
    pub(crate) applied: Option<Applied>,
}

impl State {
    pub(crate) fn claim(&self) -> Claim {
        Claim { generation: self.generation, attempt: self.attempt }
    }

    /// The text of the cell.
    fn to_text(&self) -> Result<String> {
        let json = serde_json::to_string(self).map_err(|error| {
            Error::new(ErrorKind::Bug, CHANGE, "a control row cannot be stored as JSON").because(error)
        })?;
        Ok(format!("{FORM} {:08x} {json}", crc32c::crc32c(json.as_bytes())))
    }

    /// Reads the text of a cell. `None` where it is none that this build wrote.
    fn of_text(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (checksum, json) = text.strip_prefix(FORM)?.strip_prefix(' ')?.split_once(' ')?;
        let is_whole = u32::from_str_radix(checksum, 16).ok()? == crc32c::crc32c(json.as_bytes());
        is_whole.then(|| serde_json::from_str(json).ok()).flatten()
    }
}

/// The row of a table, as it was read.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Our column.
    pub(crate) state: Option<State>,
    /// As it stands there.
    text: Option<Vec<u8>>,
    /// No time above this one was given for the table by any job.
    pub(crate) until: i64,
    /// The time of the server, where it was asked for.
    clock: Option<i64>,
}

/// The column of a job and its sink in the row of a table.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    gateways: Gateways,
    versions_table: String,
    table: String,
    column: String,
}

impl Control {
    pub(crate) fn new(
        gateways: &Gateways,
        versions_table: &str,
        table: &str,
        job: &JobId,
        uid: &Uid,
    ) -> Self {
        Self {
            gateways: gateways.clone(),
            versions_table: versions_table.to_owned(),
            table: without_default_namespace(table).to_owned(),
            column: format!("{FAMILY}:{job}{DELIMITER}{uid}"),
        }
    }

    /// Makes the versions table where there is none, and looks whether it forgets nothing.
    pub(crate) async fn ensure(&self) -> Result<()> {
        let found = there_or_made(&self.gateways, &self.versions_table, &[FAMILY]).await;
        let found = found.map_err(|error| error.with("versions_table", &self.versions_table))?;
        let family = found.family(FAMILY).map_err(|error| error.with("setting", "versions_table"))?;
        if family.time_to_live.is_some() {
            let why =
                "the family of the versions table has a time to live: what it forgets is given away twice";
            return Err(self.named(Error::new(ErrorKind::Config, READ, why)));
        }
        Ok(())
    }

    fn named(&self, error: Error) -> Error {
        error
            .with("versions_table", &self.versions_table)
            .with("table", &self.table)
            .with("column", &self.column)
    }

    /// Reads the row.
    pub(crate) async fn read(&self) -> Result<Seen> {
        let (name, row) = (self.versions_table.clone().into_bytes(), self.table.clone().into_bytes());
        let call = self.gateways.call(READ, move |client| client.get_row(name, row, [].into()));
        let found = call.await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.named(error).with("remedy", GONE_REMEDY),
            _ => self.named(error),
        })?;
        let mut seen = Seen { state: None, text: None, until: 0, clock: None };
        for (column, cell) in found.into_iter().filter_map(|row: TRowResult| row.columns).flatten() {
            let value = cell.value.unwrap_or_default();
            if column == CLOCK.as_bytes() {
                seen.clock = cell.timestamp;
                continue;
            }
            let Some(state) = State::of_text(&value) else {
                let why = "a cell of the versions table is damaged, or a newer build wrote it: nobody knows which times are given away";
                let shown = column.escape_ascii().to_string();
                let error = self.named(Error::new(ErrorKind::Corrupt, READ, why)).with("cell", shown);
                return Err(error.with("remedy", DAMAGED));
            };
            seen.until = seen.until.max(state.until);
            if column == self.column.as_bytes() {
                (seen.state, seen.text) = (Some(state), Some(value));
            }
        }
        Ok(seen)
    }

    /// Up to which time any were ever given for the table. `None`: none were, as far as is known.
    pub(crate) async fn reserved(&self) -> Result<Option<i64>> {
        match self.read().await {
            Ok(seen) => Ok(Some(seen.until).filter(|until| *until > 0)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether nobody newer owns the sink.
    pub(crate) async fn check_claim(&self, operation: &'static str, ours: Option<Claim>) -> Result<()> {
        let Some(ours) = ours else { return Ok(()) };
        match self.read().await?.state {
            Some(state) if state.claim() > ours => Err(self.fenced(operation, ours, state.claim())),
            _ => Ok(()),
        }
    }

    /// Puts a state into the place of what was seen. `false`: something else stands there now.
    async fn swap(&self, seen: &Seen, state: &State) -> Result<bool> {
        let (name, row) = (self.versions_table.clone().into_bytes(), self.table.clone().into_bytes());
        let (column, text) = (self.column.clone().into_bytes(), state.to_text()?.into_bytes());
        // An empty value stands for a cell that is not there.
        let before = seen.text.clone().unwrap_or_default();
        let call = self.gateways.call(CHANGE, move |client| {
            let put = Mutation {
                is_delete: Some(false),
                column: Some(column.clone()),
                value: Some(text),
                write_to_w_a_l: Some(true),
            };
            client.check_and_put(name, row, column, before, put, [].into())
        });
        call.await.map_err(|error| self.named(error))
    }

    /// Lets `decide` look at the row until it wants no change, or its change was made. Returns the row as it decided last. It is asked
    /// again after a change, after one that somebody else was faster with, and after an answer that was lost.
    pub(crate) async fn change(
        &self,
        mut decide: impl FnMut(&Seen) -> Result<Option<State>> + Send,
    ) -> Result<Seen> {
        let mut patience = Patience::new(CALLS_AGAIN, AGAIN_FOR);
        for _ in 0..TRIES_MAX {
            let seen = match self.read().await {
                Ok(seen) => seen,
                Err(error) => {
                    patience.after(error, &self.versions_table).await?;
                    continue;
                }
            };
            let Some(mut state) = decide(&seen)? else { return Ok(seen) };
            state.serial = seen.state.as_ref().map_or(0, |before| before.serial) + 1;
            match self.swap(&seen, &state).await {
                Ok(_) => {}
                Err(error) => patience.after(error, &self.versions_table).await?,
            }
        }
        let why = "somebody else changes the row all the time";
        Err(self.named(Error::new(ErrorKind::Conflict, CHANGE, why)))
    }

    /// The time of the server, in milliseconds.
    pub(crate) async fn server_clock(&self) -> Result<i64> {
        let mut patience = Patience::new(CALLS_AGAIN, AGAIN_FOR);
        loop {
            match self.ask_clock().await {
                Ok(clock) => return Ok(clock),
                Err(error) => patience.after(error, &self.versions_table).await?,
            }
        }
    }

    async fn ask_clock(&self) -> Result<i64> {
        let (name, row) = (self.versions_table.clone().into_bytes(), self.table.clone().into_bytes());
        let call = self.gateways.call(CHANGE, move |client| {
            let put = Mutation {
                is_delete: Some(false),
                column: Some(CLOCK.into()),
                value: Some(b"?".to_vec()),
                write_to_w_a_l: Some(true),
            };
            client.mutate_row(name, row, vec![put], [].into())
        });
        call.await.map_err(|error| self.named(error))?;
        self.read().await?.clock.ok_or_else(|| {
            self.named(Error::new(
                ErrorKind::Conflict,
                READ,
                "a cell that was written a moment ago is not there",
            ))
        })
    }

    /// I7: what was promised by a row that is gone is not known any more.
    pub(crate) fn lost(&self, what: &str) -> Error {
        let why = "the versions table has nothing of this job and sink, or something older than was there before: it is another table \
                   than before, or it was made anew, restored or changed by hand";
        self.named(Error::new(ErrorKind::Conflict, READ, why))
            .with_retry(Retry::Halt)
            .with("so", what)
            .with("setting", "versions_table")
    }

    /// I5: somebody newer owns the sink.
    pub(crate) fn fenced(&self, operation: &'static str, ours: Claim, theirs: Claim) -> Error {
        let why = "a newer attempt has claimed the versions of this table: it owns the job, and this one must end; or the job's log was lost \
                   or replaced, and then roll back to the newest snapshot, which begins a new generation, when the clock is past the one in the \
                   versions table";
        let error = Error::new(ErrorKind::Conflict, operation, why).with_retry(Retry::Halt);
        self.named(error).with("ours", ours).with("newer", theirs)
    }
}

#[cfg(test)]
mod tests {
    use tidelock::Epoch;

    use super::*;

    fn state() -> State {
        State {
            serial: 7,
            generation: Generation(1_764_457_200_000),
            attempt: Position(9),
            floor: 1_764_457_260_001,
            until: 1_764_457_300_000,
            applied: Some(Applied {
                version: Version { generation: Generation(1_764_457_200_000), epoch: Epoch(12) },
                first: 1_764_457_261_000,
                batches: 2,
            }),
        }
    }

    /// A golden file never changes: what an older build stored is read for ever.
    #[test]
    fn the_stored_form_of_every_version_is_read() {
        let golden = include_str!("../tests/golden/control_v1.txt").trim_end();
        assert_eq!(State::of_text(golden.as_bytes()).expect("a state"), state());
        assert_eq!(state().to_text().expect("stored"), golden);
    }

    #[test]
    fn a_text_that_is_damaged_or_of_a_newer_build_is_none() {
        let text = state().to_text().expect("stored");
        for damaged in [
            text.replace("\"serial\":7", "\"serial\":8"),
            text.replacen('1', "2", 1),
            text[..text.len() - 1].to_owned(),
            String::new(),
            "1 00000000 {}".to_owned(),
        ] {
            assert!(State::of_text(damaged.as_bytes()).is_none(), "{damaged}");
        }
    }

    #[test]
    fn a_newer_generation_is_newer_than_any_attempt_of_an_older_one() {
        let claim =
            |generation, attempt| Claim { generation: Generation(generation), attempt: Position(attempt) };
        assert!(claim(2, 1) > claim(1, 57) && claim(1, 10) > claim(1, 9) && claim(0, 1) > Claim::default());
    }
}
