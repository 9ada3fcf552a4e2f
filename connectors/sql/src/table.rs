//! A table as the database describes it: its columns, and by what its rows are told apart.

use tidelock::{Error, ErrorKind, Result};

use crate::client::{Client, Rows};
use crate::column::Column;
use crate::dialect::Dialect;
use crate::error::Fault;
use crate::names::TableName;
use crate::value::SqlValue;

/// Columns by which no two rows are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) columns: Vec<String>,
    pub(crate) is_primary: bool,
    /// Whether a transaction may violate it until its end: then no upsert goes by it.
    pub(crate) is_deferrable: bool,
}

impl Key {
    /// Whether it is of these columns, in any order.
    pub(crate) fn is_of(&self, columns: &[String]) -> bool {
        self.columns.len() == columns.len() && columns.iter().all(|column| self.columns.contains(column))
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) keys: Vec<Key>,
}

impl Table {
    /// Asks the database for a table. `None` where there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where rows in it are not as durable as a transaction must be.
    pub(crate) async fn describe(
        client: &mut Client,
        dialect: &Dialect,
        name: &TableName,
    ) -> Result<Option<Self>> {
        let wrong = |fault: Fault| fault.during("look at a table").with("table", name);
        let rows = client.query(dialect.fault_query, name.values()).await.map_err(wrong)?;
        let Some(why) = first_text(rows) else { return Ok(None) };
        if !why.is_empty() {
            return Err(Error::new(ErrorKind::Config, "look at a table", why).with("table", name));
        }
        let columns = client.query(dialect.columns_query, name.values()).await.map_err(wrong)?;
        let keys = client.query(dialect.keys_query, name.values()).await.map_err(wrong)?;
        let read = || Some(Self { columns: read_columns(dialect, columns)?, keys: read_keys(keys)? });
        match read() {
            Some(table) => Ok(Some(table)),
            None => Err(unknown_way(name)),
        }
    }

    /// The columns of a table or a view; none where there is no such thing.
    pub(crate) async fn columns_of(
        client: &mut Client,
        dialect: &Dialect,
        name: &TableName,
    ) -> Result<Vec<Column>> {
        let wrong = |fault: Fault| fault.during("look at a table").with("table", name);
        let columns = client.query(dialect.columns_query, name.values()).await.map_err(wrong)?;
        read_columns(dialect, columns).ok_or_else(|| unknown_way(name))
    }

    /// The unique keys of a table; a view has none.
    pub(crate) async fn keys_of(
        client: &mut Client,
        dialect: &Dialect,
        name: &TableName,
    ) -> Result<Vec<Key>> {
        let wrong = |fault: Fault| fault.during("look at a table").with("table", name);
        let keys = client.query(dialect.keys_query, name.values()).await.map_err(wrong)?;
        read_keys(keys).ok_or_else(|| unknown_way(name))
    }

    /// By which order the texts of a table's columns are compared, where the database tells it: column and order.
    pub(crate) async fn orders_of(
        client: &mut Client,
        dialect: &Dialect,
        name: &TableName,
    ) -> Result<Vec<(String, String)>> {
        let wrong = |fault: Fault| fault.during("look at a table").with("table", name);
        let orders = client.query(dialect.orders_query, name.values()).await.map_err(wrong)?;
        let read = |row: Vec<SqlValue>| match <[_; 2]>::try_from(row) {
            Ok([SqlValue::Text(column), SqlValue::Text(order)]) => Some((column, order)),
            _ => None,
        };
        let read: Option<Vec<_>> = orders.rows.into_iter().map(read).collect();
        read.ok_or_else(|| unknown_way(name))
    }

    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub(crate) fn primary_key(&self) -> Option<&Key> {
        self.keys.iter().find(|key| key.is_primary)
    }
}

fn unknown_way(name: &TableName) -> Error {
    let why = "the database describes it in an unknown way";
    Error::new(ErrorKind::Bug, "look at a table", why).with("table", name)
}

fn first_text(rows: Rows) -> Option<String> {
    match rows.rows.into_iter().next()?.into_iter().next()? {
        SqlValue::Text(text) => Some(text),
        _ => Some(String::new()),
    }
}

fn is_true(value: &SqlValue) -> bool {
    matches!(value, SqlValue::Bool(true) | SqlValue::I64(1))
}

fn read_columns(dialect: &Dialect, rows: Rows) -> Option<Vec<Column>> {
    let read = |row: Vec<SqlValue>| {
        let [SqlValue::Text(name), SqlValue::Text(declared), nullable, fills, letters, generated] =
            <[_; 6]>::try_from(row).ok()?
        else {
            return None;
        };
        let letters = match &letters {
            SqlValue::Text(letters) => Some(letters.as_str()),
            _ => None,
        };
        let kind = dialect.type_of(&declared, letters);
        let (nullable, fills, generated) = (is_true(&nullable), is_true(&fills), is_true(&generated));
        Some(Column { name, kind, nullable, fills, generated })
    };
    rows.rows.into_iter().map(read).collect()
}

fn read_keys(rows: Rows) -> Option<Vec<Key>> {
    let mut keys: Vec<(String, Key)> = Vec::new();
    for row in rows.rows {
        // An index on an expression has no column there: it is no key of ours, and none of a statement's.
        let [SqlValue::Text(index), column, is_primary, is_deferrable] = <[_; 4]>::try_from(row).ok()? else {
            return None;
        };
        let column = match column {
            SqlValue::Text(column) => column,
            _ => String::new(),
        };
        match keys.last_mut() {
            Some((last, key)) if *last == index => key.columns.push(column),
            _ => {
                let (is_primary, is_deferrable) = (is_true(&is_primary), is_true(&is_deferrable));
                keys.push((index, Key { columns: vec![column], is_primary, is_deferrable }));
            }
        }
    }
    Some(keys.into_iter().map(|(_, key)| key).collect())
}
