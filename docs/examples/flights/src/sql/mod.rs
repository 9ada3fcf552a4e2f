//! Planes and airlines from a database, and rows into one.

mod database;
mod load;
mod tables;

use std::sync::Arc;

use tidelock::Result;
use tidelock_sql::{Change, DatabaseKind, SqlSink, SqlSinkConfig};

pub(crate) use self::database::Database;
pub(crate) use self::load::load;
pub(crate) use self::tables::{airlines, planes};
use crate::ends::Rows;
use crate::flight::Row;

/// The rows' table. It is made where it is missing.
const ROWS: &str = "flights_by_hour";

/// Writes rows to a table: those of a checkpoint become visible together. A row that a rollback writes again replaces itself.
pub(crate) async fn rows(database: &Database) -> Result<Rows> {
    // SQLite has no type for a time.
    let hour = match database.kind {
        DatabaseKind::Postgres => "TIMESTAMP WITH TIME ZONE",
        DatabaseKind::MySql => "TIMESTAMP",
        _ => "TEXT",
    };
    let table = format!(
        "CREATE TABLE IF NOT EXISTS {ROWS} (origin VARCHAR(3) NOT NULL, window_start {hour} NOT NULL, \
         flights BIGINT NOT NULL, cancelled BIGINT NOT NULL, dep_delay_min BIGINT NOT NULL, seats BIGINT NOT NULL, \
         airlines BIGINT NOT NULL, PRIMARY KEY (origin, window_start))"
    );
    database.execute(&table).await?;
    let sink: Arc<SqlSink<Row>> = Arc::new(SqlSink::new(SqlSinkConfig::new((**database).clone(), ROWS))?);
    Ok(Box::new(move |rows| rows.map(Change::Upsert).sink("rows", &sink)))
}
