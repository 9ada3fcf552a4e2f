//! SQLite. Its calls block, so each runs on a thread for such calls, and takes the connection with it.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{InterruptHandle, OpenFlags, ToSql, params_from_iter};
use tidelock::Result;
use tokio::task::spawn_blocking;

use super::{Access, Connection, Intake, Rows, STATEMENTS_KEPT};
use crate::database::SqlConfig;
use crate::error::{Class, Fault, TRIGGER_REFUSES, sqlite_class};
use crate::value::{SqlValue, plain_text};

struct Sqlite {
    /// Not there while a call has it, and for ever after a call that was given up.
    connection: Option<rusqlite::Connection>,
    interrupt: InterruptHandle,
}

/// What is said of every connection.
///
/// `synchronous`: a commit that was answered survives the loss of power. With less the file could lose the ledger's row with the
/// rows, after the job's log has forgotten them.
const SETTINGS: &str = "PRAGMA synchronous = EXTRA; PRAGMA foreign_keys = ON;";

pub(super) async fn connect(config: &SqlConfig, access: Access) -> Result<Box<dyn Connection>> {
    let (path, patience) = (config.name.clone(), config.statement_timeout());
    let opened = spawn_blocking(move || open(&path, access, patience)).await;
    let connection = opened.unwrap_or_else(|_| Err(Fault::gone("the thread of a call is gone")));
    let connection = connection.map_err(|fault| fault.during("connect"))?;
    let interrupt = connection.get_interrupt_handle();
    Ok(Box::new(Sqlite { connection: Some(connection), interrupt }))
}

fn open(path: &str, access: Access, patience: Duration) -> Result<rusqlite::Connection, Fault> {
    // Who reads may write all the same, where the operating system lets it: what a writer left in its middle when it died is
    // rolled back by whoever comes first. It never makes a file, and `query_only` refuses every statement that writes.
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if access == Access::Write {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    } else if matches!(Path::new(path).try_exists(), Ok(false)) {
        return Err(Fault::new(Class::Missing, "", "there is no such file"));
    }
    let opened = || {
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(patience)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        connection.execute_batch(SETTINGS)?;
        if access == Access::Read {
            connection.execute_batch("PRAGMA query_only = ON")?;
        }
        Ok(connection)
    };
    opened().map_err(fault)
}

fn flat<T>(joined: Result<rusqlite::Result<T>, tokio::task::JoinError>) -> Result<T, Fault> {
    match joined {
        Ok(result) => result.map_err(fault),
        Err(_) => Err(Fault::gone("the thread of a call is gone")),
    }
}

impl Sqlite {
    /// Runs a call on a thread of its own. One that is given up ends there, and takes its connection and its transaction with it.
    async fn call<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let connection = self.connection.take().ok_or_else(|| Fault::gone("an earlier call was given up"))?;
        let done = spawn_blocking(move || {
            let result = call(&connection);
            Ok((connection, result))
        });
        let (connection, result) = flat(done.await)?;
        self.connection = Some(connection);
        result.map_err(fault)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // A call that was given up ends soon, and frees the file's lock.
        self.interrupt.interrupt();
    }
}

#[async_trait]
impl Connection for Sqlite {
    async fn run(&mut self, statement: &str) -> Result<Rows, Fault> {
        let statement = statement.to_owned();
        self.call(move |connection| connection.execute_batch(&statement)).await?;
        Ok(Rows::default())
    }

    async fn execute(&mut self, statement: &str, values: Vec<SqlValue>) -> Result<u64, Fault> {
        let statement = statement.to_owned();
        self.call(move |connection| {
            let mut prepared = connection.prepare_cached(&statement)?;
            // Rows that a statement returns, by RETURNING, are nobody's.
            let mut returned = prepared.query(params_from_iter(values))?;
            while returned.next()?.is_some() {}
            Ok(connection.changes())
        })
        .await
    }

    async fn query(&mut self, query: &str, values: Vec<SqlValue>, bytes_max: usize) -> Result<Rows, Fault> {
        let query = query.to_owned();
        self.call(move |connection| {
            let mut statement = connection.prepare_cached(&query)?;
            let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
            let count = names.len();
            let mut rows = Intake::new(names, bytes_max);
            let mut found = statement.query(params_from_iter(values))?;
            while let Some(row) = found.next()? {
                let row = (0..count).map(|at| Ok(read(row.get_ref(at)?))).collect::<rusqlite::Result<_>>()?;
                if !rows.take(row) {
                    break;
                }
            }
            Ok(rows.rows())
        })
        .await
    }
}

/// A text that is not UTF-8 is given as bytes: what reads it as a text is told.
fn read(value: ValueRef<'_>) -> SqlValue {
    match value {
        ValueRef::Null => SqlValue::Null,
        ValueRef::Integer(value) => SqlValue::I64(value),
        ValueRef::Real(value) => SqlValue::F64(value),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => SqlValue::Text(text.to_owned()),
            Err(_) => SqlValue::Bytes(bytes.to_owned()),
        },
        ValueRef::Blob(bytes) => SqlValue::Bytes(bytes.to_owned()),
    }
}

impl ToSql for SqlValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Bool(value) => ToSqlOutput::Owned(Value::Integer((*value).into())),
            Self::I64(value) => ToSqlOutput::Owned(Value::Integer(*value)),
            Self::U64(value) => {
                let value = i64::try_from(*value)
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
                ToSqlOutput::Owned(Value::Integer(value))
            }
            Self::F64(value) => ToSqlOutput::Owned(Value::Real(*value)),
            Self::Text(text) | Self::Decimal(text) | Self::Json(text) => {
                ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
            }
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Array(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("SQLite has no lists".into()));
            }
            other => ToSqlOutput::Owned(Value::Text(plain_text(other))),
        })
    }
}

fn fault(error: rusqlite::Error) -> Fault {
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            let code = failure.extended_code;
            let message = message.unwrap_or_else(|| failure.to_string());
            let class = sqlite_class(code, &message);
            // "UNIQUE constraint failed: orders.id, orders.line" and its like name columns, and no values.
            let constraint = (class == Class::Violation)
                .then(|| message.split_once("constraint failed: ").map(|(_, columns)| columns.to_owned()))
                .flatten();
            let message = match code {
                rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER => TRIGGER_REFUSES.to_owned(),
                _ => message,
            };
            Fault { constraint, ..Fault::new(class, code.to_string(), message) }
        }
        rusqlite::Error::SqlInputError { error, msg, .. } => {
            let code = error.extended_code;
            Fault::new(sqlite_class(code, &msg), code.to_string(), msg)
        }
        rusqlite::Error::ToSqlConversionFailure(_) => {
            Fault::new(Class::Violation, "", "a value has no form in SQLite")
        }
        other => Fault::new(Class::Other, "", other.to_string()),
    }
}
