//! Records that cannot be taken as they are, set aside one by one.
//!
//! A target may refuse a single record for ever: it is too long, it holds a value that the target has no
//! form for, it breaks a constraint. Where the writer can tell such a record from a target that is gone,
//! it is [`Rejecting`], and the host decides what becomes of the record:
//!
//! ```text
//!   write(batch) ──> taken ────────────────────────────────> prepare(n) ──> Report(n)
//!                └─> Rejects ──> host ──> another sink's writer ──> prepare(n) ──┘
//!                                                 both are of epoch n, or neither is
//! ```
//!
//! A host that has no place for them says nothing, and then a bad record is what it always was: an
//! error. So nothing is lost where a host, or a writer that wraps another one, knows nothing of this page.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result, SinkWriter, Uid};

/// A record that somebody could not take, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected<R> {
    /// The function, operator or sink that could not take it.
    pub uid: Uid,
    /// Why, in one line for people.
    pub reason: String,
    /// The record's event time in milliseconds since 1970, where it is known.
    pub time: Option<i64>,
    /// The record as it came.
    pub record: R,
}

impl<R> Rejected<R> {
    /// The same with another record: shortened, or without what must not be kept.
    pub fn map<B>(self, logic: impl FnOnce(R) -> B) -> Rejected<B> {
        let Self { uid, reason, time, record } = self;
        Rejected { uid, reason, time, record: logic(record) }
    }
}

/// A rejected record in a form that every sink can hold: four fields of text and numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Who could not take it.
    pub uid: Uid,
    /// Why, in one line for people.
    pub reason: String,
    /// The record's event time in milliseconds since 1970, where it is known.
    pub time: Option<i64>,
    /// The record as JSON; nothing where it has no form in JSON, and then the reason is all there is.
    pub record: Option<String>,
}

impl<R: Serialize> From<Rejected<R>> for DeadLetter {
    fn from(rejected: Rejected<R>) -> Self {
        let Rejected { uid, reason, time, record } = rejected;
        Self { uid, reason, time, record: serde_json::to_string(&record).ok() }
    }
}

/// A writer that can set single records aside.
///
/// There is no default: a writer that wraps another one and does not pass this on is not `Rejecting`, and
/// the inner one goes on to fail.
pub trait Rejecting: SinkWriter {
    /// Says where rejected records go from now on. Called once, before anything is written; where it is
    /// not called, a bad record is an error of [`ErrorKind::Data`].
    ///
    /// # Contract
    /// - MUST reject for what the *record* is, and never for the state of the target: what may be taken
    ///   another time is an error.
    /// - MUST leave nothing of a rejected record in the target, and everything of the records beside it.
    /// - Each record that [`SinkWriter::write`] takes off the front MUST be written or rejected: once, and
    ///   not both.
    /// - MUST have rejected the last record of an epoch when [`SinkWriter::prepare`] returns: the host hands
    ///   over what it finds then, and lets the barrier pass.
    ///
    /// # Crash
    /// What was rejected belongs to the epoch: a replay rejects it again, or takes it.
    fn reject_to(&mut self, rejects: Rejects<Self::Record>);
}

/// Where a writer puts the records that it cannot take. Clones share one place.
///
/// A new one is for nobody: it makes every rejected record an error, which is what a writer begins with.
pub struct Rejects<R> {
    place: Option<Arc<Place<R>>>,
}

type Place<R> = Mutex<Vec<(R, Error)>>;

impl<R> Rejects<R> {
    /// A place that keeps rejected records until the host takes them. It is bounded by what the writer was
    /// given: the host takes them after each call.
    pub fn kept() -> Self {
        Self { place: Some(Arc::default()) }
    }

    /// Sets a record aside because of `error`.
    ///
    /// # Errors
    /// `error` itself, where there is no place, and where it is not of [`ErrorKind::Data`]: everything else
    /// is no fault of the record, and another attempt may take it.
    pub fn push(&self, record: R, error: Error) -> Result<()> {
        match &self.place {
            Some(place) if error.kind() == ErrorKind::Data => {
                place.lock().unwrap_or_else(PoisonError::into_inner).push((record, error));
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Takes everything that was rejected, in its order.
    #[must_use = "what is taken and dropped is lost"]
    pub fn take(&self) -> Vec<(R, Error)> {
        let Some(place) = &self.place else { return Vec::new() };
        std::mem::take(&mut *place.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<R> Default for Rejects<R> {
    fn default() -> Self {
        Self { place: None }
    }
}

impl<R> Clone for Rejects<R> {
    fn clone(&self) -> Self {
        Self { place: self.place.clone() }
    }
}

impl<R> fmt::Debug for Rejects<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejects").field("kept", &self.place.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "write", "no")
    }

    #[test]
    fn without_a_place_a_bad_record_is_an_error() {
        let rejects = Rejects::default();
        assert_eq!(rejects.push(1, error(ErrorKind::Data)).unwrap_err().kind(), ErrorKind::Data);
        assert!(rejects.take().is_empty());
    }

    #[test]
    fn only_what_is_the_fault_of_the_record_is_set_aside() {
        let rejects = Rejects::kept();
        let writer = rejects.clone();
        writer.push(1, error(ErrorKind::Data)).unwrap();
        assert!(writer.push(2, error(ErrorKind::Unavailable)).is_err());
        writer.push(3, error(ErrorKind::Data)).unwrap();
        assert_eq!(rejects.take().into_iter().map(|(record, _)| record).collect::<Vec<_>>(), [1, 3]);
        assert!(rejects.take().is_empty());
    }

    #[test]
    fn a_dead_letter_has_the_record_where_it_can_be_serialized() {
        let uid = Uid::new("out").unwrap();
        let rejected = Rejected { uid, reason: "too long".to_owned(), time: Some(7), record: vec![("a", 1)] };
        let letter = DeadLetter::from(rejected.clone());
        assert_eq!((letter.record.as_deref(), letter.time), (Some(r#"[["a",1]]"#), Some(7)));
        let unwritable = std::collections::BTreeMap::from([((1, 2), 3)]);
        let letter = DeadLetter::from(rejected.map(|_| unwritable));
        assert_eq!((letter.record, &*letter.reason), (None, "too long"));
    }
}
