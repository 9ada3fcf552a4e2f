//! A writer: what it was given is in the table when the call returns.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidelock::{Error, ErrorKind, Patience, Rejects, Result, Retry, SinkAttempt, WriterId};

use super::plan::{Stamp, Upserts};
use super::rows;
use crate::aside::{Aside, Letter};
use crate::change::{Change, StoredChange};
use crate::error::Fault;
use crate::refused::insert_letters_once;
use crate::target::Target;
use crate::value::SqlValue;

const OPERATION: &str = "write rows";

/// Rows that are sent again, by table.
const ROWS_AGAIN: &str = "tidelock_sql_rows_again_total";

/// A server that starts again or fails over needs less. What takes longer is for the attempt's restart.
const AGAIN_FOR: Duration = Duration::from_secs(60);

const REMEDY: &str = "the rows before it are written, and written again when the job is started: mend the table or the row that is \
     there, or choose another on_refused, and start the job again";

const NANOS_OF_MILLI: u64 = 1_000_000;

/// Writes rows by their versions: see [`Mode::Upsert`](crate::Mode::Upsert).
pub(crate) struct UpsertWriter<T> {
    target: Arc<Target>,
    upserts: Upserts,
    attempt: SinkAttempt,
    writer: WriterId,
    numbers: Numbers,
    /// How many dead letters this writer wrote.
    letters: u64,
    aside: Aside<T>,
    /// A call failed, or was dropped: not everything of the epoch is known to have arrived.
    failed: bool,
}

/// The versions of a writer's changes: each is newer than the one before.
///
/// A log that is made anew counts its attempts from the beginning again, so that two attempts may have one number. So the sequence
/// begins with the generation, a time in milliseconds, counted in nanoseconds: no writer writes faster than that, and what a
/// newer history writes is newer.
#[derive(Debug)]
struct Numbers {
    attempt: i64,
    last: i64,
}

impl Numbers {
    fn of(attempt: &SinkAttempt) -> Result<Self> {
        let first = attempt.generation.0.saturating_mul(NANOS_OF_MILLI);
        Ok(Self { attempt: bigint("attempt", attempt.number.0)?, last: bigint("sequence", first)? })
    }

    fn next(&mut self) -> Result<Stamp> {
        self.last = bigint("sequence", self.last.unsigned_abs() + 1)?;
        Ok(Stamp { attempt: self.attempt, sequence: self.last })
    }
}

/// A number as the columns of versions hold it: one that is too large is told, because a smaller one in its place would be older than
/// everything.
fn bigint(name: &'static str, number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| {
        let why = "a version is larger than what its column holds";
        Error::new(ErrorKind::Data, OPERATION, why).with_retry(Retry::Halt).with(name, number)
    })
}

impl<T> fmt::Debug for UpsertWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpsertWriter")
            .field("table", &self.upserts.shape.name)
            .field("writer", &self.writer)
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}

impl<T> UpsertWriter<T> {
    /// See [`Sink::open`](tidelock::Sink::open).
    pub(crate) async fn open(target: Arc<Target>, attempt: &SinkAttempt, writer: WriterId) -> Result<Self> {
        let shape = target.shape().await?;
        let upserts = Upserts::new(&target.config, &shape)?;
        let aside = Aside::new(shape, target.config.on_refused.clone());
        let numbers = Numbers::of(attempt)?;
        let attempt = attempt.clone();
        Ok(Self { target, upserts, attempt, writer, numbers, letters: 0, aside, failed: false })
    }

    /// See [`Rejecting`](tidelock::Rejecting).
    pub(crate) fn reject_to(&mut self, rejects: Rejects<Change<T>>) {
        self.aside.rejects = Some(rejects);
    }

    /// See [`SinkWriter::prepare`](tidelock::SinkWriter::prepare). What was written has arrived when its call returned.
    pub(crate) fn prepare(&self) -> Result<()> {
        if self.failed {
            let why = "an earlier call of this writer failed: not everything of the epoch is known to be in the table";
            return Err(self.named(Error::new(ErrorKind::Conflict, OPERATION, why)));
        }
        Ok(())
    }

    fn named(&self, error: Error) -> Error {
        error.with("table", &self.upserts.shape.name).with("writer", self.writer)
    }

