//! A writer's transactions: one that is written, and those that are prepared and wait for their end.
//!
//! Rows that are prepared are locked until they are committed, and another transaction that wants them waits, also one of the
//! same writer. A writer must not wait for that, so it gives records back where they could meet a row of its own that is not
//! committed yet: it goes on before that only where both have nothing but inserts. What is committed it sees in the table of
//! transactions.
//!
//! A call that fails, or that is dropped before it returned, leaves a part of an epoch in a transaction that is rolled back with
//! its connection. So a writer that failed once does nothing any more: the rest of its epoch alone must never be prepared (I7).

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tidelock::{Epoch, Error, ErrorKind, Prepared, Result, Retry, SinkAttempt, WriterId};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::aside::{Aside, Letter};
use crate::change::{Change, Operation, StoredChange};
use crate::committable::{Branch, SqlCommittable};
use crate::error::{Class, Fault};
use crate::kind::DatabaseKind;
use crate::prepared::name::{Owner, TransactionName};
use crate::prepared::registry::Registry;
use crate::prepared::sessions::{Line, Session};
use crate::prepared::{detach, rows, wire};
use crate::refused::insert_letters;
use crate::shape::Shape;
use crate::target::Target;
use crate::value::SqlValue;

/// Changes are written when there are so many of them, or so many bytes, or at the barrier: several statements at once, because
/// on PostgreSQL each time costs a savepoint. Of a small epoch fewer wait, so that little is left to do at its barrier.
const CHANGES_MAX: usize = 2_048;
const CHANGES_MIN: usize = 256;
const BYTES_MAX: usize = 1024 * 1024;

/// How many changes wait until they are written, in an epoch that has written so many.
fn changes_max(written: u64) -> usize {
    usize::try_from(written / 4).unwrap_or(CHANGES_MAX).clamp(CHANGES_MIN, CHANGES_MAX)
}

/// Letters wait in memory until the number of their epoch is known. So many bytes of them, where nothing else was chosen.
const LETTERS_BYTES_MAX: u64 = 16 * 1024 * 1024;

const OPERATION: &str = "write rows";

const AGAIN: &str = "nothing of the epoch is lost, it is read and written again";

const REMEDY: &str = "nothing of the epoch was written: mend the table or the row that is there, or choose another on_refused, and \
     start the job again";

/// Writes rows into transactions: see [`Mode::Prepared`](crate::Mode::Prepared).
pub(crate) struct BranchWriter<T> {
    target: Arc<Target>,
    shape: Arc<Shape>,
    attempt: SinkAttempt,
    writer: WriterId,
    session: Session,
    circumstances: Circumstances,
    /// The number of the next transaction.
    number: u64,
    /// The transaction that is written.
    open: Option<Open>,
    /// The connection of the next one.
    next: Next,
    /// What is not written yet, with the records that it was made of.
    changes: Vec<StoredChange>,
    records: Vec<Change<T>>,
    bytes: usize,
    /// Whether all of the epoch up to now are inserts, which want no row of an epoch before it.
    only_inserts: bool,
    /// Dead letters: what stands after the epoch in each. They wait for the epoch's number.
    letters: Vec<Letter>,
    letters_bytes: usize,
    /// What is prepared and not settled.
    unsettled: Vec<Unsettled>,
    /// Where records go that cannot be written.
    pub(crate) aside: Aside<T>,
    failed: bool,
}

/// What a writer finds at its server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// Whether the server takes a prepared transaction from its connection at once.
    pub(super) detaches: bool,
    /// Whether rows of the table refer to others of it: then inserts are not by themselves.
    pub(super) refers_to_itself: bool,
}

/// A transaction that is open.
struct Open {
    line: Line,
    name: TransactionName,
    changes: u64,
}

/// A connection on which nothing is begun.
enum Next {
    None,
    Idle(Line, Instant),
    Opening(JoinHandle<Result<Line>>, Instant),
}

struct Unsettled {
    epoch: Epoch,
    name: TransactionName,
    only_inserts: bool,
    /// Seen in the table of transactions.
    is_committed: bool,
}

impl<T> fmt::Debug for BranchWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BranchWriter")
            .field("table", &self.shape.name)
            .field("writer", &self.writer)
            .field("unsettled", &self.unsettled.len())
            .finish_non_exhaustive()
    }
}

