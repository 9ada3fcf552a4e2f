//! The independent answer: one pass over the CSV files, which shares nothing with the job but its input. And
//! what a reader of the result files sees.
//!
//! The tests of whole processes ask SQLite, and check that this answer is the same: see crate `tidelock-e2e`.
//! SQLite is not here, because whoever tries the example would compile it first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

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

/// What is known of one airport's hour so far.
#[derive(Default)]
struct Hour {
    flights: i64,
    cancelled: i64,
    dep_delay_min: i64,
    seats: i64,
    airlines: BTreeSet<String>,
}

/// The right rows for a folder of input, sorted.
///
/// # Errors
/// For files that are missing or cannot be read.
pub fn expected(data: &Path) -> Result<Vec<Row>> {
    let seats = table(&data.join("planes.csv"), ["tailnum", "seats"])?;
    let names = table(&data.join("airlines.csv"), ["carrier", "name"])?;
    let mut hours: BTreeMap<(String, String), Hour> = BTreeMap::new();
    for file in flight_files(data)? {
        let columns = ["origin", "time_hour", "dep_delay", "tailnum", "carrier"];
        read(&file, columns, |[origin, time_hour, dep_delay, tailnum, carrier]| {
            let hour = hours.entry((origin.to_owned(), time_hour.to_owned())).or_default();
            hour.flights += 1;
            match dep_delay {
                MISSING => hour.cancelled += 1,
                minutes => hour.dep_delay_min += number(&file, minutes)?,
            }
            if let Some(seats) = seats.get(tailnum).filter(|seats| *seats != MISSING) {
                hour.seats += number(&file, seats)?;
            }
            hour.airlines.extend(names.get(carrier).cloned());
            Ok(())
        })?;
    }
    Ok(hours.into_iter().map(|((origin, window_start), hour)| hour.row(origin, window_start)).collect())
}

impl Hour {
    fn row(self, origin: String, window_start: String) -> Row {
        let Self { flights, cancelled, dep_delay_min, seats, airlines } = self;
        let airlines = airlines.len().try_into().unwrap_or(i64::MAX);
        Row { origin, window_start, flights, cancelled, dep_delay_min, seats, airlines }
    }
}

/// How the files spell a value that is not known.
const MISSING: &str = "NA";

fn number(file: &Path, text: &str) -> Result<i64> {
    text.parse().map_err(|error| unreadable(file, format!("{text:?} is no number: {error}")))
}

fn table(file: &Path, columns: [&str; 2]) -> Result<HashMap<String, String>> {
    let mut table = HashMap::new();
    read(file, columns, |[key, value]| {
        table.insert(key.to_owned(), value.to_owned());
        Ok(())
    })?;
    Ok(table)
}

/// Gives some columns of each line of a file, as they stand there.
fn read<const N: usize>(
    file: &Path,
    columns: [&str; N],
    mut line: impl FnMut([&str; N]) -> Result<()>,
) -> Result<()> {
    let unparsed = |error: csv::Error| unreadable(file, error);
    let mut reader = csv::Reader::from_path(file).map_err(unparsed)?;
    let header = reader.headers().map_err(unparsed)?.clone();
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        let found = header.iter().position(|name| name == column);
        *place = found.ok_or_else(|| unreadable(file, format!("there is no column {column}")))?;
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(unparsed)? {
        // The reader refuses a line that has not as many values as the header.
        line(places.map(|place| record.get(place).unwrap_or_default()))?;
    }
    Ok(())
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
