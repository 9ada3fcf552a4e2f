//! Whether rows of a table refer to others of the same table.
//!
//! A row that another one is about to refer to is not there yet for anybody while its transaction is only prepared: PostgreSQL then says
//! that the other one violates the foreign key, at once, and MySQL waits. So nothing is written beside such a transaction.

use tidelock::Result;

use crate::client::Client;
use crate::dialect::Dialect;
use crate::kind::DatabaseKind;
use crate::names::TableName;

const POSTGRES: &str = "SELECT 1 FROM pg_constraint WHERE contype = 'f' AND conrelid = confrelid \
     AND conrelid = to_regclass(coalesce(quote_ident($1) || '.', '') || quote_ident($2)) LIMIT 1";

const MYSQL: &str = "SELECT 1 FROM information_schema.REFERENTIAL_CONSTRAINTS \
     WHERE CONSTRAINT_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ? AND REFERENCED_TABLE_NAME = TABLE_NAME LIMIT 1";

/// Whether a foreign key of the table is one to itself.
pub(super) async fn refers_to_itself(
    client: &mut Client,
    dialect: &Dialect,
    table: &TableName,
) -> Result<bool> {
    let query = match dialect.kind {
        DatabaseKind::Postgres => POSTGRES,
        DatabaseKind::MySql => MYSQL,
        DatabaseKind::Sqlite => return Ok(false),
    };
    let found = client.query(query, table.values()).await;
    let found = found.map_err(|fault| fault.during("look at a table").with("table", table))?;
    Ok(!found.rows.is_empty())
}
