//! The independent answer: a query over the CSV files by SQLite, which shares nothing with the job but its
//! input. And what a reader of the result files sees.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ToSql, params_from_iter};
use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result};

/// A row, as the answer has it and as it stands in a result file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are those of the columns")]
pub struct Row {
    pub origin: String,
    pub window_start: String,
    pub flights: i64,
    pub cancelled: i64,
    pub dep_delay_min: i64,
    pub seats: i64,
    pub airlines: i64,
}

/// How visible rows differ from the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Rows of the answer that are not visible.
    pub missing: Vec<Row>,
    /// Rows that are visible more than once, one entry for each time too many.
    pub double: Vec<Row>,
    /// Visible rows that the answer does not have.
    pub wrong: Vec<Row>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.double.is_empty() && self.wrong.is_empty()
    }
}

const QUERY: &str = "
    SELECT f.origin, f.time_hour, count(*), sum(f.dep_delay IS NULL),
           coalesce(sum(CAST(f.dep_delay AS INTEGER)), 0),
           coalesce(sum(CAST(p.seats AS INTEGER)), 0), count(DISTINCT a.name)
    FROM flights f
    LEFT JOIN planes p ON p.tailnum = f.tailnum
    LEFT JOIN airlines a ON a.carrier = f.carrier
    GROUP BY f.origin, f.time_hour
    ORDER BY f.origin, f.time_hour";

/// The right rows for a folder of input, sorted.
///
/// # Errors
/// For files that are missing or cannot be read.
pub fn expected(data: &Path) -> Result<Vec<Row>> {
    let failed = |error: rusqlite::Error| {
        Error::new(ErrorKind::Other, "compute the answer", "SQLite failed").because(error)
    };
    let mut base = Connection::open_in_memory().map_err(failed)?;
    let flights = flight_files(data)?;
    for (table, columns, files) in [
        ("flights", &["origin", "time_hour", "dep_delay", "tailnum", "carrier"][..], flights),
        ("planes", &["tailnum", "seats"], vec![data.join("planes.csv")]),
        ("airlines", &["carrier", "name"], vec![data.join("airlines.csv")]),
    ] {
        base.execute(&format!("CREATE TABLE {table} ({})", columns.join(", ")), []).map_err(failed)?;
        for file in files {
            load(&mut base, table, columns, &file)?;
        }
    }
    base.execute_batch("CREATE INDEX plane ON planes (tailnum)").map_err(failed)?;
    let mut query = base.prepare(QUERY).map_err(failed)?;
    let rows = query.query_map([], |row| {
        Ok(Row {
            origin: row.get(0)?,
            window_start: row.get(1)?,
            flights: row.get(2)?,
            cancelled: row.get(3)?,
            dep_delay_min: row.get(4)?,
            seats: row.get(5)?,
            airlines: row.get(6)?,
        })
    });
    rows.and_then(Iterator::collect).map_err(failed)
}

fn unreadable(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Other, "read for the comparison", error.to_string()).with("path", path.display())
}

fn flight_files(data: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in data.read_dir().map_err(|error| unreadable(data, error))? {
        let entry = entry.map_err(|error| unreadable(data, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("flights") && name.ends_with(".csv") {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Loads some columns of a file as they stand there; `NA` becomes NULL.
fn load(base: &mut Connection, table: &str, columns: &[&str], file: &Path) -> Result<()> {
    let failed = |error: rusqlite::Error| unreadable(file, error);
    let unparsed = |error: csv::Error| unreadable(file, error);
    let mut reader = csv::Reader::from_path(file).map_err(unparsed)?;
    let header = reader.headers().map_err(unparsed)?.clone();
    let mut places = Vec::new();
    for column in columns {
        let place = header.iter().position(|name| name == *column);
        places.push(place.ok_or_else(|| unreadable(file, format!("there is no column {column}")))?);
    }
    let marks = vec!["?"; columns.len()].join(", ");
    let transaction = base.transaction().map_err(failed)?;
    {
        let mut insert =
            transaction.prepare(&format!("INSERT INTO {table} VALUES ({marks})")).map_err(failed)?;
        for line in reader.records() {
            let line = line.map_err(unparsed)?;
            let value = |place: &usize| line.get(*place).filter(|value| *value != "NA").map(str::to_owned);
            let values: Vec<Option<String>> = places.iter().map(value).collect();
            insert
                .execute(params_from_iter(values.iter().map(|value| value as &dyn ToSql)))
                .map_err(failed)?;
        }
    }
    transaction.commit().map_err(failed)
}

/// The result files of a folder, at any depth, sorted: those whose names begin with neither `.` nor `_`.
///
/// # Errors
/// For a folder that cannot be read. One that does not exist has no files.
pub fn result_files(out: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![out.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&folder, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&folder, error))?;
            if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
                continue;
            }
            let kind = entry.file_type().map_err(|error| unreadable(&folder, error))?;
            if kind.is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files.sort();
    Ok(files)
}

/// Every row of the result files of a folder.
///
/// # Errors
/// For a file that cannot be read, or a line that is no row.
pub fn visible(out: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for file in result_files(out)? {
        let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, error))?;
        for line in text.lines() {
            rows.push(serde_json::from_str(line).map_err(|error| unreadable(&file, error))?);
        }
    }
    Ok(rows)
}

/// Compares what is visible with what should be.
pub fn compare(expected: &[Row], visible: &[Row]) -> Difference {
    let mut copies: BTreeMap<&Row, usize> = expected.iter().map(|row| (row, 0)).collect();
    let mut difference = Difference::default();
    for row in visible {
        match copies.get_mut(row) {
            None => difference.wrong.push(row.clone()),
            Some(0) => drop(copies.insert(row, 1)),
            Some(copies) => {
                *copies += 1;
                difference.double.push(row.clone());
            }
        }
    }
    let missing = copies.into_iter().filter(|(_, copies)| *copies == 0);
    difference.missing = missing.map(|(row, _)| row.clone()).collect();
    difference
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn january_has_1642_rows_and_27004_flights() {
        let rows = expected(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data")).unwrap();
        assert_eq!(rows.len(), 1_642);
        assert_eq!(rows.iter().map(|row| row.flights).sum::<i64>(), 27_004);
        assert_eq!(rows.iter().map(|row| row.cancelled).sum::<i64>(), 521);
        assert_eq!(
            serde_json::to_string(&rows[0]).unwrap(),
            r#"{"origin":"EWR","window_start":"2013-01-01T10:00:00Z","flights":2,"cancelled":0,"dep_delay_min":-2,"seats":340,"airlines":1}"#
        );
    }

    #[test]
    fn missing_double_and_wrong_rows_are_told_apart() {
        let row = |flights| Row {
            origin: "EWR".into(),
            window_start: "2013-01-01T10:00:00Z".into(),
            flights,
            cancelled: 0,
            dep_delay_min: 0,
            seats: 0,
            airlines: 1,
        };
        let difference = compare(&[row(1), row(2)], &[row(2), row(3), row(2)]);
        assert_eq!(difference.missing, [row(1)]);
        assert_eq!(difference.double, [row(2)]);
        assert_eq!(difference.wrong, [row(3)]);
        assert!(compare(&[row(1)], &[row(1)]).is_none());
    }

    #[test]
    fn hidden_files_and_folders_are_no_results() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/b/part-1", ".tidelock/x", "_x", ".y", "part-0"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let names = result_files(folder.path()).unwrap();
        assert_eq!(names, ["a/b/part-1", "part-0"].map(|name| folder.path().join(name)));
        assert!(result_files(&folder.path().join("none")).unwrap().is_empty());
    }
}
