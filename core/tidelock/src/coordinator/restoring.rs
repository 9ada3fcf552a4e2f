//! What an attempt restores: the newest entry of the log, or a snapshot that was asked for.
//!
//! - A graph was built for a job with state or without. What the log holds when it is looked at says the same, or the
//!   attempt ends before it claims.
//! - I8: a request for a rollback or a fork stands until an entry of the log says that it was obeyed, be it another
//!   attempt's: from then on the newest entry is restored.

use std::sync::Arc;

use crate::job::Chosen;
use crate::log::{Entry, State};
use crate::{Error, ErrorKind, Result, Retry};

#[derive(Debug)]
pub(super) struct Restoring {
    /// The graph was built for a job with state.
    with_state: bool,
    chosen: Option<Arc<Chosen>>,
}

impl Restoring {
    pub(super) fn new(with_state: bool, chosen: Option<Chosen>) -> Self {
        Self { with_state, chosen: chosen.map(Arc::new) }
    }

    /// The log was looked at. Returns the state that is restored.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where the graph was built for something else.
    pub(super) fn looked<'s>(&'s mut self, newest: Option<&'s Entry>) -> Result<Option<&'s State>> {
        self.chosen.take_if(|chosen| newest.is_some_and(|newest| chosen.is_obeyed_in(newest)));
        let state = newest.and_then(|newest| newest.state.as_ref());
        let restored = self.chosen.as_ref().map(|chosen| chosen.snapshot.state()).or(state);
        match restored.is_some() == self.with_state {
            true => Ok(restored),
            false => Err(changed_since_open()),
        }
    }

    /// The snapshot that is restored by choice, while that is not obeyed.
    pub(super) fn chosen(&self) -> Option<&Arc<Chosen>> {
        self.chosen.as_ref()
    }
}

/// The log holds something else now than when the job was opened: the graph may have been built for it.
fn changed_since_open() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "claim",
        "another attempt began on this log after it was looked at: what is restored is not what the graph was \
         built for; start again",
    )
    .with_retry(Retry::Restart)
}
