//! Rows that cannot be, in the modes that write them before the barrier: there the host may have a place for them.

use std::sync::Arc;

use serde::Serialize;
use tidelock::{Error, Rejects, Result};

use crate::change::{Change, StoredChange};
use crate::config::RecordPolicy;
use crate::error::Fault;
use crate::refused::{tell, what_cannot_be};
use crate::shape::Shape;
use crate::value::SqlValue;

/// What a dead letter says of a row: operation, reason, record.
pub(crate) type Letter = [SqlValue; 3];

/// What becomes of a record that the table cannot take: it goes to the host's place where it has one, and otherwise the policy decides.
pub(crate) struct Aside<T> {
    shape: Arc<Shape>,
    policy: RecordPolicy,
    pub(crate) rejects: Option<Rejects<Change<T>>>,
}

impl<T> Aside<T> {
    pub(crate) fn new(shape: Arc<Shape>, policy: RecordPolicy) -> Self {
        Self { shape, policy, rejects: None }
    }

    /// A row that violates a constraint. What is to be kept of it is a letter.
    ///
    /// # Errors
    /// Where the policy is to fail: with table, constraint, key and remedy, and never with the row.
    pub(crate) fn violation(
        &self,
        change: &StoredChange,
        record: Change<T>,
        fault: Fault,
        remedy: &'static str,
    ) -> Result<Option<Letter>> {
        let key = self.shape.shown_key(&change.row);
        if self.rejects.is_none() && self.policy != RecordPolicy::Fail {
            tell(&self.shape, change.operation, &key, &fault.message, fault.constraint.as_deref());
            return Ok(Some(what_cannot_be(change, &fault)));
        }
        let error = fault
            .during("write a row")
            .with("table", &self.shape.name)
            .with("operation", change.operation.name())
            .with("key", key);
        match &self.rejects {
            Some(rejects) => rejects.push(record, error).map(|()| None),
            None => Err(error.with("remedy", remedy)),
        }
    }
}

impl<T: Serialize> Aside<T> {
    /// A record whose values do not fit the table. What is to be kept of it is a letter.
    ///
    /// # Errors
    /// The same error, where the policy is to fail.
    pub(crate) fn misfit(&self, change: Change<T>, error: Error) -> Result<Option<Letter>> {
        if let Some(rejects) = &self.rejects {
            return rejects.push(change, error).map(|()| None);
        }
        if self.policy == RecordPolicy::Fail {
            return Err(error);
        }
        let operation = change.operation();
        tell(&self.shape, operation, "?", &error.to_string(), None);
        let record = serde_json::to_string(change.record()).map_or(SqlValue::Null, SqlValue::Text);
        Ok(Some([SqlValue::Text(operation.name().to_owned()), SqlValue::Text(error.to_string()), record]))
    }
}