    /// Writes rows, and writes them again while that may help: by their versions they change nothing twice.
    async fn write_rows(&self, changes: &[StoredChange]) -> Result<Vec<(usize, Fault)>> {
        let (mut patience, table) =
            (Patience::new(ROWS_AGAIN, AGAIN_FOR), self.upserts.shape.name.to_string());
        loop {
            match rows::write(&self.target.pool, &self.upserts, changes).await {
                Ok(refused) => return Ok(refused),
                Err(error) => patience.after(error, &table).await?,
            }
        }
    }

    /// Writes dead letters, each under a name that it has in this attempt alone.
    async fn write_letters(&mut self, letters: Vec<Letter>) -> Result<()> {
        if letters.is_empty() || self.target.letters.is_none() {
            return Ok(());
        }
        let first = u64::from(self.writer.0) << 32 | self.letters;
        self.letters += letters.len() as u64;
        if self.letters > u64::from(u32::MAX) {
            let why = "one writer of an attempt has more dead letters than they have numbers: most of its rows cannot be written";
            return Err(self.named(Error::new(ErrorKind::Data, OPERATION, why)));
        }
        // A letter is written before the number of its epoch is known, and a replay may write it again in another epoch: the attempt
        // stands in its place.
        let begins = [
            SqlValue::Text(self.attempt.job.as_str().to_owned()),
            SqlValue::Text(self.attempt.uid.as_str().to_owned()),
            SqlValue::from(self.attempt.generation.0),
            SqlValue::I64(self.numbers.attempt),
        ];
        let letter = |(place, rest): (u64, Letter)| -> Vec<SqlValue> {
            begins.iter().cloned().chain([SqlValue::from(first + place)]).chain(rest).collect()
        };
        let letters: Vec<_> = (0..).zip(letters).map(letter).collect();
        let (mut patience, table) =
            (Patience::new(ROWS_AGAIN, AGAIN_FOR), self.upserts.shape.name.to_string());
        while let Err(error) = self.try_letters(&letters).await {
            patience.after(error, &table).await?;
        }
        Ok(())
    }

    async fn try_letters(&self, letters: &[Vec<SqlValue>]) -> Result<()> {
        let mut client = self.target.pool.get().await?;
        let written = insert_letters_once(&self.target, &mut client, letters).await;
        written.map_err(|fault| self.named(fault.during("write dead letters")))?;
        client.give_back();
        Ok(())
    }
}

impl<T: Serialize> UpsertWriter<T> {
    /// See [`SinkWriter::write`](tidelock::SinkWriter::write).
    pub(crate) async fn write(&mut self, records: &mut Vec<Change<T>>) -> Result<()> {
        self.prepare()?;
        self.failed = true;
        self.take(records).await?;
        self.failed = false;
        Ok(())
    }

    async fn take(&mut self, records: &mut Vec<Change<T>>) -> Result<()> {
        let mut letters = Vec::new();
        let mut changes = Vec::with_capacity(records.len());
        let mut given = Vec::with_capacity(records.len());
        for record in records.drain(..) {
            let stamp = self.numbers.next()?;
            match self.upserts.change(&record, stamp) {
                Ok(change) => {
                    changes.push(change);
                    given.push(Some(record));
                }
                Err(error) if error.kind() == ErrorKind::Data => {
                    letters.extend(self.aside.misfit(record, error)?);
                }
                Err(error) => return Err(error),
            }
        }
        for (place, fault) in self.write_rows(&changes).await? {
            let Some(record) = given[place].take() else { continue };
            let shown = self.upserts.shown(record.operation(), &changes[place]);
            letters.extend(self.aside.violation(&shown, record, fault, REMEDY)?);
        }
        self.write_letters(letters).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_its_column_does_not_hold_is_an_error_and_does_not_begin_anew() {
        let mut numbers = Numbers { attempt: 7, last: i64::MAX - 1 };
        assert_eq!(numbers.next().expect("the last one"), Stamp { attempt: 7, sequence: i64::MAX });
        for _ in 0..2 {
            let error = numbers.next().expect_err("there is none after it");
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt));
            assert!(error.to_string().contains("sequence=9223372036854775808"), "{error}");
        }
        assert_eq!(numbers.last, i64::MAX);
        assert_eq!(bigint("attempt", i64::MAX as u64).expect("it fits"), i64::MAX);
        assert!(bigint("attempt", i64::MAX as u64 + 1).is_err());
    }
}
