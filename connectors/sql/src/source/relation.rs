//! Where rows come from, as the database describes it now.

use tidelock::{Error, ErrorKind, Result, Retry};

use super::config::SqlRelation;
use super::key::{KeyColumn, KeyKind};
use crate::client::{Client, Rows};
use crate::column::Column;
use crate::dialect::Dialect;
use crate::error::Fault;
use crate::kind::DatabaseKind;
use crate::names::TableName;
use crate::table::{Key, Table};

const OPERATION: &str = "look at a table";

const NO_ORDER: &str = "a key is made of integers, texts, bytes, dates, timestamps and uuids: values of this column have not one \
     order, or do not come back exactly as they are stored";

/// A table, a view or a query.
pub(super) struct Relation {
    pub(super) dialect: &'static Dialect,
    /// What stands behind FROM.
    pub(super) from: String,
    /// The name of a table or view; `None` of a query.
    pub(super) table: Option<String>,
    /// The names of the columns, in their order.
    names: Vec<String>,
    /// What they hold; none of a query.
    columns: Vec<Column>,
    keys: Vec<Key>,
    /// Other tables inherit from it: their rows are read with its own, and its indexes say nothing of them.
    has_heirs: bool,
    orders: Vec<(String, String)>,
    /// Columns of a query that can be in no key.
    unordered: Vec<String>,
}

/// Of PostgreSQL, where partitions are no heirs in this sense: an index of a partitioned table is of all its rows.
const HEIRS: &str = "SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent WHERE c.relkind = 'r' \
     AND i.inhparent = to_regclass(coalesce(quote_ident($1) || '.', '') || quote_ident($2)) LIMIT 1";

/// The columns by which rows are put in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) names: Vec<String>,
    /// Whether an index says that no two rows have one key, as the server compares them.
    pub(super) is_unique: bool,
    /// Whether the database says that no part of it is missing.
    pub(super) is_complete: bool,
}

impl Relation {
    /// Asks the database.
    ///
    /// # Errors
    /// Where there is no such table, we may not see it, or the query is none.
    pub(super) async fn look(client: &mut Client, kind: DatabaseKind, rows: &SqlRelation) -> Result<Self> {
        let dialect = Dialect::of(kind);
        match rows {
            SqlRelation::Table(table) => {
                Self::of_table(client, dialect, &TableName::parse("rows", table)?).await
            }
            SqlRelation::Query(query) => Self::of_query(client, dialect, query).await,
        }
    }

    async fn of_table(client: &mut Client, dialect: &'static Dialect, name: &TableName) -> Result<Self> {
        let columns = Table::columns_of(client, dialect, name).await?;
        if columns.is_empty() {
            let why = "there is no such table or view, or the user has no right to see it";
            return Err(Error::new(ErrorKind::NotFound, OPERATION, why).with("table", name));
        }
        let has_heirs = match dialect.kind {
            DatabaseKind::Postgres => {
                let failed = |fault: Fault| fault.during(OPERATION).with("table", name);
                !client.query(HEIRS, name.values()).await.map_err(failed)?.rows.is_empty()
            }
            _ => false,
        };
        Ok(Self {
            dialect,
            has_heirs,
            from: name.quoted(dialect),
            table: Some(name.to_string()),
            names: columns.iter().map(|column| column.name.clone()).collect(),
            columns,
            keys: Table::keys_of(client, dialect, name).await?,
            orders: Table::orders_of(client, dialect, name).await?,
            unordered: Vec::new(),
        })
    }

    async fn of_query(client: &mut Client, dialect: &'static Dialect, query: &str) -> Result<Self> {
        // A comment may stand at its end.
        let from = format!("({}\n) AS tidelock_rows", query.trim().trim_end_matches(';'));
        let failed = |fault: Fault| fault.during(OPERATION).with("table", "a query");
        let none =
            client.query(&format!("SELECT * FROM {from} LIMIT 0"), Vec::new()).await.map_err(failed)?;
        let Rows { columns: names, unordered, .. } = none;
        Ok(Self {
            dialect,
            from,
            table: None,
            names,
            columns: Vec::new(),
            keys: Vec::new(),
            has_heirs: false,
            orders: Vec::new(),
            unordered,
        })
    }

