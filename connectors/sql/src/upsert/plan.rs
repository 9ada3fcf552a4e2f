//! The columns that the mode needs of a table, and a record as a row with its version.

use serde::Serialize;
use tidelock::{Error, ErrorKind, Result, Retry};

use crate::change::{Change, Fields, Operation, StoredChange};
use crate::column::{Column, ColumnType};
use crate::config::{SqlSinkConfig, VersionFrom};
use crate::error::setting;
use crate::fit::fit;
use crate::kind::DatabaseKind;
use crate::row::to_row;
use crate::shape::Shape;
use crate::table::Table;
use crate::value::SqlValue;

/// How rows are written to a table by their versions.
pub(crate) struct Upserts {
    /// The table without the columns that are the sink's own: no record has them.
    pub(super) shape: Shape,
    pub(super) versions: Versions,
    pub(super) tombstone: Option<Tombstone>,
}

/// The columns of a row's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Versions {
    Attempt {
        attempt: String,
        sequence: String,
    },
    /// A field of the record.
    Column(String),
}

/// The column that says whether a row was deleted.
pub(super) struct Tombstone {
    pub(super) column: String,
    /// Its value in rows that are there.
    pub(super) live: SqlValue,
    pub(super) dead: SqlValue,
}

/// The version of a change, where the sink makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) attempt: i64,
    pub(super) sequence: i64,
}

/// A column that must be there.
struct Wanted<'c> {
    setting: &'static str,
    column: &'c str,
    /// How it is added. Its default makes the rows that are there older than everything, and not deleted.
    definition: &'static str,
    is_right: fn(&Column) -> bool,
}

fn is_wide(column: &Column) -> bool {
    !column.nullable && matches!(column.kind, ColumnType::Int { max, .. } if max >= i64::MAX as u64)
}

fn is_integer(column: &Column) -> bool {
    !column.nullable && matches!(column.kind, ColumnType::Int { .. })
}

/// SQLite's BOOLEAN is a number.
fn is_flag(column: &Column) -> bool {
    !column.nullable && matches!(column.kind, ColumnType::Bool | ColumnType::Int { .. } | ColumnType::Numeric)
}

fn wanted(config: &SqlSinkConfig) -> Vec<Wanted<'_>> {
    let own = |setting, column| Wanted {
        setting,
        column,
        definition: "BIGINT NOT NULL DEFAULT 0",
        is_right: is_wide,
    };
    let mut wanted = match &config.version {
        VersionFrom::Attempt => vec![
            own("attempt_column", config.attempt_column.as_str()),
            own("sequence_column", config.sequence_column.as_str()),
        ],
        VersionFrom::Column(column) => vec![Wanted {
            setting: "version",
            column,
            definition: "BIGINT NOT NULL DEFAULT -1",
            is_right: is_integer,
        }],
    };
    wanted.extend(config.tombstone_column.as_deref().map(|column| Wanted {
        setting: "tombstone_column",
        column,
        definition: "BOOLEAN NOT NULL DEFAULT FALSE",
        is_right: is_flag,
    }));
    wanted
}

impl Upserts {
    /// What the settings say, for a table as it was found.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where the table lacks what the mode needs, with the statement that adds it.
    pub(crate) fn new(config: &SqlSinkConfig, found: &Shape) -> Result<Self> {
        found.check_operation(Operation::Upsert)?;
        let wanted = wanted(config);
        check_columns(found, &wanted)?;
        let tombstone = config.tombstone_column.as_deref().and_then(|name| {
            let is_bool = found.table.column(name)?.kind == ColumnType::Bool;
            let value = |dead: bool| if is_bool { SqlValue::Bool(dead) } else { SqlValue::I64(dead.into()) };
            Some(Tombstone { column: name.to_owned(), live: value(false), dead: value(true) })
        });
        let versions = match &config.version {
            VersionFrom::Attempt => Versions::Attempt {
                attempt: config.attempt_column.clone(),
                sequence: config.sequence_column.clone(),
            },
            VersionFrom::Column(column) => Versions::Column(column.clone()),
        };
        let is_own = |column: &Column| match &versions {
            Versions::Column(version) if *version == column.name => false,
            _ => wanted.iter().any(|own| own.column == column.name),
        };
        let columns = found.table.columns.iter().filter(|column| !is_own(column)).cloned().collect();
        let table = Table { columns, keys: found.table.keys.clone() };
        let shape = Shape::with_key(found.dialect, found.name.clone(), table, found.key.clone());
        Ok(Self { shape, versions, tombstone })
    }

    /// The columns of the version, in the order in which they are compared.
    pub(super) fn version_columns(&self) -> Vec<&str> {
        match &self.versions {
            Versions::Attempt { attempt, sequence } => vec![attempt, sequence],
            Versions::Column(column) => vec![column],
        }
    }

    /// The version of a row.
    pub(super) fn version_of(&self, row: &Fields) -> Vec<SqlValue> {
        let columns = self.version_columns().into_iter();
        columns.map(|column| row.get(column).cloned().unwrap_or(SqlValue::Null)).collect()
    }

