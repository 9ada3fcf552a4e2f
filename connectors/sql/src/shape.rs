//! The tables of a sink, as they were found: which row a record becomes there.

use std::sync::Arc;

use serde::Serialize;
use tidelock::{Error, ErrorKind, Result};

use crate::change::{Fields, Operation};
use crate::dialect::Dialect;
use crate::fit::fit;
use crate::names::TableName;
use crate::own::Own;
use crate::rights;
use crate::row::to_row;
use crate::table::Table;
use crate::value::{Shown, SqlValue};

/// The table that rows are written to, and by what they are told apart.
pub(crate) struct Shape {
    pub(crate) dialect: &'static Dialect,
    pub(crate) name: TableName,
    pub(crate) table: Table,
    /// The columns of the key; none where the table has none.
    pub(crate) key: Vec<String>,
    /// The names of the columns, which every row shares.
    names: Vec<Arc<str>>,
    /// What is done instead, where the user said it.
    pub(crate) own: Option<Own>,
}

impl Shape {
    /// A table with the key that was asked for, or else its primary key.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where rows can be equal by that key.
    pub(crate) fn new(
        dialect: &'static Dialect,
        name: TableName,
        table: Table,
        key: &[String],
    ) -> Result<Self> {
        let key = match (key, table.primary_key()) {
            ([], Some(primary)) => primary.columns.clone(),
            ([], None) => Vec::new(),
            (key, _) => {
                if !table.keys.iter().any(|unique| unique.is_of(key)) {
                    let why =
                        "these columns are no unique key of the table, so several rows could have one key";
                    return Err(Error::new(ErrorKind::Config, "look at a table", why)
                        .with("setting", "key")
                        .with("table", &name)
                        .with("key", key.join(", ")));
                }
                key.to_vec()
            }
        };
        Ok(Self::with_key(dialect, name, table, key))
    }

    /// A table with a key that was looked at already.
    pub(crate) fn with_key(
        dialect: &'static Dialect,
        name: TableName,
        table: Table,
        key: Vec<String>,
    ) -> Self {
        let names = table.columns.iter().map(|column| column.name.as_str().into()).collect();
        Self { dialect, name, table, key, names, own: None }
    }

    /// Where the user's own statements say what is done.
    pub(crate) fn of_statements(dialect: &'static Dialect, own: Own) -> Self {
        let (name, table) = (TableName::of_statements(), Table { columns: Vec::new(), keys: Vec::new() });
        Self { own: Some(own), ..Self::with_key(dialect, name, table, Vec::new()) }
    }

    /// An error of what is written: where a right is missing, with what to do, and what becomes of the rows meanwhile.
    pub(crate) fn with_rights(&self, error: Error, meanwhile: &str) -> Error {
        let table = match &self.own {
            Some(_) => "the tables that the statements name".to_owned(),
            None => self.name.quoted(self.dialect),
        };
        rights::told(error, self.dialect.kind, rights::OF_ROWS, &table, meanwhile)
    }

    /// The row that an operation on a record writes.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] where a value does not fit its column, and [`ErrorKind::Config`] where the table has no such column
    /// or the operation is not possible on it.
    pub(crate) fn row<T: Serialize>(&self, operation: Operation, record: &T) -> Result<Fields> {
        if let Some(own) = &self.own {
            return own.row(operation, record);
        }
        let refuse = |why: String| {
            Error::new(ErrorKind::Data, "write a row", why)
                .with("table", &self.name)
                .with("operation", operation.name())
        };
        self.check_operation(operation)?;
        let record = to_row(record).map_err(refuse)?;
        let mut fields: Vec<(usize, SqlValue)> = Vec::with_capacity(record.fields.len());
        for (name, value) in record.fields {
            if operation == Operation::Delete && !self.key.iter().any(|part| *part == name) {
                continue;
            }
            let Some(at) = self.table.columns.iter().position(|column| column.name == name) else {
                return Err(self
                    .wrong("the record has a field that is no column of the table")
                    .with("field", name));
            };
            let column = &self.table.columns[at];
            if column.generated && self.writes(operation, &name) {
                let why = "nobody but the database may write this column: leave it out of the record";
                return Err(self.wrong(why).with("column", name));
            }
            let kind = value.type_name();
            let value = fit(self.dialect, column, value)
                .map_err(|why| refuse(why.to_string()).with("column", &column.name).with("value", kind))?;
            fields.push((at, value));
        }
        fields.sort_by_key(|(at, _)| *at);
        let fields = fields.into_iter().map(|(at, value)| (Arc::clone(&self.names[at]), value)).collect();
        let fields = Fields(fields);
        self.check_complete(operation, &fields)
            .map_err(|(why, column)| refuse(why).with("column", column))?;
        Ok(fields)
    }

