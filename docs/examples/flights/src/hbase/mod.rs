//! Rows in HBase: one for each airport and hour, with a column for each number, as text.
//!
//! A row is there as soon as it is written, and not only with its checkpoint: after a crash it is written again, which changes
//! nothing of it.

mod place;
#[cfg(feature = "servers")]
mod read;

use std::sync::Arc;

use tidelock::Result;
use tidelock_hbase::{Column, HbaseSink, HbaseSinkConfig, RowMutation, make_table};

pub(crate) use self::place::HbaseTable;
#[cfg(feature = "servers")]
pub(crate) use self::read::read;
use crate::ends::Rows;
use crate::flight::Row;

/// The table's only family.
const FAMILY: &str = "hour";

/// What stands between airport and hour in a row key.
const DELIMITER: char = '/';

/// Writes rows to a table, which is made where it is missing.
pub(crate) async fn rows(table: &HbaseTable) -> Result<Rows> {
    make_table(table.hbase(), table.name(), &[FAMILY]).await?;
    let sink = Arc::new(HbaseSink::new(HbaseSinkConfig::new(table.hbase().clone(), table.name()))?);
    Ok(Box::new(move |rows| rows.try_map(|row: Row| mutation(&row)).sink("rows", &sink)))
}

fn mutation(row: &Row) -> Result<RowMutation> {
    let key = format!("{}{DELIMITER}{}", row.origin(), row.window_start());
    let value = |(name, number): (&str, String)| Ok((Column::new(FAMILY, name)?, number));
    let values = row.numbers().into_iter().map(value).collect::<Result<Vec<_>>>()?;
    Ok(RowMutation::put(key, values))
}
