//! The statements of a lookup: of a few sizes, so that each connection prepares a few and keeps them.

use tidelock::{Error, ErrorKind, Result, Retry};

use crate::client::Client;
use crate::column::Column;
use crate::dialect::Dialect;
use crate::kind::DatabaseKind;
use crate::names::TableName;
use crate::table::Table;
use crate::value::SqlValue;

/// How many keys a statement asks for. A request of fewer repeats its last one up to the next size.
const SIZES: [usize; 5] = [1, 8, 64, 256, 1_024];

/// What is asked, and how an answer is read.
pub(super) struct Plan {
    pub(super) dialect: &'static Dialect,
    pub(super) key: Vec<Column>,
    /// What a value is made of: they come first in each row, and the key's columns behind them.
    pub(super) columns: Vec<String>,
    key_names: Vec<String>,
    by_key: Vec<OfSize>,
    /// Reads what a key is, and no row.
    of_no_row: String,
    whole: String,
}

/// A statement for a number of keys.
struct OfSize {
    keys: usize,
    statement: String,
}

impl Plan {
    /// Asks the database what the table has. `fields` are those of the record, where they are known.
    pub(super) async fn make(
        client: &mut Client,
        kind: DatabaseKind,
        table: &str,
        key: &[String],
        fields: Option<&[&str]>,
    ) -> Result<Self> {
        let dialect = Dialect::of(kind);
        let name = TableName::parse("table", table)?;
        let columns = Table::columns_of(client, dialect, &name).await?;
        let wrong = |kind: ErrorKind, why: String| {
            Error::new(kind, "look at a table", why).with_retry(Retry::Halt).with("table", &name)
        };
        if columns.is_empty() {
            let why = "there is no such table or view, or the user has no right to see it";
            return Err(wrong(ErrorKind::NotFound, why.into()));
        }
        let found = key.iter().map(|name| {
            let column = columns.iter().find(|column| column.name == *name);
            let missing =
                || wrong(ErrorKind::NotFound, format!("there is no column {name}, which is in the key"));
            column.cloned().ok_or_else(missing)
        });
        let key_columns = found.collect::<Result<Vec<_>>>()?;
        let names = columns.into_iter().map(|column| column.name);
        let values: Vec<String> =
            names.filter(|name| fields.is_none_or(|fields| fields.contains(&name.as_str()))).collect();
        if values.is_empty() {
            let why =
                format!("none of its columns is a field of the record: {:?}", fields.unwrap_or_default());
            return Err(wrong(ErrorKind::Config, why));
        }
        Ok(Self::of(dialect, &name, key_columns, values))
    }

    fn of(dialect: &'static Dialect, table: &TableName, key: Vec<Column>, columns: Vec<String>) -> Self {
        let key_names: Vec<String> = key.iter().map(|column| column.name.clone()).collect();
        let names = || key_names.iter().map(String::as_str);
        let mut whole = "SELECT ".to_owned();
        dialect.names(&mut whole, columns.iter().map(String::as_str).chain(names()));
        whole.push_str(" FROM ");
        whole.push_str(&table.quoted(dialect));
        let mut left = String::new();
        if key.len() > 1 {
            left.push('(');
        }
        dialect.names(&mut left, names());
        if key.len() > 1 {
            left.push(')');
        }
        let by_key: Vec<OfSize> = if has_lists(dialect) && key.len() == 1 {
            let largest = SIZES[SIZES.len() - 1];
            vec![OfSize { keys: largest, statement: format!("{left} = ANY($1)") }]
        } else {
            let fits = |keys: &usize| keys * key.len() <= dialect.binds_max;
            let sized = |keys: usize| {
                let mut statement = left.clone();
                dialect.in_rows(&mut statement, key.len(), keys);
                OfSize { keys, statement }
            };
            SIZES.into_iter().filter(fits).map(sized).collect()
        };
        let of_no_row = format!("{whole} WHERE 1 = 0 AND {}", by_key[0].statement);
        let by_key = by_key.into_iter().map(|sized| OfSize {
            keys: sized.keys,
            statement: format!("{whole} WHERE {}", sized.statement),
        });
        Self { dialect, key, columns, key_names, by_key: by_key.collect(), of_no_row, whole }
    }

    pub(super) fn key_names(&self) -> &[String] {
        &self.key_names
    }