    /// The row that a change writes. Of a delete it is the tombstone.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] where the record cannot be such a row, and [`ErrorKind::Config`] where none can.
    pub(super) fn change<T: Serialize>(&self, change: &Change<T>, stamp: Stamp) -> Result<StoredChange> {
        let (operation, mut row) = match change {
            // Whether there is a row with this key, a replay cannot know.
            Change::Insert(record) | Change::Upsert(record) => {
                (Operation::Upsert, self.shape.row(Operation::Upsert, record)?)
            }
            Change::Update(record) => (Operation::Update, self.shape.row(Operation::Update, record)?),
            Change::Delete(record) => (Operation::Upsert, self.tombstone_row(record)?),
        };
        let mut push = |column: &str, value| row.0.push((column.into(), value));
        if let (Some(tombstone), false) = (&self.tombstone, operation == Operation::Update) {
            let is_delete = matches!(change, Change::Delete(_));
            push(&tombstone.column, if is_delete { &tombstone.dead } else { &tombstone.live }.clone());
        }
        match &self.versions {
            Versions::Attempt { attempt, sequence } => {
                push(sequence, SqlValue::I64(stamp.sequence));
                push(attempt, SqlValue::I64(stamp.attempt));
            }
            Versions::Column(column) if row.get(column).is_none() => {
                return Err(self
                    .refuse(change.operation(), "the record has no version")
                    .with("column", column));
            }
            Versions::Column(_) => {}
        }
        Ok(StoredChange { operation, row, place: 0 })
    }

    /// A change as people see it: as what it was given, without the columns that are the sink's own.
    pub(super) fn shown(&self, operation: Operation, change: &StoredChange) -> StoredChange {
        let is_records = |name: &str| self.shape.table.column(name).is_some();
        let row = change.row.0.iter().filter(|(name, _)| is_records(name)).cloned().collect();
        StoredChange { operation, row: Fields(row), place: change.place }
    }

    /// The row that stays where one was deleted: key and version, and as little of the rest as the table allows.
    fn tombstone_row<T: Serialize>(&self, record: &T) -> Result<Fields> {
        let refuse = |why: &str| self.refuse(Operation::Delete, why);
        if self.tombstone.is_none() {
            let why = "a row that is gone has no version, so that an older write which comes late would bring it back: without a \
                       column that says of a row that it was deleted, this mode deletes nothing";
            return Err(refuse(why).with("setting", "tombstone_column").with(
                "remedy",
                format_args!(
                    "name such a column by the setting tombstone_column, for instance one that is added by: ALTER TABLE {} ADD \
                     COLUMN deleted BOOLEAN NOT NULL DEFAULT FALSE; and let readers leave out the rows that it marks",
                    self.shape.name.quoted(self.shape.dialect)
                ),
            ));
        }
        let mut given = to_row(record).map_err(|why| refuse(&why))?.fields;
        let mut row = Vec::with_capacity(self.shape.table.columns.len());
        for column in &self.shape.table.columns {
            let is_said = self.shape.key.contains(&column.name)
                || matches!(&self.versions, Versions::Column(version) if *version == column.name);
            let value = if is_said || !(column.nullable || column.fills) {
                let why = "a deleted row keeps its place in the table, and this column of it can neither be empty nor be left to \
                           the database: the record must have it, or the column be nullable";
                let at =
                    given.iter().position(|(name, value)| *name == column.name && *value != SqlValue::Null);
                let at = at.ok_or_else(|| refuse(why).with("column", &column.name))?;
                let (_, value) = given.swap_remove(at);
                let kind = value.type_name();
                fit(self.shape.dialect, column, value).map_err(|why| {
                    refuse(&why.to_string()).with("column", &column.name).with("value", kind)
                })?
            } else if column.nullable && !column.generated {
                SqlValue::Null
            } else {
                continue;
            };
            row.push((column.name.as_str().into(), value));
        }
        Ok(Fields(row))
    }

    fn refuse(&self, operation: Operation, why: &str) -> Error {
        Error::new(ErrorKind::Data, "write a row", why)
            .with("table", &self.shape.name)
            .with("operation", operation.name())
    }
}

/// Whether every column is there, and can be what it is wanted for.
fn check_columns(found: &Shape, wanted: &[Wanted<'_>]) -> Result<()> {
    let wrong = |why: &str, settings: &[&Wanted<'_>]| {
        let settings: Vec<_> = settings.iter().map(|wanted| wanted.setting).collect();
        Error::new(ErrorKind::Config, "look at a table", why)
            .with_retry(Retry::Halt)
            .with("table", &found.name)
            .with("setting", settings.join(", "))
    };
    let is_missing = |wanted: &&Wanted<'_>| found.table.column(wanted.column).is_none();
    let missing: Vec<&Wanted<'_>> = wanted.iter().filter(is_missing).collect();
    if !missing.is_empty() {
        let why = "the table has no columns for the versions of its rows, or for what was deleted, which the mode `upsert` needs";
        return Err(wrong(why, &missing).with("remedy", alter_table(found, &missing)));
    }
    for wanted in wanted {
        if found.key.iter().any(|part| part == wanted.column) {
            return Err(setting(wanted.setting, "key, version and tombstone are in columns of their own")
                .with("table", &found.name)
                .with("column", wanted.column));
        }
        if found.table.column(wanted.column).is_some_and(|column| !(wanted.is_right)(column)) {
            let why = "the column cannot be what it is wanted for: it must be of this type, and never NULL";
            return Err(wrong(why, &[wanted])
                .with("column", wanted.column)
                .with("expected", wanted.definition));
        }
    }
    Ok(())
}

/// The statement that adds columns; of SQLite one for each.
fn alter_table(found: &Shape, missing: &[&Wanted<'_>]) -> String {
    let table = found.name.quoted(found.dialect);
    let added = missing.iter().map(|wanted| {
        let mut column = "ADD COLUMN ".to_owned();
        found.dialect.quote(&mut column, wanted.column);
        format!("{column} {}", wanted.definition)
    });
    let added: Vec<String> = added.collect();
    match found.dialect.kind {
        DatabaseKind::Sqlite => {
            added.iter().map(|column| format!("ALTER TABLE {table} {column}")).collect::<Vec<_>>().join("; ")
        }
        _ => format!("ALTER TABLE {table} {}", added.join(", ")),
    }
}
