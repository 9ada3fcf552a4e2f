//! The table of transactions: what was committed, by whom, and who may write.
//!
//! ```text
//!   name               rows                                                   written               deleted
//!   orders.out         one for each job and sink: the newest attempt          by recovery           never
//!   orders.out.17.0    one for each writer that is open: its attempt          when it opens         by a newer attempt
//!   orders.out.17.0.3  one for each transaction: it is committed              inside of it          when no entry lists it
//! ```
//!
//! The row of a transaction is written by the transaction itself, so it is there exactly if that was committed, whoever did it.
//! Rows of transactions have names of their own, so none waits for another that is not committed yet. They are deleted one by
//! one, by their whole names: a range would wait for rows that are not visible yet.

use std::collections::BTreeSet;

use tidelock::{DELIMITER, Error, ErrorKind, Generation, Position, Result, SinkAttempt, WriterId};

use crate::client::Client;
use crate::error::Fault;
use crate::prepared::name::{Owner, TransactionName};
use crate::rights;
use crate::target::Target;
use crate::value::SqlValue;

/// The columns of the table.
const COLUMNS: &str = "name, generation, attempt";

/// What the table says of one sink.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The rows of transactions, by their names in the table, with the attempts that committed them.
    pub(super) committed: BTreeSet<(Position, String)>,
    /// Writers that were opened.
    pub(super) sessions: BTreeSet<(Position, WriterId)>,
}

/// The newest attempt of a sink that the table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Newest {
    pub(super) generation: Generation,
    pub(super) attempt: Position,
}

impl Newest {
    pub(super) fn of(attempt: &SinkAttempt) -> Self {
        Self { generation: attempt.generation, attempt: attempt.number }
    }
}

/// The table of transactions of one target.
pub(super) struct Registry<'t> {
    target: &'t Target,
    table: String,
}

impl<'t> Registry<'t> {
    pub(super) fn of(target: &'t Target) -> Self {
        Self { target, table: target.transactions.quoted(target.dialect) }
    }

    fn wrong(&self, fault: Fault) -> Error {
        let error = fault.during("use the table of transactions").with("table", &self.target.transactions);
        let meanwhile = "nothing is lost, and what is pending is kept";
        rights::told(error, self.target.dialect.kind, rights::OF_ROWS, &self.table, meanwhile)
    }

    fn place(&self, number: usize) -> String {
        let mut place = String::new();
        self.target.dialect.place(&mut place, number);
        place
    }

    fn row(&self, name: String, newest: Newest) -> Result<Vec<SqlValue>> {
        let number = |number: u64| {
            i64::try_from(number).map(SqlValue::I64).map_err(|_| {
                let why = "a number is larger than the table's columns";
                Error::new(ErrorKind::Bug, "use the table of transactions", why)
            })
        };
        Ok(vec![SqlValue::Text(name), number(newest.generation.0)?, number(newest.attempt.0)?])
    }

    /// Writes the row of a transaction, within it.
    pub(super) async fn write(
        &self,
        client: &mut Client,
        name: &TransactionName,
        generation: Generation,
    ) -> Result<()> {
        let row = self.row(name.row(), Newest { generation, attempt: name.attempt })?;
        let places = [self.place(1), self.place(2), self.place(3)].join(", ");
        let insert = format!("INSERT INTO {} ({COLUMNS}) VALUES ({places})", self.table);
        client.execute(&insert, row).await.map(drop).map_err(|fault| self.wrong(fault))
    }

    /// Whether a transaction is committed.
    pub(super) async fn has(&self, client: &mut Client, name: &TransactionName) -> Result<bool> {
        let query = format!("SELECT attempt FROM {} WHERE name = {}", self.table, self.place(1));
        let found = client.query(&query, vec![SqlValue::Text(name.row())]).await;
        Ok(!found.map_err(|fault| self.wrong(fault))?.rows.is_empty())
    }

    /// The newest attempt of a sink.
    pub(super) async fn newest(&self, client: &mut Client, owner: &Owner) -> Result<Option<Newest>> {
        let query = format!("SELECT generation, attempt FROM {} WHERE name = {}", self.table, self.place(1));
        let found = client.query(&query, vec![SqlValue::Text(owner.as_str().to_owned())]).await;
        let found = found.map_err(|fault| self.wrong(fault))?;
        match found.rows.first().map(Vec::as_slice) {
            None => Ok(None),
            Some([SqlValue::I64(generation), SqlValue::I64(attempt)])
                if *generation >= 0 && *attempt >= 0 =>
            {
                let (generation, attempt) = (generation.unsigned_abs(), attempt.unsigned_abs());
                Ok(Some(Newest { generation: Generation(generation), attempt: Position(attempt) }))
            }
            Some(_) => {
                let why = "its row is none that this sink wrote";
                let error = Error::new(ErrorKind::Corrupt, "use the table of transactions", why);
                Err(error.with("table", &self.target.transactions).with("name", owner))
            }
        }
    }

