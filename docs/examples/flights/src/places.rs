//! Where a run reads and writes.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use tidelock::{Error, ErrorKind, Result};

use crate::answer;
use crate::dynamodb::DynamoTable;
use crate::hbase::HbaseTable;
use crate::kafka::Topic;
use crate::options::Options;
use crate::sql::Database;

/// The places of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// The folder of the input.
    pub(crate) data: String,
    /// The topic of the flights, where they come from one.
    pub(crate) from: Option<Topic>,
    /// The folder of the rows.
    pub(crate) out: String,
    /// The topic that is written, where one is; then not to the folder.
    pub(crate) to: Option<Topic>,
    /// The database that is written, where one is.
    pub(crate) table: Option<Database>,
    /// The table of HBase that is written, where one is.
    pub(crate) hbase: Option<HbaseTable>,
    /// The table of DynamoDB that is written, where one is.
    pub(crate) dynamodb: Option<DynamoTable>,
    pub(crate) checkpoints: String,
    /// What is written, in one word.
    pub(crate) writes: &'static str,
}

/// Where everything is written that no option sends elsewhere.
const BASE: &str = "target/flights";
/// The same for runs that are killed: they start from nothing.
const CRASH_BASE: &str = "target/flights/crash";
/// The same for runs that read or write a topic: their state is another.
const KAFKA_BASE: &str = "target/flights/kafka";
/// The same for runs that write to a database, with a folder for each.
const SQL_BASE: &str = "target/flights/sql";
/// The same for runs that write to HBase, with a folder for each table.
const HBASE_BASE: &str = "target/flights/hbase";
/// The same for runs that write to DynamoDB, with a folder for each table.
const DYNAMODB_BASE: &str = "target/flights/dynamodb";
/// The same for runs that load planes and airlines into one.
const TABLES_BASE: &str = "target/flights/tables";
/// The same for runs that load a topic, with a folder for each.
const LOAD_BASE: &str = "target/flights/load";

impl Places {
    pub(crate) fn of(options: &Options) -> Self {
        let Options { data, load, from_kafka, to_kafka, to_sql, to_hbase, to_dynamodb, load_tables, .. } =
            options;
        let base = match (load, load_tables, to_sql, to_hbase, to_dynamodb) {
            (Some(topic), ..) => format!("{LOAD_BASE}/{}", topic.name()),
            (_, Some(database), ..) => format!("{TABLES_BASE}/{}", database.folder()),
            (_, _, Some(database), ..) => format!("{SQL_BASE}/{}", database.folder()),
            (_, _, _, Some(table), _) => format!("{HBASE_BASE}/{}", table.folder()),
            (.., Some(table)) => format!("{DYNAMODB_BASE}/{}", table.folder()),
            _ if from_kafka.is_some() || to_kafka.is_some() => KAFKA_BASE.to_owned(),
            _ if options.crash.is_some() => CRASH_BASE.to_owned(),
            _ => BASE.to_owned(),
        };
        let or =
            |given: &Option<String>, name: &str| given.clone().unwrap_or_else(|| format!("{base}/{name}"));
        Self {
            data: data.clone(),
            from: from_kafka.clone(),
            to: load.as_ref().or(to_kafka.as_ref()).cloned(),
            table: to_sql.clone(),
            hbase: to_hbase.clone(),
            dynamodb: to_dynamodb.clone(),
            out: or(&options.out, "rows"),
            checkpoints: or(&options.checkpoints, "checkpoints"),
            writes: if load.is_some() { "flights" } else { "rows" },
        }
    }

    /// Where flights come from.
    pub(crate) fn input(&self) -> String {
        self.from.as_ref().map_or_else(|| self.data.clone(), Topic::to_string)
    }

    /// What is written goes here.
    pub(crate) fn output(&self) -> String {
        self.elsewhere().unwrap_or_else(|| self.out.clone())
    }

    /// The same, where it is no folder.
    fn elsewhere(&self) -> Option<String> {
        let topic = self.to.as_ref().map(Topic::to_string);
        let database = || self.table.as_ref().map(|database| format!("a table of {database}"));
        let hbase = || self.hbase.as_ref().map(HbaseTable::to_string);
        let dynamodb = || self.dynamodb.as_ref().map(DynamoTable::to_string);
        topic.or_else(database).or_else(hbase).or_else(dynamodb)
    }

    /// Whether rows go to files.
    pub(crate) fn to_files(&self) -> bool {
        self.elsewhere().is_none()
    }

    /// The rows that a reader of the folder sees. Those of a topic or a table are not counted: that would be
    /// another program.
    pub(crate) fn rows_visible(&self) -> Result<Option<RowsVisible>> {
        if !self.to_files() {
            return Ok(None);
        }
        let rows = answer::visible(Path::new(&self.out))?;
        let different = rows.iter().collect::<BTreeSet<_>>().len();
        Ok(Some(RowsVisible { all: rows.len(), different }))
    }
}

/// What a reader of the folder sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowsVisible {
    pub(crate) all: usize,
    /// A rollback writes again what became visible after its snapshot: those rows are there once more.
    pub(crate) different: usize,
}

impl RowsVisible {
    /// Whether each is there once.
    pub(crate) fn each_once(self) -> bool {
        self.all == self.different
    }
}

/// Makes sure that a run which starts from nothing finds nothing: removes what an earlier one left in our
/// own folder, and refuses a folder of somebody else that is not empty.
pub(crate) fn start_from_nothing(folder: &str, ours: bool) -> Result<()> {
    let path = Path::new(folder);
    let failed = |error: io::Error| {
        Error::new(ErrorKind::Other, "prepare the folders", error.to_string()).with("folder", folder)
    };
    let empty = match path.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(failed(error)),
    };
    match (empty, ours) {
        (true, _) => Ok(()),
        (false, true) => std::fs::remove_dir_all(path).map_err(failed),
        (false, false) => Err(Error::new(
            ErrorKind::Config,
            "prepare the folders",
            "a run with --crash starts from nothing: give it empty folders",
        )
        .with("folder", folder)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn rows_that_a_rollback_wrote_again_are_not_taken_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let row = |flights: u8| {
            format!(
                r#"{{"origin":"EWR","window_start":"2013-01-01T10:00:00Z","flights":{flights},"cancelled":0,"dep_delay_min":0,"seats":0,"airlines":1}}"#
            )
        };
        std::fs::write(folder.path().join("before"), format!("{}\n{}\n", row(1), row(2))).unwrap();
        let options = Options::parse_from(["flights", "--out", folder.path().to_str().unwrap()]);
        let places = Places::of(&options);
        assert!(places.rows_visible().unwrap().unwrap().each_once());
        std::fs::write(folder.path().join("after"), format!("{}\n", row(2))).unwrap();
        let visible = places.rows_visible().unwrap().unwrap();
        assert_eq!(visible, RowsVisible { all: 3, different: 2 });
        assert!(!visible.each_once());
    }
}
