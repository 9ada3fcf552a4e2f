//! Rows of a durable epoch that the table cannot take, found out at commit.
//!
//! The epoch is in the log, so it must be applied or the job must halt: a restart would find the same rows again. What the policy
//! says is done in the transaction of the other rows, so it is exactly once as they are:
//!
//! - *fail*: nothing of the epoch is visible, and the job halts naming table, constraint and key. When the table was mended, or
//!   another policy chosen, the next run applies the epoch.
//! - *skip*: the row is left out, told and counted when the others are committed.
//! - *dead letter*: the row is written to that table beside them.

use tidelock::write_ahead::Writes;
use tidelock::{Error, ErrorKind, Result, Retry};

use crate::batch::parts;
use crate::change::{Fields, Operation, StoredChange};
use crate::client::Client;
use crate::config::RecordPolicy;
use crate::error::Fault;
use crate::row::json;
use crate::shape::Shape;
use crate::statement::insert;
use crate::target::Target;
use crate::value::SqlValue;

/// How many letters one statement writes.
const LETTERS_MAX: usize = 64;

/// The columns of the table of dead letters.
const COLUMNS: [&str; 8] = ["job", "uid", "generation", "epoch", "place", "operation", "reason", "record"];

pub(crate) const REMEDY: &str = "mend the table or the row that is there, or choose another on_refused, and start the job again: the epoch is \
     kept and will be applied; or give it up with `tidelock snapshots abandon`";

/// A row that is left out, as it is told when the others are committed.
struct LeftOut {
    operation: Operation,
    key: String,
    why: String,
    constraint: Option<String>,
}

/// What became of the rows that could not be.
pub(crate) struct Refused<'a> {
    target: &'a Target,
    shape: &'a Shape,
    writes: &'a Writes<StoredChange>,
    /// How many changes of the epoch came before those of the batch at hand.
    before: usize,
    left_out: Vec<LeftOut>,
    /// Letters that are not written yet.
    letters: Vec<Vec<SqlValue>>,
}

impl<'a> Refused<'a> {
    pub(crate) fn new(target: &'a Target, shape: &'a Shape, writes: &'a Writes<StoredChange>) -> Self {
        Self { target, shape, writes, before: 0, left_out: Vec::new(), letters: Vec::new() }
    }

    /// These are written next. What did not fit when it was written to the sink is a letter already.
    pub(crate) fn begin_batch(&mut self, changes: &[StoredChange]) {
        let misfits = changes.iter().enumerate().filter(|(_, change)| change.operation == Operation::Letter);
        let letters: Vec<_> = misfits
            .map(|(place, change)| self.letter(place, change.row.0.iter().map(|(_, value)| value.clone())))
            .collect();
        self.letters.extend(letters);
    }

    pub(crate) fn end_batch(&mut self, changes: &[StoredChange]) {
        self.before += changes.len();
    }

    /// A row of the batch cannot be.
    ///
    /// # Errors
    /// Where the policy is to fail: with table, constraint and key, and never with the row.
    pub(crate) fn set_aside(&mut self, place: usize, change: &StoredChange, fault: Fault) -> Result<()> {
        let key = self.shape.shown_key(&change.row);
        if self.target.config.on_refused == RecordPolicy::Fail {
            return Err(fault
                .during("apply a row")
                .with("table", &self.shape.name)
                .with("operation", change.operation.name())
                .with("key", key)
                .with("epoch", self.writes.version.epoch)
                .with("remedy", REMEDY));
        }
        if self.target.letters.is_some() {
            let rest = what_cannot_be(change, &fault);
            self.letters.push(self.letter(place, rest.into_iter()));
        }
        let Fault { message: why, constraint, .. } = fault;
        self.left_out.push(LeftOut { operation: change.operation, key, why, constraint });
        Ok(())
    }

