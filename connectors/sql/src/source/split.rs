//! A range of a key, and how far it was read.

use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result, Split, SplitId, Versioned, from_json, unknown_version};

use super::key::KeyColumn;
use super::snapshot::Snapshot;
use crate::value::SqlValue;

/// Rows of a table or a query whose keys are in a range: those after the last one that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SqlSplit {
    pub(crate) name: String,
    /// The table; `None` of a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<String>,
    /// What the key was when the rows were cut: by another one, positions would mean other rows.
    pub(crate) key: Vec<KeyColumn>,
    /// The snapshot that the rows are of; `None` where each page is of its own moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<Snapshot>,
    /// The key of the last row that was read. `None`: nothing was, and there is no row before this range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Vec<SqlValue>>,
    /// The last key of the range. `None`: it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<Vec<SqlValue>>,
}

impl SqlSplit {
    /// Whether it can be read on from rows of this table in the order of this key.
    ///
    /// # Errors
    /// Names what is another one: a position says nothing about other rows, or another order of them.
    pub(super) fn check(&self, table: Option<&str>, key: &[KeyColumn]) -> Result<()> {
        if self.table.as_deref() != table {
            let why = "the position in the snapshot is of another table: give the source a new uid, or the old table";
            let shown = |table: Option<&str>| table.unwrap_or("a query").to_owned();
            let error = Error::new(ErrorKind::Config, "read rows", why);
            return Err(error.with("was", shown(self.table.as_deref())).with("is", shown(table)));
        }
        if self.key != key {
            let why = "the position in the snapshot is of another key, or the key's columns were altered: what comes after it, nobody \
                       knows. Give the source a new uid, or the key what it was";
            let shown = |key: &[KeyColumn]| key.iter().map(KeyColumn::shown).collect::<Vec<_>>().join(", ");
            let error = Error::new(ErrorKind::Conflict, "read rows", why).with_retry(tidelock::Retry::Halt);
            return Err(error.with("was", shown(&self.key)).with("is", shown(key)));
        }
        let parts = [&self.after, &self.end].into_iter().flatten();
        if parts.clone().any(|part| part.len() != key.len()) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "read rows",
                "a position has not as many values as its key",
            )
            .with("split", &self.name));
        }
        Ok(())
    }
}

impl Split for SqlSplit {
    fn id(&self) -> SplitId {
        SplitId::new(&self.name)
    }
}

impl Versioned for SqlSplit {
    const VERSION: u16 = 2;

    fn upgrade(version: u16, json: &str) -> Result<Self> {
        match version {
            // The first version knew no snapshots.
            1 => from_json(json),
            _ => Err(unknown_version::<Self>(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidelock::Stored;

    use super::*;
    use crate::source::key::KeyKind;

    fn column(name: &str, kind: KeyKind, order: Option<&str>) -> KeyColumn {
        KeyColumn { name: name.into(), kind, order: order.map(str::to_owned) }
    }

    fn scan() -> SqlSplit {
        let moment = "2026-11-29T12:00:00.000001Z".parse().expect("a moment");
        SqlSplit {
            name: "000003".into(),
            table: Some("shop.orders".into()),
            key: vec![
                column("id", KeyKind::Integer, None),
                column("name", KeyKind::Text, Some("utf8mb4_general_ci")),
                column("raw", KeyKind::Bytes, None),
                column("at", KeyKind::Moment, None),
            ],
            after: Some(vec![
                SqlValue::I64(i64::MIN),
                SqlValue::Text("é\"\0".into()),
                SqlValue::Bytes(vec![0, 255]),
                SqlValue::Moment(moment),
            ]),
            end: Some(vec![
                SqlValue::U64(u64::MAX),
                SqlValue::Text(String::new()),
                SqlValue::Bytes(Vec::new()),
                SqlValue::Moment(moment),
            ]),
            snapshot: None,
        }
    }

    fn of_a_snapshot() -> SqlSplit {
        let snapshot = Snapshot { name: "00000003-0000001B-1".into(), sees: "730:735:730,732".into() };
        SqlSplit { snapshot: Some(snapshot), ..scan() }
    }

    fn endless() -> SqlSplit {
        let key = vec![column("id", KeyKind::Integer, None)];
        SqlSplit { name: "rows".into(), table: None, key, snapshot: None, after: None, end: None }
    }

    #[test]
    fn the_stored_form_is_the_one_that_was_released() {
        for (golden, split) in [
            (include_str!("../../tests/golden/split_v2_scan.json"), of_a_snapshot()),
            (include_str!("../../tests/golden/split_v2_endless.json"), endless()),
        ] {
            let golden: Stored = serde_json::from_str(golden).expect("a golden file");
            assert_eq!(golden.decode::<SqlSplit>().expect("it loads"), split);
            assert_eq!(Stored::encode(&split).expect("stored"), golden);
        }
    }

    #[test]
    fn a_position_of_the_first_version_is_of_no_snapshot() {
        for (golden, split) in [
            (include_str!("../../tests/golden/split_v1_scan.json"), scan()),
            (include_str!("../../tests/golden/split_v1_endless.json"), endless()),
        ] {
            let golden: Stored = serde_json::from_str(golden).expect("a golden file");
            assert_eq!(golden.decode::<SqlSplit>().expect("it loads"), split);
        }
    }

    #[test]
    fn a_position_is_of_one_table_and_one_order() {
        let split = scan();
        let key = split.key.clone();
        assert!(split.check(Some("shop.orders"), &key).is_ok());
        let error = split.check(Some("orders"), &key).expect_err("another table").to_string();
        assert!(error.contains("was=shop.orders") && error.contains("is=orders"), "{error}");
        let mut other = key.clone();
        other[1].order = Some("utf8mb4_bin".into());
        let error = split.check(Some("shop.orders"), &other).expect_err("another order").to_string();
        assert!(error.contains("name texts utf8mb4_general_ci") && error.contains("utf8mb4_bin"), "{error}");
        let short = SqlSplit { after: Some(Vec::new()), ..scan() };
        assert_eq!(short.check(Some("shop.orders"), &key).expect_err("too short").kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_position_is_never_printed_by_chance() {
        assert!(!format!("{:?}", scan()).contains('é'));
    }
}
