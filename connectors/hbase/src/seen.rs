//! A look at what was written first: whether a reader sees it.
//!
//! HBase answers well to a value that is hidden, by a cell with a greater timestamp or by a delete with one. A look at the table's first rows
//! shows such cells where they are there, and such deletes never. So a few of the first values are read back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hbase_thrift::hbase::{THbaseSyncClient, TRowResult};
use tidelock::{Error, ErrorKind, Patience, Result, Retry};

use crate::check::RowKey;
use crate::column::Column;
use crate::control::{Claim, Control};
use crate::gateway::{CALLS_AGAIN, Gateways};
use crate::merge::{Step, Told};
use crate::send::AGAIN_FOR;
use crate::table::Table;

const OPERATION: &str = "read back what was written first";

/// So many rows are worth a call of their own, once.
const ROWS_MAX: usize = 20;

/// Larger values are not read back.
const BYTES_MAX: usize = 64 << 10;

/// Where values live no longer, one that is gone is no wonder.
const LIVES_MIN: Duration = Duration::from_secs(60);

/// A column of some rows, and what it was written with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    column: Column,
    timestamp: i64,
    rows: Vec<Bytes>,
}

impl Written {
    /// Of the values that stay. `None`: there are none to read back.
    pub(crate) fn of(steps: &[Step]) -> Option<Self> {
        // Values are the last step, where any stay.
        let Step { timestamp, rows } = steps.last()?;
        let is_column = |told: &Told, wanted: Option<&Column>| match told {
            Told::Put(column, _) => {
                told.weight() <= BYTES_MAX && wanted.is_none_or(|wanted| wanted == column)
            }
            Told::Delete(_) | Told::DeleteFamily(_) => false,
        };
        let first = rows.iter().flat_map(|row| &row.told).find(|told| is_column(told, None));
        let Some(Told::Put(column, _)) = first else { return None };
        let of_column = rows.iter().filter(|row| row.told.iter().any(|told| is_column(told, Some(column))));
        let rows = of_column.take(ROWS_MAX).map(|row| row.row.clone()).collect();
        Some(Self { column: column.clone(), timestamp: *timestamp, rows })
    }

    /// Looks whether they are seen.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the advice to halt, where they are hidden; [`ErrorKind::Conflict`] where a newer attempt has the claim.
    pub(crate) async fn check(
        &self,
        gateways: &Gateways,
        table: &str,
        (control, ours): (&Control, Option<Claim>),
    ) -> Result<()> {
        let seen = self.read(gateways, table).await?;
        let is_hidden = |row: &&Bytes| seen.get(&row[..]).is_none_or(|time| *time != self.timestamp);
        let Some(row) = self.rows.iter().find(is_hidden) else { return Ok(()) };
        let family = Table::look(gateways, table).await?.family(self.column.family())?.clone();
        if family.time_to_live.is_some_and(|lives| lives < LIVES_MIN) {
            return Ok(());
        }
        // What a newer attempt wrote hides ours, and should.
        control.check_claim(OPERATION, ours).await?;
        let why = "a value that was written just now is not to be seen: something with a greater timestamp hides it, a cell or a delete, and would \
                   hide more of what is written, in silence. See to it that all changes of a row come to one writer, and that nobody else writes these \
                   rows; or, where others had timestamps that are no times, write to a table of your own, or truncate this one";
        let error = Error::new(ErrorKind::Config, OPERATION, why).with_retry(Retry::Halt);
        let error = error.with("table", table).with("row", RowKey(row)).with("column", &self.column);
        let error = error.with("timestamp", self.timestamp);
        Err(match seen.get(&row[..]) {
            Some(newer) => error.with("hidden_by", newer),
            None => error,
        })
    }

    /// The timestamp of the column in each of the rows that has it.
    async fn read(&self, gateways: &Gateways, table: &str) -> Result<BTreeMap<Vec<u8>, i64>> {
        let mut patience = Patience::new(CALLS_AGAIN, AGAIN_FOR);
        loop {
            let name = table.as_bytes().to_vec();
            let rows: Vec<Vec<u8>> = self.rows.iter().map(|row| row.to_vec()).collect();
            let columns = vec![self.column.to_wire()];
            let call = gateways.call(OPERATION, move |client| {
                client.get_rows_with_columns(name, rows, columns, BTreeMap::new())
            });
            match call.await {
                Ok(found) => return Ok(found.into_iter().filter_map(time_of).collect()),
                Err(error) => patience.after(error.with("table", table), table).await?,
            }
        }
    }
}

fn time_of(row: TRowResult) -> Option<(Vec<u8>, i64)> {
    let time = row.columns?.into_values().next()?.timestamp?;
    Some((row.row?, time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::ToldRow;

    fn column(text: &str) -> Column {
        Column::parse(text).expect("a column")
    }

    fn row(name: &'static str, told: Vec<Told>) -> ToldRow {
        ToldRow { row: name.into(), told }
    }

    #[test]
    fn small_values_that_stay_are_read_back_and_no_others() {
        let put = |name: &str, bytes: usize| Told::Put(column(name), vec![0; bytes].into());
        let deletes = Step { timestamp: 7, rows: vec![row("a", vec![Told::DeleteFamily("f".into())])] };
        let values = Step {
            timestamp: 8,
            rows: vec![
                row("a", vec![put("f:large", BYTES_MAX), put("f:a", 1)]),
                row("b", vec![put("f:b", 1)]),
                row("c", vec![put("f:a", 1)]),
            ],
        };
        let rows = vec!["a".into(), "c".into()];
        let expected = Written { column: column("f:a"), timestamp: 8, rows };
        assert_eq!(Written::of(&[deletes.clone(), values]), Some(expected));
        assert_eq!((Written::of(&[deletes]), Written::of(&[])), (None, None));
    }
}
