//! Names of tables.

use std::fmt;

use tidelock::Result;

use crate::dialect::Dialect;
use crate::error::setting;
use crate::value::SqlValue;

/// The name of a table, perhaps with its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

impl TableName {
    /// Reads `name` or `schema.name`.
    pub(crate) fn parse(setting_name: &str, text: &str) -> Result<Self> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        let is_name = |name: &str| !name.is_empty() && !name.contains(['.', '\0']);
        if !is_name(name) || !schema.is_none_or(is_name) {
            return Err(setting(setting_name, "a table's name is required, as `table` or `schema.table`"));
        }
        Ok(Self { schema: schema.map(str::to_owned), name: name.to_owned() })
    }

    /// What stands in the place of a table's name where statements of the user's own say it.
    pub(crate) fn of_statements() -> Self {
        Self { schema: None, name: "statements".into() }
    }

    /// The name as statements have it.
    pub(crate) fn quoted(&self, dialect: &Dialect) -> String {
        let mut sql = String::new();
        if let Some(schema) = &self.schema {
            dialect.quote(&mut sql, schema);
            sql.push('.');
        }
        dialect.quote(&mut sql, &self.name);
        sql
    }

    /// Schema and name, as the queries about tables want them.
    pub(crate) fn values(&self) -> Vec<SqlValue> {
        let schema = self.schema.clone().map_or(SqlValue::Null, SqlValue::Text);
        vec![schema, SqlValue::Text(self.name.clone())]
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
