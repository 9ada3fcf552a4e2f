//! How an attempt ends on this side: the first failure anywhere stops all of it.
//!
//! ```text
//!   runs ──first failure──> stopped: the attempt ends with it
//!    │
//!    └──decided──> runs ──a failure──> stopped: the attempt ends as the coordinator says
//! ```
//!
//! Once the coordinator has decided how the job ends, it needs nobody here any more, and its closed entry may stand. A
//! failure after that is told and stops this side, but takes nothing away: whoever started the job again for it would run
//! a job that its user has ended.
//!
//! Timely does not stop on an error. So the first failure sets a flag, cancels every task, and wakes
//! every worker; each worker sees the flag between two steps and drops its dataflow.

use std::any::Any;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use tidelock::{Error, ErrorKind, Uid};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What ended an attempt, and where.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) uid: Option<Uid>,
    pub(crate) error: Error,
}

impl Failure {
    /// The error, with the uid in its context.
    pub(crate) fn into_error(self) -> Error {
        match self.uid {
            Some(uid) => self.error.with("uid", uid),
            None => self.error,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopped: AtomicBool,
    first: Mutex<Option<Failure>>,
    /// Cancelled once the coordinator has decided how the job ends.
    decided: CancellationToken,
    /// Something failed, and only follows from that.
    failed_late: AtomicBool,
    workers: Mutex<Vec<Thread>>,
    /// How many workers step their graph.
    stepping: watch::Sender<usize>,
    token: CancellationToken,
}

impl Stop {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Ends the attempt with an error. Only the first one counts: the others follow from it.
    pub(crate) fn fail(&self, uid: Option<Uid>, error: Error) {
        {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            if self.decided.is_cancelled() && !self.is_set() {
                self.only_follows(&Failure { uid, error });
            } else if first.is_none() && !self.is_set() {
                // Whoever runs the job is told: by the warning of a restart, or by what `run` returns.
                tracing::debug!(uid = uid.as_ref().map(Uid::as_str), %error, "the attempt ends with an error");
                *first = Some(Failure { uid, error });
            }
        }
        self.end();
    }

    /// The coordinator has decided how the job ends. What failed before it heard of that takes nothing away either.
    pub(crate) fn decide(&self) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        self.decided.cancel();
        if let Some(failure) = first.take() {
            self.only_follows(&failure);
        }
    }

    fn only_follows(&self, Failure { uid, error }: &Failure) {
        self.failed_late.store(true, Ordering::SeqCst);
        tracing::warn!(
            uid = uid.as_ref().map(Uid::as_str), %error,
            "this failed while the job was ending, and changes nothing of how it ends"
        );
    }

    /// Cancelled once the coordinator has decided how the job ends.
    pub(crate) fn decided(&self) -> &CancellationToken {
        &self.decided
    }

    /// Something failed after the coordinator had decided how the job ends.
    pub(crate) fn failed_late(&self) -> bool {
        self.failed_late.load(Ordering::SeqCst)
    }

    /// Ends the attempt.
    pub(crate) fn end(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.token.cancel();
        for worker in &*self.workers.lock().unwrap_or_else(PoisonError::into_inner) {
            worker.unpark();
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Cancelled when the attempt ends.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The calling thread is a worker: it is woken at the end.
    pub(crate) fn register_worker(&self) {
        self.stepping.send_modify(|stepping| *stepping += 1);
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(std::thread::current());
    }

    /// A worker has seen the end: no function of the graph is called there any more.
    pub(crate) fn worker_is_through(&self) {
        self.stepping.send_modify(|stepping| *stepping -= 1);
    }

    /// Waits until all workers have seen the end.
    pub(crate) async fn workers_are_through(&self) {
        // The sender lives as long as `self`.
        let _ = self.stepping.subscribe().wait_for(|stepping| *stepping == 0).await;
    }

    /// Looks at the failure that ended the attempt, if one did.
    pub(crate) fn with_failure<T>(&self, look: impl FnOnce(Option<&Failure>) -> T) -> T {
        look(self.first.lock().unwrap_or_else(PoisonError::into_inner).as_ref())
    }

    /// The failure that ended the attempt, once.
    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a caught panic said.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// The error of a caught panic.
pub(crate) fn panic_error(operation: &'static str, panic: &(dyn Any + Send)) -> Error {
    let message = message_of(panic).unwrap_or("no message");
    Error::new(ErrorKind::Bug, operation, format!("a function panicked: {message}"))
}

/// Where the calling worker is in the graph: named in the error when a user's function panics.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The nearest uid at or above the operator.
    pub(crate) uid: Uid,
    /// The operator.
    pub(crate) operator: &'static str,
}

thread_local! {
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

impl Place {
    /// Runs an operator. A panic leaves the place behind, for [`Place::of_panic`].
    pub(crate) fn run<T>(&self, logic: impl FnOnce() -> T) -> T {
        PLACE.set(Some(self.clone()));
        let result = logic();
        PLACE.set(None);
        result
    }

    /// Where the panic that was just caught on this thread happened.
    pub(crate) fn of_panic() -> Option<Self> {
        PLACE.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Error {
        Error::new(ErrorKind::Unavailable, "read", "the broker is gone")
    }

    #[test]
    fn the_first_failure_is_why_an_attempt_ends() {
        let stop = Stop::new();
        stop.fail(None, failure());
        stop.fail(None, Error::new(ErrorKind::Other, "write", "it follows"));
        assert!(stop.is_set() && !stop.failed_late());
        assert_eq!(stop.take_failure().unwrap().error.to_string(), "read: the broker is gone");
    }

    #[test]
    fn what_fails_before_or_after_the_end_is_decided_stops_all_and_is_not_why_it_ends() {
        for decided_first in [true, false] {
            let stop = Stop::new();
            if decided_first {
                stop.decide();
            }
            stop.fail(None, failure());
            stop.decide();
            assert!(stop.is_set() && stop.failed_late());
            assert!(stop.take_failure().is_none(), "decided first: {decided_first}");
        }
    }
}
