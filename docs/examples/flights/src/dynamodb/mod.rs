//! Rows in DynamoDB: an item for each airport and hour, whose attributes are the columns.
//!
//! In the mode `ledger` an item is there with its checkpoint, and each is put once. What a rollback puts again replaces itself.

mod place;

use std::sync::Arc;

use tidelock::Result;
use tidelock_dynamodb::{DynamoSink, DynamoSinkConfig, ItemChange, KeyKind, Mode, item_of, make_table};

pub(crate) use self::place::DynamoTable;
use crate::ends::Rows;
use crate::flight::Row;

/// Of what the key of an item is made: the names are those of the columns.
const PARTITION: (&str, KeyKind) = ("origin", KeyKind::S);
const SORT: (&str, KeyKind) = ("window_start", KeyKind::S);

/// Writes rows to a table, which is made where it is missing.
pub(crate) async fn rows(table: &DynamoTable) -> Result<Rows> {
    make_table(table.dynamodb(), table.name(), PARTITION, Some(SORT)).await?;
    let mut config = DynamoSinkConfig::new(table.dynamodb().clone(), table.name());
    config.mode = Mode::Ledger;
    let sink = Arc::new(DynamoSink::new(config)?);
    Ok(Box::new(move |rows| rows.try_map(|row: Row| item_of(&row).map(ItemChange::put)).sink("rows", &sink)))
}