impl<T> BranchWriter<T> {
    pub(super) fn new(
        target: Arc<Target>,
        shape: Arc<Shape>,
        attempt: SinkAttempt,
        writer: WriterId,
        circumstances: Circumstances,
    ) -> Self {
        let session = Session::of(&target, &attempt, writer);
        let aside = Aside::new(Arc::clone(&shape), target.config.on_refused.clone());
        let mut new = Self {
            target,
            shape,
            attempt,
            writer,
            session,
            circumstances,
            number: 1,
            open: None,
            next: Next::None,
            changes: Vec::new(),
            records: Vec::new(),
            bytes: 0,
            only_inserts: !circumstances.refers_to_itself,
            letters: Vec::new(),
            letters_bytes: 0,
            unsettled: Vec::new(),
            aside,
            failed: false,
        };
        new.open_next();
        new
    }

    /// Begins a call that fails for good where it does not end well.
    fn begin(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.failed, true) {
            let why =
                "an earlier call of this writer failed: what it had written of the epoch is rolled back";
            return Err(self.named(Error::new(ErrorKind::Conflict, OPERATION, why)));
        }
        Ok(())
    }

    /// Ends a call. Where it failed, what is open is rolled back now, and not when the writer ends.
    fn end<R>(&mut self, done: Result<R>) -> Result<R> {
        match done {
            Ok(done) => {
                self.failed = false;
                Ok(done)
            }
            // Nothing is promised yet, and trying again here would write the rest of the epoch alone.
            Err(error) => {
                self.open = None;
                Err(if error.retry() == Retry::Retry { error.with_retry(Retry::Restart) } else { error })
            }
        }
    }

    fn named(&self, error: Error) -> Error {
        error.with("table", &self.shape.name).with("writer", self.writer)
    }

    /// A fault in the middle of an epoch: nothing is promised yet, and the epoch is written again by another attempt.
    fn wrong(&self, fault: Fault) -> Error {
        let contended = fault.class == Class::Contended;
        let error = self.shape.with_rights(self.named(fault.during(OPERATION)), AGAIN);
        if contended {
            return error.with(
                "remedy",
                "somebody else holds rows that this writer wants. Let all changes of a key come to one writer of the sink, and \
                 other users of the table commit soon",
            );
        }
        error
    }

    /// Opens the next transaction's connection while there is time.
    fn open_next(&mut self) {
        let (target, session, number) = (Arc::clone(&self.target), self.session.clone(), self.number);
        let opening = tokio::spawn(async move { Box::pin(session.connect(&target, number)).await });
        self.next = Next::Opening(opening, Instant::now());
    }

    /// A connection with nothing begun: the one that is there, if servers and those between keep one for so long.
    async fn connection(&mut self) -> Result<Line> {
        let idle_max = self.target.config.database.idle_max();
        match std::mem::replace(&mut self.next, Next::None) {
            Next::Idle(line, since) if since.elapsed() < idle_max => return Ok(line),
            Next::Opening(opening, since) if since.elapsed() < idle_max => {
                let opened = opening.await;
                return opened.unwrap_or_else(|failed| {
                    let why = "a connection could not be made ready";
                    Err(Error::new(ErrorKind::Bug, OPERATION, why).because(failed))
                });
            }
            Next::Opening(opening, _) => opening.abort(),
            Next::Idle(..) | Next::None => {}
        }
        Box::pin(self.session.connect(&self.target, self.number)).await
    }

    /// The transaction that the epoch's rows go to.
    async fn transaction(&mut self) -> Result<&mut Open> {
        if self.open.is_none() {
            let name = TransactionName {
                owner: Owner::of(&self.attempt),
                attempt: self.attempt.number,
                writer: self.writer,
                number: self.number,
                database: self.target.tag(),
            };
            self.number += 1;
            let mut line = self.connection().await?;
            let mut begun = wire::begin(&mut line.client, self.target.dialect, &name).await;
            if begun.as_ref().is_err_and(|fault| fault.class == Class::Gone) {
                // It was closed while it was idle. Nothing was written by it.
                line = Box::pin(self.session.connect(&self.target, name.number)).await?;
                begun = wire::begin(&mut line.client, self.target.dialect, &name).await;
            }
            begun.map_err(|fault| self.wrong(fault).with("transaction", &name))?;
            self.open = Some(Open { line, name, changes: 0 });
        }
        Ok(self.open.as_mut().expect("invariant: it was opened above"))
    }

    /// Whether a transaction is open for the records that come, or may be opened.
    fn has_place(&self) -> bool {
        self.open.is_some()
            || !self.changes.is_empty()
            || self.unsettled.len() < self.target.config.prepared_max as usize
    }

    /// Looks which earlier transactions are committed meanwhile.
    async fn look_at_unsettled(&mut self) -> Result<()> {
        let mut client = self.target.pool.get().await?;
        let registry = Registry::of(&self.target);
        for one in self.unsettled.iter_mut().filter(|one| !one.is_committed) {
            one.is_committed = registry.has(&mut client, &one.name).await?;
        }
        client.give_back();
        Ok(())
    }
}

