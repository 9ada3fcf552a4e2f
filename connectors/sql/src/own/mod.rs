//! Statements of the user's own, in the place of those that are made for a table.
//!
//! The fields of a record are the parameters of its statement, by their names. What travels in the job's log are names and values, as
//! with a table; the statement is the one of the settings when they are applied. It runs within the transaction of the mode, so that
//! it need not be idempotent.

mod template;

use std::sync::Arc;

use serde::Serialize;
use tidelock::{Error, ErrorKind, Result};

use self::template::Template;
use crate::change::{Fields, Operation, StoredChange};
use crate::client::Client;
use crate::column::{Column, ColumnType, TextType};
use crate::config::Statements;
use crate::dialect::Dialect;
use crate::error::{Class, Fault};
use crate::fit::{Misfit, fit};
use crate::kind::DatabaseKind;
use crate::row::{json, to_row};
use crate::value::SqlValue;

/// The statements of a sink: one for each operation that it has.
pub(crate) struct Own {
    dialect: &'static Dialect,
    templates: Vec<(Operation, Template)>,
}

/// The name of the setting that has the statement of an operation.
fn setting_of(operation: Operation) -> &'static str {
    match operation {
        Operation::Insert | Operation::Letter => "statements.insert",
        Operation::Upsert => "statements.upsert",
        Operation::Update => "statements.update",
        Operation::Delete => "statements.delete",
    }
}

impl Own {
    /// Reads the statements; `None` where there are none.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the setting whose statement cannot be one.
    pub(crate) fn parse(dialect: &'static Dialect, statements: &Statements) -> Result<Option<Self>> {
        let Statements { insert, upsert, update, delete } = statements;
        let given = [
            (Operation::Insert, insert),
            (Operation::Upsert, upsert),
            (Operation::Update, update),
            (Operation::Delete, delete),
        ];
        let mut templates = Vec::new();
        for (operation, text) in given {
            if let Some(text) = text {
                templates.push((operation, Template::parse(dialect, setting_of(operation), text)?));
            }
        }
        Ok((!templates.is_empty()).then_some(Self { dialect, templates }))
    }

    fn template(&self, operation: Operation) -> Option<&Template> {
        self.templates.iter().find(|(of, _)| *of == operation).map(|(_, template)| template)
    }

    /// Lets the database read each statement, and do nothing.
    pub(crate) async fn look(&self, client: &mut Client) -> Result<()> {
        for (operation, template) in &self.templates {
            for statement in self.dialect.reads(&template.sql) {
                let ran = client.run(&statement).await;
                ran.map_err(|fault| {
                    fault.during("look at a statement").with("setting", setting_of(*operation))
                })?;
            }
        }
        Ok(())
    }

    /// The values that an operation on a record binds.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] where a field is missing or has no form in the database, and [`ErrorKind::Config`] where the operation
    /// has no statement or no parameter names a field.
    pub(crate) fn row<T: Serialize>(&self, operation: Operation, record: &T) -> Result<Fields> {
        let wrong = |kind, why: &str| {
            Error::new(kind, "write a row", why)
                .with("operation", operation.name())
                .with("setting", setting_of(operation))
        };
        let Some(template) = self.template(operation) else {
            return Err(wrong(
                ErrorKind::Config,
                "there is no statement for this operation: say one by this setting",
            ));
        };
        let refuse = |why: &str| wrong(ErrorKind::Data, why);
        let record = to_row(record).map_err(|why| refuse(&why))?;
        let mut fields: Vec<(usize, SqlValue)> = Vec::with_capacity(record.fields.len());
        for (name, value) in record.fields {
            let Some(at) = template.names.iter().position(|parameter| **parameter == *name) else {
                let why = "the record has a field that no parameter of the statement names";
                return Err(wrong(ErrorKind::Config, why).with("field", name));
            };
            let kind = value.type_name();
            let value = parameter(self.dialect, value)
                .map_err(|why| refuse(&why.to_string()).with("field", &name).with("value", kind))?;
            fields.push((at, value));
        }
        fields.sort_by_key(|(at, _)| *at);
        let missing =
            template.names.iter().enumerate().find(|(at, _)| fields.iter().all(|(other, _)| other != at));
        if let Some((_, name)) = missing {
            return Err(
                refuse("the statement has a parameter that is no field of the record").with("field", name)
            );
        }
        Ok(Fields(fields.into_iter().map(|(at, value)| (Arc::clone(&template.names[at]), value)).collect()))
    }

    /// Runs the statement of each change.
    pub(crate) async fn write(&self, client: &mut Client, changes: &[StoredChange]) -> Result<(), Fault> {
        for change in changes {
            let Some(template) = self.template(change.operation) else {
                let why =
                    format!("there is no statement for this operation: {}", setting_of(change.operation));
                return Err(Fault::new(Class::Impossible, "", why));
            };
            client.execute(&template.sql, template.values(&change.row)?).await?;
        }
        Ok(())
    }
}

/// The form in which a value is bound. What it becomes says the database, which knows where it goes.
fn parameter(dialect: &Dialect, value: SqlValue) -> Result<SqlValue, Misfit> {
    let as_in = |kind, value| {
        let column = Column { name: String::new(), kind, nullable: true, fills: false, generated: false };
        fit(dialect, &column, value)
    };
    match value {
        value if dialect.kind == DatabaseKind::Sqlite => as_in(ColumnType::Any, value),
        value @ SqlValue::F64(_) => as_in(ColumnType::Double, value),
        value @ SqlValue::Text(_) => as_in(ColumnType::Text(TextType::default()), value),
        value @ (SqlValue::Array(_) | SqlValue::Json(_)) if dialect.kind == DatabaseKind::MySql => {
            json::text_of(&value).map(SqlValue::Text).map_err(Misfit::Value)
        }
        value => Ok(value),
    }
}
