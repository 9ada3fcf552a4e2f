//! Whose the things in progress are that stand in a target.
//!
//! ```text
//!   whose                                      what recovery does
//!   an older attempt's, not listed             removed
//!   ours                                       nothing
//!   a newer attempt's, or one of our number    nothing is touched, and the attempt ends
//!   before we opened any writer
//! ```
//!
//! The last line has two causes, which a target cannot tell apart: a newer attempt owns the job, or this one runs on
//! another log than the one that the other attempt ran with. The coordinator looks into the log: a newer claim there
//! means fenced. Otherwise the log is another one, and then not even what looks older may be touched, because that log
//! may list it.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tidelock::{Error, ErrorKind, Retry, SinkAttempt, TargetName};

/// The attempt that recovered or opened writers in this process: from then on what has its number is its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Option<TargetName>>>);

impl Begun {
    /// Notes that an attempt writes.
    pub(super) fn begin(&self, name: TargetName) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }

    pub(super) fn owner(&self, attempt: &SinkAttempt) -> Owner {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_begun = begun.as_ref().is_some_and(|begun| {
            (&begun.job, &begun.uid, begun.attempt) == (&attempt.job, &attempt.uid, attempt.number)
        });
        Owner { attempt: attempt.clone(), has_begun }
    }
}

/// Whose something in progress is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// An older attempt's.
    Leftover,
    /// That of an attempt which is not older than ours, nor ours.
    Stranger,
    /// Ours, or no business of ours.
    LeaveAlone,
}

/// Who recovers.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    attempt: SinkAttempt,
    has_begun: bool,
}

impl Owner {
    /// Whose something under this name is. Names are compared whole.
    pub(super) fn whose(&self, name: &TargetName) -> Whose {
        let Self { attempt, has_begun } = self;
        if name.job != attempt.job || name.uid != attempt.uid {
            return Whose::LeaveAlone;
        }
        match name.attempt.cmp(&attempt.number) {
            Ordering::Less => Whose::Leftover,
            Ordering::Equal if *has_begun => Whose::LeaveAlone,
            Ordering::Equal | Ordering::Greater => Whose::Stranger,
        }
    }

    /// Ends the attempt where there are strangers (I5): before anything is touched.
    pub(super) fn refuse(&self, strangers: Vec<(TargetName, String)>) -> Result<(), Error> {
        let count = strangers.len();
        let Some((name, place)) = strangers.into_iter().max() else { return Ok(()) };
        let why = "an attempt that is not older than this one has files in progress: a newer attempt owns the job, or \
                   the job runs on another log than that attempt did";
        let remedy = "start the job with the log that it ran with before. If that log is lost: remove what is in \
                      progress under the job's name in the hidden folder, which throws it away; or give the job \
                      another id";
        Err(Error::new(ErrorKind::Conflict, "recover files", why)
            .with("in_progress", place)
            .with("its_attempt", name.attempt)
            .with("our_attempt", self.attempt.number)
            .with("places", count)
            .with("remedy", remedy)
            .with_retry(Retry::Halt))
    }
}