/// Where the first record stands that must wait for a transaction which is not committed.
fn first_that_waits<T>(unsettled: &[Unsettled], records: &[Change<T>]) -> usize {
    let is_insert = |change: &Change<T>| change.operation() == Operation::Insert;
    let mut waiting = unsettled.iter().filter(|one| !one.is_committed).peekable();
    if waiting.peek().is_none() {
        return records.len();
    }
    if !waiting.all(|one| one.only_inserts) {
        return 0;
    }
    records.iter().position(|change| !is_insert(change)).unwrap_or(records.len())
}

impl<T: Serialize> BranchWriter<T> {
    /// See [`SinkWriter::write`](tidelock::SinkWriter::write).
    pub(crate) async fn write(&mut self, records: &mut Vec<Change<T>>) -> Result<()> {
        self.begin()?;
        let written = self.take(records).await;
        self.end(written)
    }

    async fn take(&mut self, records: &mut Vec<Change<T>>) -> Result<()> {
        if !self.has_place() {
            return Ok(());
        }
        if first_that_waits(&self.unsettled, records) < records.len() {
            self.look_at_unsettled().await?;
        }
        let takes = first_that_waits(&self.unsettled, records);
        for change in records.drain(..takes) {
            let operation = change.operation();
            match self.shape.row(operation, change.record()) {
                Ok(row) => {
                    self.bytes += row.0.iter().map(|(_, value)| value.weight()).sum::<usize>();
                    // What a statement of the user's own changes is not known.
                    self.only_inserts &= operation == Operation::Insert && self.shape.own.is_none();
                    self.changes.push(StoredChange { operation, row, place: 0 });
                    self.records.push(change);
                    let written = self.open.as_ref().map_or(0, |open| open.changes);
                    if self.changes.len() >= changes_max(written) || self.bytes >= BYTES_MAX {
                        self.flush().await?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Data => {
                    if let Some(letter) = self.aside.misfit(change, error)? {
                        self.letter(letter)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Keeps a letter until the epoch's number is known, where letters are wanted.
    fn letter(&mut self, letter: Letter) -> Result<()> {
        if self.target.letters.is_none() {
            return Ok(());
        }
        self.letters_bytes += letter.iter().map(SqlValue::weight).sum::<usize>();
        let most = self.target.config.epoch_bytes_max.unwrap_or(LETTERS_BYTES_MAX);
        if self.letters_bytes as u64 > most {
            let why = "one epoch has more dead letters than epoch_bytes_max allows: most of its rows cannot be written";
            let error = Error::new(ErrorKind::Data, OPERATION, why)
                .with("letters", self.letters.len())
                .with("epoch_bytes_max", most);
            return Err(self.named(error));
        }
        self.letters.push(letter);
        Ok(())
    }

    /// Writes what waits, and sets those rows aside that cannot be.
    async fn flush(&mut self) -> Result<()> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let shape = Arc::clone(&self.shape);
        let changes = std::mem::take(&mut self.changes);
        let mut records: Vec<Option<Change<T>>> =
            std::mem::take(&mut self.records).into_iter().map(Some).collect();
        self.bytes = 0;
        let open = self.transaction().await?;
        let written = rows::write(&mut open.line.client, &shape, &changes).await;
        let refused = match written {
            Ok(refused) => refused,
            Err(fault) => return Err(self.wrong(fault)),
        };
        let count = (changes.len() - refused.len()) as u64;
        if let Some(open) = &mut self.open {
            open.changes += count;
        }
        // In the order of the records.
        let mut refused = refused;
        refused.sort_by_key(|(place, _)| *place);
        for (place, fault) in refused {
            let Some(record) = records[place].take() else { continue };
            if let Some(letter) = self.aside.violation(&changes[place], record, fault, REMEDY)? {
                self.letter(letter)?;
            }
        }
        Ok(())
    }

    /// See [`SinkWriter::prepare`](tidelock::SinkWriter::prepare).
    pub(crate) async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<SqlCommittable>>> {
        self.begin()?;
        let prepared = self.prepare_open(epoch).await;
        Ok(self.end(prepared)?.into_iter().collect())
    }

    async fn prepare_open(&mut self, epoch: Epoch) -> Result<Option<Prepared<SqlCommittable>>> {
        self.flush().await?;
        self.write_letters(epoch).await?;
        let only_inserts = std::mem::replace(&mut self.only_inserts, !self.circumstances.refers_to_itself);
        let Some(mut open) = self.open.take() else { return Ok(None) };
        let kind = self.target.dialect.kind;
        if open.changes == 0 {
            // All of its rows were set aside.
            let discarded = wire::discard(&mut open.line.client, kind, &open.name).await;
            discarded.map_err(|fault| self.wrong(fault))?;
            self.next = Next::Idle(open.line, Instant::now());
            return Ok(None);
        }
        let registry = Registry::of(&self.target);
        registry.write(&mut open.line.client, &open.name, self.attempt.generation).await?;
        let prepared = wire::prepare(&mut open.line.client, kind, &open.name).await;
        prepared.map_err(|fault| self.cannot_prepare(fault, &open.name))?;
        let Open { line, name, changes } = open;
        if kind == DatabaseKind::MySql {
            self.close(line).await?;
        } else {
            self.next = Next::Idle(line, Instant::now());
        }
        let branch = Branch { transaction: name.clone(), changes };
        self.unsettled.push(Unsettled { epoch, name, only_inserts, is_committed: false });
        Ok(Some(Prepared::lasting(SqlCommittable::prepared(branch))))
    }

    /// Closes a connection that prepared something, so that others can end it, and opens the next one meanwhile.
    async fn close(&mut self, line: Line) -> Result<()> {
        let Line { client, number } = line;
        drop(client);
        self.open_next();
        match number {
            Some(number) if !self.circumstances.detaches => detach::one(&self.target, number).await,
            _ => Ok(()),
        }
    }

    async fn write_letters(&mut self, epoch: Epoch) -> Result<()> {
        if self.letters.is_empty() {
            return Ok(());
        }
        let letters = std::mem::take(&mut self.letters);
        self.letters_bytes = 0;
        let count = letters.len() as u64;
        let first = u64::from(self.writer.0) << 32;
        let begins = [
            SqlValue::Text(self.attempt.job.as_str().to_owned()),
            SqlValue::Text(self.attempt.uid.as_str().to_owned()),
            SqlValue::from(self.attempt.generation.0),
            SqlValue::from(epoch.0),
        ];
        let letter = |(place, rest): (u64, Letter)| -> Vec<SqlValue> {
            begins.iter().cloned().chain([SqlValue::from(first + place)]).chain(rest).collect()
        };
        let letters: Vec<_> = (0..).zip(letters).map(letter).collect();
        let target = Arc::clone(&self.target);
        let open = self.transaction().await?;
        let written = insert_letters(&target, &mut open.line.client, &letters).await;
        open.changes += count;
        written.map_err(|fault| self.wrong(fault).with("letters", &self.target.config.table))
    }

    /// The server does not prepare: nothing is promised, and the transaction is rolled back.
    fn cannot_prepare(&self, fault: Fault, name: &TransactionName) -> Error {
        let (class, code) = (fault.class, fault.code.clone());
        let error = self.wrong(fault).with("transaction", name);
        if class == Class::Violation {
            return error.with(
                "remedy",
                "a constraint that is checked at the end of a transaction is of no single row: mend the table, and start the \
                 job again",
            );
        }
        if code == "53200" {
            return error.with(
                "remedy",
                "let an administrator raise max_prepared_transactions to the sum over ALL sinks' writers on the server times \
                 prepared_max: all that are prepared there share it",
            );
        }
        error
    }

    /// See [`SinkWriter::settled`](tidelock::SinkWriter::settled). Each transaction has a name of its own, so that a request which
    /// arrives late finds nothing.
    pub(crate) fn settled(&mut self, epoch: Epoch) {
        self.unsettled.retain(|one| one.epoch > epoch);
    }
}

impl<T> Drop for BranchWriter<T> {
    fn drop(&mut self) {
        if let Next::Opening(opening, _) = &self.next {
            opening.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_inserts_go_on_beside_inserts_that_are_not_committed() {
        let unsettled = |only_inserts, is_committed| Unsettled {
            epoch: Epoch(1),
            name: TransactionName::parse("tidelock:a.out:5.0.1:0000001f").expect("a name"),
            only_inserts,
            is_committed,
        };
        let records = [Change::Insert(1), Change::Insert(2), Change::Delete(1), Change::Insert(3)];
        for (before, expected) in [
            (vec![], 4),
            (vec![unsettled(true, false)], 2),
            (vec![unsettled(false, false)], 0),
            (vec![unsettled(false, true)], 4),
            (vec![unsettled(false, true), unsettled(true, false)], 2),
            (vec![unsettled(true, true), unsettled(false, false)], 0),
        ] {
            assert_eq!(first_that_waits(&before, &records), expected);
        }
    }
}
