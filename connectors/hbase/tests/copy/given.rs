//! What is fed, and what must be left of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidelock_hbase::{Column, RowChange, RowMutation};

/// How many files there are, each with rows of its own: a file has one reader, whose worker's writer has all changes of its rows.
pub(crate) const FILES: u64 = 4;

/// How many rows of a file are changed again and again.
const KEYS: u64 = 40;

/// What a reader sees: by row and column the value.
pub(crate) type Seen = BTreeMap<(String, String), String>;

/// A line of the input.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) file: u64,
    pub(crate) id: u64,
}

impl Given {
    /// Each other line has a row of its own, so that nothing is lost without being seen; the others change rows that are there, and
    /// delete them.
    pub(crate) fn change(self) -> RowMutation {
        let Self { file, id } = self;
        let column = |text: &str| Column::parse(text).unwrap();
        let value = |name: &str| (column(name), id.to_string());
        if id % 2 == 0 {
            return RowMutation::put(format!("{file}-own-{id:07}"), [value("f:value")]);
        }
        let row = format!("{file}-key-{}", id / 2 % KEYS);
        match id / 2 % 13 {
            3 => RowMutation::delete_row(row),
            7 => RowMutation::delete_columns(row, [column("f:value"), column("g:third")]),
            8 => RowMutation::put(row, [value("f:value"), value("g:third")]),
            9 => RowMutation::put(row, [value("f:other")]),
            _ => RowMutation::put(row, [value("f:value")]),
        }
    }
}

/// What is left of so many lines of each file.
pub(crate) fn expected(lines: u64) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut seen = Seen::new();
    for file in 0..FILES {
        for id in 0..lines {
            let RowMutation { row, change, .. } = Given { file, id }.change();
            let row = text(&row);
            match change {
                RowChange::Put(values) => {
                    for one in values {
                        seen.insert((row.clone(), one.column.to_string()), text(&one.value));
                    }
                }
                RowChange::DeleteColumns(columns) => {
                    for column in columns {
                        seen.remove(&(row.clone(), column.to_string()));
                    }
                }
                _ => seen.retain(|(of, _), _| *of != row),
            }
        }
    }
    seen
}

/// What two differ in, of much its beginning.
pub(crate) fn difference(seen: &Seen, expected: &Seen) -> Vec<String> {
    let wrong = |(cell, value): (&(String, String), &String), there: Option<&String>| {
        (there != Some(value)).then(|| format!("{cell:?}: {value} and {there:?}"))
    };
    let missing = expected.iter().filter_map(|one| wrong(one, seen.get(one.0)));
    let surplus =
        seen.iter().filter(|one| !expected.contains_key(one.0)).map(|one| format!("too much: {one:?}"));
    missing.chain(surplus).take(10).collect()
}
