//! The independent answer: a query over the CSV files by SQLite, which shares nothing with the job but its
//! input.

use std::path::{Path, PathBuf};

use flights::answer::Row;
use rusqlite::{Connection, ToSql, params_from_iter};

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
/// # Panics
/// For files that are missing or cannot be read.
pub fn expected(data: &Path) -> Vec<Row> {
    let mut base = Connection::open_in_memory().expect("a database in memory");
    for (table, columns, files) in [
        ("flights", &["origin", "time_hour", "dep_delay", "tailnum", "carrier"][..], flight_files(data)),
        ("planes", &["tailnum", "seats"], vec![data.join("planes.csv")]),
        ("airlines", &["carrier", "name"], vec![data.join("airlines.csv")]),
    ] {
        base.execute(&format!("CREATE TABLE {table} ({})", columns.join(", ")), []).expect("a table");
        for file in files {
            load(&mut base, table, columns, &file);
        }
    }
    base.execute_batch("CREATE INDEX plane ON planes (tailnum)").expect("an index");
    let mut query = base.prepare(QUERY).expect("the query");
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
    rows.expect("the answer").collect::<Result<_, _>>().expect("rows")
}

fn flight_files(data: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in data.read_dir().expect("the folder of the input") {
        let entry = entry.expect("an entry of the folder of the input");
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("flights") && name.ends_with(".csv") {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

/// Loads some columns of a file as they stand there; `NA` becomes NULL.
fn load(base: &mut Connection, table: &str, columns: &[&str], file: &Path) {
    let mut reader =
        csv::Reader::from_path(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let header = reader.headers().expect("a header").clone();
    let place = |column: &&str| header.iter().position(|name| name == *column).expect("the column");
    let places: Vec<usize> = columns.iter().map(place).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    let transaction = base.transaction().expect("a transaction");
    {
        let mut insert =
            transaction.prepare(&format!("INSERT INTO {table} VALUES ({marks})")).expect("an insert");
        for line in reader.records() {
            let line = line.expect("a line");
            let value = |place: &usize| line.get(*place).filter(|value| *value != "NA").map(str::to_owned);
            let values: Vec<Option<String>> = places.iter().map(value).collect();
            insert.execute(params_from_iter(values.iter().map(|value| value as &dyn ToSql))).expect("a row");
        }
    }
    transaction.commit().expect("a commit");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_the_program_is_that_of_a_database() {
        let data = Path::new(crate::world::JANUARY);
        let rows = expected(data);
        assert_eq!(rows.len(), 1_642);
        assert_eq!(flights::answer::expected(data).expect("an answer"), rows);
    }
}