    /// How many keys can be asked for at once.
    pub(super) fn keys_max(&self) -> usize {
        self.by_key.last().map_or(1, |sized| sized.keys)
    }

    /// The statement for these keys, and its values.
    pub(super) fn ask(&self, keys: Vec<Vec<SqlValue>>) -> (&str, Vec<SqlValue>) {
        let largest = &self.by_key[self.by_key.len() - 1];
        let sized = self.by_key.iter().find(|sized| sized.keys >= keys.len()).unwrap_or(largest);
        if has_lists(self.dialect) && self.key.len() == 1 {
            return (&sized.statement, vec![SqlValue::Array(keys.into_iter().flatten().collect())]);
        }
        let missing = sized.keys.saturating_sub(keys.len());
        let last = keys.last().cloned().unwrap_or_default();
        let padding = std::iter::repeat_n(last, missing).flatten();
        let values = keys.into_iter().flatten().chain(padding).collect();
        (&sized.statement, values)
    }

    /// The same for one key, without a look at any row: it fails where the key is no value of its column.
    pub(super) fn ask_of_no_row(&self, key: Vec<SqlValue>) -> (&str, Vec<SqlValue>) {
        (&self.of_no_row, self.ask(vec![key]).1)
    }

    /// Asks for every row, and one more than there may be.
    pub(super) fn everything(&self, rows_max: usize) -> String {
        format!("{} LIMIT {}", self.whole, rows_max.saturating_add(1))
    }
}

/// Whether a list of values is one value, whatever its length.
fn has_lists(dialect: &Dialect) -> bool {
    dialect.kind == DatabaseKind::Postgres
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::ColumnType;

    fn plan(kind: DatabaseKind, key: &[&str]) -> Plan {
        let column = |&name: &&str| Column {
            name: name.to_owned(),
            kind: ColumnType::Any,
            nullable: false,
            fills: false,
            generated: false,
        };
        let name = TableName::parse("table", "s.t").expect("a name");
        Plan::of(Dialect::of(kind), &name, key.iter().map(column).collect(), vec!["v".into()])
    }

    fn keys(count: i64, columns: i64) -> Vec<Vec<SqlValue>> {
        (0..count).map(|key| (0..columns).map(|part| SqlValue::I64(10 * key + part)).collect()).collect()
    }

    #[test]
    fn there_are_few_statements_and_each_of_them_has_all_its_values() {
        let mysql = plan(DatabaseKind::MySql, &["a", "b"]);
        let (statement, values) = mysql.ask(keys(1, 2));
        assert_eq!(statement, "SELECT `v`, `a`, `b` FROM `s`.`t` WHERE (`a`, `b`) IN ((?, ?))");
        assert_eq!(values, [SqlValue::I64(0), SqlValue::I64(1)]);
        let mut statements = std::collections::BTreeSet::new();
        for count in 1..=1_024 {
            let (statement, values) = mysql.ask(keys(count, 2));
            assert_eq!(statement.matches('?').count(), values.len(), "{count}");
            statements.insert(statement.to_owned());
        }
        assert_eq!(statements.len(), SIZES.len());
        let (_, padded) = mysql.ask(keys(2, 2));
        assert_eq!(padded[2..4], padded[14..16], "the last one again");
    }

    #[test]
    fn postgres_takes_any_number_of_keys_as_one_list_and_rows_of_several_columns_by_size() {
        let one = plan(DatabaseKind::Postgres, &["a"]);
        let (statement, values) = one.ask(keys(3, 1));
        assert_eq!(statement, r#"SELECT "v", "a" FROM "s"."t" WHERE "a" = ANY($1)"#);
        assert_eq!(values, [SqlValue::Array((0..3).map(|key| SqlValue::I64(10 * key)).collect())]);
        let two = plan(DatabaseKind::Postgres, &["a", "b"]);
        let (statement, _) = two.ask(keys(1, 2));
        assert_eq!(statement, r#"SELECT "v", "a", "b" FROM "s"."t" WHERE ("a", "b") IN (($1, $2))"#);
    }

    #[test]
    fn no_statement_has_more_values_than_the_database_takes() {
        let columns: Vec<String> = (0..40).map(|column| format!("c{column}")).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let sqlite = plan(DatabaseKind::Sqlite, &columns);
        assert_eq!(sqlite.keys_max(), 256);
        assert_eq!(sqlite.ask(keys(256, 40)).1.len(), 256 * 40);
    }
}