    /// The epoch violates a constraint, and no row of it alone does.
    pub(crate) fn of_no_row(&self, fault: Fault) -> Error {
        let why = format!(
            "the epoch as a whole violates a constraint, so that no row can be set aside: {}",
            fault.message
        );
        let error = Error::new(ErrorKind::Data, "apply an epoch", why)
            .with_retry(Retry::Halt)
            .with("code", fault.code);
        let error = match fault.constraint {
            Some(constraint) => error.with("constraint", constraint),
            None => error,
        };
        error.with("table", &self.shape.name).with("epoch", self.writes.version.epoch).with("remedy", REMEDY)
    }

    /// Writes the letters of the batch: of rows that cannot be, and of those that did not fit when they were written.
    pub(crate) async fn write_letters(&mut self, client: &mut Client) -> Result<(), Fault> {
        let letters = std::mem::take(&mut self.letters);
        insert_letters(self.target, client, &letters).await
    }

    /// A letter about the change at this place of the batch.
    fn letter(&self, place: usize, rest: impl Iterator<Item = SqlValue>) -> Vec<SqlValue> {
        // They fit: the ledger's row has them already.
        let number = |number: u64| SqlValue::from(number);
        let mut values = vec![
            SqlValue::Text(self.writes.job.as_str().to_owned()),
            SqlValue::Text(self.writes.uid.as_str().to_owned()),
            number(self.writes.version.generation.0),
            number(self.writes.version.epoch.0),
            number((self.before + place) as u64),
        ];
        values.extend(rest);
        values
    }

    /// The epoch is committed: tells what was left out of it.
    pub(crate) fn told(&self) {
        for LeftOut { operation, key, why, constraint } in &self.left_out {
            tell(self.shape, *operation, key, why, constraint.as_deref());
        }
    }
}

/// What a letter says of a row that cannot be: operation, reason, record.
pub(crate) fn what_cannot_be(change: &StoredChange, fault: &Fault) -> [SqlValue; 3] {
    let reason = match &fault.constraint {
        Some(constraint) => format!("{}: {constraint}", fault.message),
        None => fault.message.clone(),
    };
    let record = row_text(&change.row).map_or(SqlValue::Null, SqlValue::Text);
    [SqlValue::Text(change.operation.name().to_owned()), SqlValue::Text(reason), record]
}

/// Writes rows of the table of dead letters: values in the order of its columns.
pub(crate) async fn insert_letters(
    target: &Target,
    client: &mut Client,
    letters: &[Vec<SqlValue>],
) -> Result<(), Fault> {
    write_letters(target, client, letters, |_| {}).await
}

/// The same outside of a transaction, where they may be sent again: those that are there are left as they are.
pub(crate) async fn insert_letters_once(
    target: &Target,
    client: &mut Client,
    letters: &[Vec<SqlValue>],
) -> Result<(), Fault> {
    write_letters(target, client, letters, |sql| target.dialect.or_nothing(sql, COLUMNS[0])).await
}

async fn write_letters(
    target: &Target,
    client: &mut Client,
    letters: &[Vec<SqlValue>],
    ends: impl Fn(&mut String),
) -> Result<(), Fault> {
    let Some(table) = &target.letters else { return Ok(()) };
    let table = table.quoted(target.dialect);
    for chunk in letters.chunks(LETTERS_MAX) {
        for part in parts(0..chunk.len()) {
            let mut sql = insert(target.dialect, &table, COLUMNS.into_iter(), part.len());
            ends(&mut sql);
            client.execute(&sql, chunk[part].concat()).await?;
        }
    }
    Ok(())
}

/// Tells and counts a row that is not written.
pub(crate) fn tell(shape: &Shape, operation: Operation, key: &str, why: &str, constraint: Option<&str>) {
    metrics::counter!("tidelock_sql_rows_refused_total", "table" => shape.name.to_string()).increment(1);
    let operation = operation.name();
    tracing::warn!(table = %shape.name, operation, key, why, constraint, "a row cannot be written: it is set aside");
}

/// A row as JSON, for the table of dead letters.
fn row_text(row: &Fields) -> Option<String> {
    let mut text = "{".to_owned();
    for (at, (name, value)) in row.0.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        json::push_text(&mut text, name).ok()?;
        text.push(':');
        json::push(&mut text, value).ok()?;
    }
    text.push('}');
    Some(text)
}