    /// The table for people.
    pub(super) fn shown(&self) -> &str {
        self.table.as_deref().unwrap_or("a query")
    }

    pub(super) fn wrong(&self, kind: ErrorKind, why: impl Into<String>) -> Error {
        Error::new(kind, OPERATION, why).with_retry(Retry::Halt).with("table", self.shown())
    }

    /// A column of a table that must be there.
    pub(super) fn column(&self, name: &str) -> Result<&Column> {
        let found = self.columns.iter().find(|column| column.name == name);
        found.ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> Error {
        self.wrong(ErrorKind::NotFound, "there is no such column").with("column", name)
    }

    /// The columns that were asked for, or the primary key.
    pub(super) fn choose(&self, wanted: &[String]) -> Result<Chosen> {
        let primary = self.keys.iter().find(|key| key.is_primary);
        let names = match (wanted, primary) {
            ([], Some(primary)) => primary.columns.clone(),
            ([], None) => {
                let why = "there is no primary key: name the columns of a unique one by the setting `key`";
                return Err(self.wrong(ErrorKind::Config, why).with("setting", "key"));
            }
            (wanted, _) => wanted.to_vec(),
        };
        if let Some(name) = names.iter().find(|name| !self.names.contains(name)) {
            return Err(self.missing(name).with("setting", "key"));
        }
        if let Some(name) = names.iter().find(|name| self.unordered.contains(name)) {
            return Err(self.wrong(ErrorKind::Config, NO_ORDER).with("column", name));
        }
        let has = |key: &Key| key.columns.iter().all(|column| names.contains(column));
        // An index may compare texts by another order than its column, and then says nothing of that of the column.
        let says = |key: &Key| has(key) && (key.is_primary || !self.has_text(&key.columns));
        // In SQLite a primary key may have missing parts.
        let is_given = |name: &String| self.column(name).is_ok_and(|column| !column.nullable);
        let is_complete =
            self.dialect.kind != DatabaseKind::Sqlite && !self.has_heirs && names.iter().all(is_given);
        let is_unique = !self.has_heirs && self.keys.iter().any(says);
        Ok(Chosen { is_unique, is_complete, names })
    }

    fn has_text(&self, names: &[String]) -> bool {
        names.iter().any(|name| {
            self.column(name)
                .is_ok_and(|column| KeyKind::of_column(self.dialect, &column.kind) == Some(KeyKind::Text))
        })
    }

    /// What the columns of a table's key are: each must have one order.
    pub(super) fn key(&self, names: &[String]) -> Result<Vec<KeyColumn>> {
        names.iter().map(|name| self.key_column(name)).collect()
    }

    fn key_column(&self, name: &str) -> Result<KeyColumn> {
        let column = self.column(name)?;
        let Some(kind) = KeyKind::of_column(self.dialect, &column.kind) else {
            return Err(self.wrong(ErrorKind::Config, NO_ORDER).with("column", name));
        };
        let order = self.orders.iter().find(|(column, order)| column == name && !order.is_empty());
        let order = order.map(|(_, order)| order.clone()).filter(|_| kind == KeyKind::Text);
        Ok(KeyColumn { name: name.to_owned(), kind, order })
    }

    /// The columns that a record has fields for.
    pub(super) fn record(&self, fields: Option<&[&str]>) -> Result<Vec<String>> {
        let is_field = |name: &&String| fields.is_none_or(|fields| fields.contains(&name.as_str()));
        let record: Vec<String> = self.names.iter().filter(is_field).cloned().collect();
        if record.is_empty() {
            let why =
                format!("none of its columns is a field of the record: {:?}", fields.unwrap_or_default());
            return Err(self.wrong(ErrorKind::Config, why));
        }
        Ok(record)
    }
}