    /// Whether an operation writes a column, and does not only find its row by it.
    fn writes(&self, operation: Operation, column: &str) -> bool {
        match operation {
            Operation::Insert | Operation::Upsert => true,
            _ => !self.key.iter().any(|part| part == column),
        }
    }

    fn wrong(&self, why: &str) -> Error {
        Error::new(ErrorKind::Config, "write a row", why).with("table", &self.name)
    }

    /// Whether the operation is possible on the table at all.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where it is not.
    pub(crate) fn check_operation(&self, operation: Operation) -> Result<()> {
        if operation == Operation::Insert {
            return Ok(());
        }
        if self.key.is_empty() {
            return Err(self
                .wrong("the table has no primary key: name a unique key by the setting `key`")
                .with("setting", "key"));
        }
        let decides = |key: &crate::table::Key| key.is_of(&self.key) && !key.is_deferrable;
        if operation == Operation::Upsert && !self.table.keys.iter().any(decides) {
            let why = "PostgreSQL upserts by no key that is DEFERRABLE: make it one that is not, or use updates and inserts";
            return Err(self.wrong(why).with("key", self.key.join(", ")));
        }
        let is_other = |key: &&crate::table::Key| !key.is_of(&self.key);
        if operation == Operation::Upsert
            && self.dialect.upserts_by_any_key()
            && let Some(other) = self.table.keys.iter().find(is_other)
        {
            let why = "MySQL upserts by every unique key of a table, so that another row than the key's could be changed: \
                       drop the other key, or use updates and inserts";
            return Err(self.wrong(why).with("other_key", other.columns.join(", ")));
        }
        Ok(())
    }

    /// What the operation needs of a row is there.
    fn check_complete(&self, operation: Operation, fields: &Fields) -> Result<(), (String, String)> {
        if operation != Operation::Insert {
            let missing =
                self.key.iter().find(|part| fields.get(part).is_none_or(|value| *value == SqlValue::Null));
            if let Some(part) = missing {
                return Err(("a column of the key is missing".into(), part.clone()));
            }
        }
        match operation {
            Operation::Insert | Operation::Upsert => {
                let needed = |column: &&crate::column::Column| !column.nullable && !column.fills;
                let missing = self
                    .table
                    .columns
                    .iter()
                    .filter(needed)
                    .find(|column| fields.get(&column.name).is_none());
                match missing {
                    Some(column) => {
                        Err(("a column without a default is missing".into(), column.name.clone()))
                    }
                    None => Ok(()),
                }
            }
            Operation::Update if fields.0.len() == self.key.len() => {
                Err(("an update of nothing but the key changes nothing".into(), self.key.join(", ")))
            }
            _ => Ok(()),
        }
    }

    /// The types of lists that rows with these columns can be bound as, if they can.
    pub(crate) fn member_types(&self, row: &Fields) -> Option<Vec<&'static str>> {
        let of = |name: &str| self.dialect.member_type(&self.table.column(name)?.kind);
        row.0.iter().map(|(name, _)| of(name)).collect()
    }

    /// A row's key, for people.
    pub(crate) fn shown_key(&self, row: &Fields) -> String {
        let part = |column: &String| match row.get(column) {
            Some(value) => format!("{column}={}", Shown(value)),
            None => format!("{column}=?"),
        };
        match self.key.is_empty() {
            true => "none".into(),
            false => self.key.iter().map(part).collect::<Vec<_>>().join(", "),
        }
    }
}
