//! What is known of a record alone: whether it can be written.
//!
//! A gateway is a bad judge. It answers well to a column that it drops, and of a batch in which one row cannot be it writes the others
//! and says that all of it failed: so nothing is sent that was not looked at.

use std::collections::BTreeSet;
use std::fmt;

use tidelock::{Error, ErrorKind, Result};

use crate::column::Column;
use crate::mutation::{RowChange, RowMutation};
use crate::sink_config::{Deletes, HbaseSinkConfig, Mode, Versions};
use crate::table::{KEEPS_DELETED, OWN_ROWS, Table};

/// HBase counts a row key in 15 bits.
const ROW_BYTES_MAX: usize = 32_767;

/// A cell's lengths, timestamp and type beside its bytes.
const CELL_BYTES: usize = 32;

/// A version becomes two timestamps of 63 bits, and a gateway takes the largest one for the time of the server.
pub(crate) const VERSION_MAX: u64 = (1 << 61) - 1;

/// What a table and the settings allow.
#[derive(Debug)]
pub(crate) struct Checks {
    table: String,
    families: BTreeSet<String>,
    deletes: Deletes,
    /// Whether the version of a record counts.
    by_record: bool,
    cell_bytes_max: usize,
}

impl Checks {
    pub(crate) fn new(config: &HbaseSinkConfig, table: &Table) -> Self {
        Self {
            table: table.name.clone(),
            families: table.families.keys().cloned().collect(),
            deletes: config.deletes.clone(),
            by_record: config.mode == Mode::Upsert && config.versions == Versions::Record,
            cell_bytes_max: config.cell_bytes_max(),
        }
    }

    /// Whether the record can be written.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] where it cannot be, now or ever.
    pub(crate) fn check(&self, record: &RowMutation) -> Result<()> {
        let refuse = |why: &str| Err(self.refused(record, why));
        let row = &record.row;
        if row.is_empty() {
            return refuse("a row key must not be empty");
        }
        if row.len() > ROW_BYTES_MAX {
            return refuse("a row key is longer than HBase allows, which is 32,767 bytes");
        }
        if row.starts_with(OWN_ROWS) {
            return refuse("row keys that begin with \\0tidelock/ are the sink's own");
        }
        match record.version {
            None if self.by_record => {
                return refuse("the record has no version, and versions are those of the records");
            }
            Some(version) if self.by_record && version > VERSION_MAX => {
                return refuse("the record's version is too large: it must be below 2^61");
            }
            _ => {}
        }
        match &record.change {
            RowChange::Put(values) if values.is_empty() => {
                refuse("a put without columns would leave nothing: HBase has no row without one")
            }
            RowChange::Put(values) => {
                values.iter().try_for_each(|value| self.check_cell(record, &value.column, value.value.len()))
            }
            RowChange::DeleteColumns(_) | RowChange::DeleteRow if self.deletes == Deletes::Refused => {
                let why = "deletes are refused: with `markers` or `tombstones` in the setting `deletes` they are done";
                Err(self.refused(record, why).with("setting", "deletes"))
            }
            RowChange::DeleteColumns(columns) => self.check_delete(record, columns),
            RowChange::DeleteRow => Ok(()),
        }
    }

    fn check_delete(&self, record: &RowMutation, columns: &[Column]) -> Result<()> {
        if let Deletes::Tombstones { .. } = self.deletes {
            let why =
                "a tombstone says of a row that it is gone, and of a column nothing: put an empty value";
            return Err(self.refused(record, why).with("setting", "deletes"));
        }
        if columns.is_empty() {
            return Err(self
                .refused(record, "a delete without columns deletes nothing: a row is deleted by DeleteRow"));
        }
        columns.iter().try_for_each(|column| self.check_cell(record, column, 0))
    }

    fn check_cell(&self, record: &RowMutation, column: &Column, value_bytes: usize) -> Result<()> {
        let refuse = |why: &str| Err(self.refused(record, why).with("column", column));
        if column.qualifier().is_empty() {
            return refuse(
                "a column's qualifier must not be empty: a gateway answers well to such a value and drops it",
            );
        }
        if !self.families.contains(column.family()) {
            let attributes = if self.deletes == Deletes::Markers { KEEPS_DELETED } else { "" };
            let why = format!(
                "the table has no such family: run `alter '{}', NAME => '{}'{attributes}` in the HBase shell and start the job again, which \
                 looks at the families when it starts; or take one that is there",
                self.table,
                column.family()
            );
            let there = self.families.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(self.refused(record, &why).with("column", column).with("there", there));
        }
        if let Deletes::Tombstones { column: tombstone } = &self.deletes
            && tombstone == column
        {
            return refuse("this column says of a row that it was deleted: it is the sink's own");
        }
        let bytes =
            record.row.len() + column.family().len() + column.qualifier().len() + value_bytes + CELL_BYTES;
        if bytes > self.cell_bytes_max {
            let error = self.refused(record, "a value is too large with its row key and its column");
            return Err(error
                .with("column", column)
                .with("bytes", bytes)
                .with("bytes_max", self.cell_bytes_max)
                .with("setting", "cell_bytes_max, and request_bytes_max of the gateways"));
        }
        Ok(())
    }