    /// Notes that this attempt is the newest. `Some` where one that is newer was there before.
    pub(super) async fn claim(&self, client: &mut Client, attempt: &SinkAttempt) -> Result<Option<Newest>> {
        let (owner, ours) = (Owner::of(attempt), Newest::of(attempt));
        let row = self.row(owner.as_str().to_owned(), ours)?;
        let insert = self.target.dialect.insert_or_nothing(&self.table, COLUMNS, 3);
        client.execute(&insert, row.clone()).await.map_err(|fault| self.wrong(fault))?;
        let place = |number: usize| self.place(number);
        let update = format!(
            "UPDATE {} SET generation = {}, attempt = {} WHERE name = {} \
             AND (generation < {} OR generation = {} AND attempt < {})",
            self.table,
            place(1),
            place(2),
            place(3),
            place(4),
            place(5),
            place(6)
        );
        let [name, generation, attempt] =
            <[_; 3]>::try_from(row).expect("invariant: a row has three columns");
        let values = vec![generation.clone(), attempt.clone(), name, generation.clone(), generation, attempt];
        client.execute(&update, values).await.map_err(|fault| self.wrong(fault))?;
        Ok(self.newest(client, &owner).await?.filter(|newest| *newest > ours))
    }

    /// Notes that a writer is open.
    pub(super) async fn open(
        &self,
        client: &mut Client,
        attempt: &SinkAttempt,
        writer: WriterId,
    ) -> Result<()> {
        let name = session(&Owner::of(attempt), attempt.number, writer);
        let insert = self.target.dialect.insert_or_nothing(&self.table, COLUMNS, 3);
        let row = self.row(name, Newest::of(attempt))?;
        client.execute(&insert, row).await.map(drop).map_err(|fault| self.wrong(fault))
    }

    /// All that the table says of a sink.
    pub(super) async fn known(&self, client: &mut Client, owner: &Owner) -> Result<Known> {
        let (from, to) = (self.place(1), self.place(2));
        // Names are compared byte by byte, and `/` is the byte after the delimiter.
        let query = format!("SELECT name FROM {} WHERE name > {from} AND name < {to}", self.table);
        let bounds = vec![SqlValue::Text(format!("{owner}{DELIMITER}")), SqlValue::Text(format!("{owner}/"))];
        let found = client.query(&query, bounds).await.map_err(|fault| self.wrong(fault))?;
        let mut known = Known::default();
        for row in found.rows {
            let [SqlValue::Text(name)] = row.as_slice() else { continue };
            let Some(numbers) =
                name.strip_prefix(owner.as_str()).and_then(|rest| rest.strip_prefix(DELIMITER))
            else {
                continue;
            };
            let numbers: Vec<Option<u64>> = numbers.split(DELIMITER).map(|part| part.parse().ok()).collect();
            match numbers[..] {
                [Some(attempt), Some(_), Some(_)] => {
                    known.committed.insert((Position(attempt), name.clone()));
                }
                [Some(attempt), Some(writer)] => {
                    let writer = u32::try_from(writer).map(WriterId);
                    known.sessions.extend(writer.ok().map(|writer| (Position(attempt), writer)));
                }
                _ => {}
            }
        }
        Ok(known)
    }

    /// Deletes rows that nobody will ask for again, in one transaction.
    pub(super) async fn forget(&self, client: &mut Client, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let delete = format!("DELETE FROM {} WHERE name = {}", self.table, self.place(1));
        client.run(self.target.dialect.begin).await.map_err(|fault| self.wrong(fault))?;
        for name in names {
            let deleted = client.execute(&delete, vec![SqlValue::Text(name.clone())]).await;
            deleted.map_err(|fault| self.wrong(fault))?;
        }
        client.run("COMMIT").await.map(drop).map_err(|fault| self.wrong(fault))
    }
}

/// The row of a writer that is open.
pub(super) fn session(owner: &Owner, attempt: Position, writer: WriterId) -> String {
    format!("{owner}{DELIMITER}{attempt}{DELIMITER}{writer}")
}