    fn refused(&self, record: &RowMutation, why: &str) -> Error {
        Error::new(ErrorKind::Data, "write a row", why)
            .with("table", &self.table)
            .with("row", RowKey(&record.row))
    }
}

/// How much of a row key an error shows.
const SHOWN_MAX: usize = 64;

/// A row key for people, of a long one its beginning.
pub(crate) struct RowKey<'r>(pub(crate) &'r [u8]);

impl fmt::Display for RowKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN_MAX)];
        write!(f, "{}", shown.escape_ascii())?;
        if shown.len() < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HbaseConfig;

    fn column(text: &str) -> Column {
        Column::parse(text).expect("a column")
    }

    fn checks(change: impl FnOnce(&mut HbaseSinkConfig)) -> Checks {
        let mut config = HbaseSinkConfig::new(HbaseConfig::new(["a"]), "t");
        config.cell_bytes_max = 1_000;
        change(&mut config);
        Checks {
            table: "t".into(),
            families: ["f".to_owned()].into(),
            by_record: config.versions == Versions::Record,
            cell_bytes_max: config.cell_bytes_max(),
            deletes: config.deletes,
        }
    }

    fn put(row: &[u8], name: &str, bytes: usize) -> RowMutation {
        RowMutation::put(row.to_vec(), [(column(name), vec![0; bytes])])
    }

    #[test]
    fn what_hbase_or_its_gateway_would_not_take_is_refused_before_it_is_sent() {
        let markers = |config: &mut HbaseSinkConfig| config.deletes = Deletes::Markers;
        let good = checks(markers);
        for record in [
            put(b"r", "f:a", 900),
            put(&[0xff; 500], "f:a", 0),
            RowMutation::delete_row("r"),
            RowMutation::delete_columns("r", [column("f:a")]),
        ] {
            good.check(&record).unwrap_or_else(|error| panic!("{error}"));
        }
        let empty: Column = serde_json::from_str("\"f:\"").expect("it is read");
        for (record, why) in [
            (put(b"", "f:a", 1), "empty"),
            (put(&vec![1; ROW_BYTES_MAX + 1], "f:a", 1), "32,767"),
            (put(b"\0tidelock/x", "f:a", 1), "own"),
            (put(b"r", "g:a", 1), "family"),
            (put(b"r", "f:a", 1_000), "too large"),
            (RowMutation::put("r", [(empty, "x")]), "qualifier"),
            (RowMutation::put::<Vec<u8>>("r", []), "without columns"),
            (RowMutation::delete_columns("r", []), "without columns"),
            (RowMutation::delete_columns("r", [column("g:a")]), "family"),
        ] {
            let error = good.check(&record).expect_err(why);
            assert_eq!(error.kind(), ErrorKind::Data);
            assert!(error.to_string().contains(why), "{error}");
            assert!(error.to_string().len() < 400, "{error}");
        }
    }

    #[test]
    fn what_the_settings_do_not_allow_is_refused_by_their_name() {
        let by_record = checks(|config| config.versions = Versions::Record);
        by_record.check(&put(b"r", "f:a", 1).with_version(VERSION_MAX)).expect("it fits");
        assert!(by_record.check(&put(b"r", "f:a", 1)).is_err());
        assert!(by_record.check(&put(b"r", "f:a", 1).with_version(VERSION_MAX + 1)).is_err());
        let refused = checks(|_| ()).check(&RowMutation::delete_row("r")).expect_err("refused");
        assert!(refused.to_string().contains("setting=deletes"), "{refused}");
        let tombstones = checks(|config| config.deletes = Deletes::Tombstones { column: column("f:gone") });
        tombstones.check(&RowMutation::delete_row("r")).expect("it is done");
        assert!(tombstones.check(&RowMutation::delete_columns("r", [column("f:a")])).is_err());
        assert!(tombstones.check(&put(b"r", "f:gone", 1)).is_err());
    }
}
