//! The graph of a job while it is built: once on every worker, by the same function.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use futures::future::BoxFuture;
use tidelock::host::Opening;
use tidelock::job::Restored;
use tidelock::{Error, ErrorKind, Result, SinkControl, SourceControl, Uid};
use timely::dataflow::Scope;

use crate::book::Book;
use crate::seat::Seat;
use crate::shared::Shared;
use crate::sink::Settle;
use crate::source::Inbox;
use crate::time::Time;

/// Readies one part of the graph for an attempt: opens a writer, loads an operator's state.
pub(crate) type Opener = Box<dyn FnOnce(Arc<Opening>) -> BoxFuture<'static, Result<()>> + Send>;

/// Builds a job's graph: sources here, everything else on the [`Stream`](crate::Stream)s that they
/// give.
///
/// The function that builds it runs once on every worker and must build the same graph each time.
#[derive(Clone)]
pub struct Graph<'s> {
    scope: Scope<'s, Time>,
    pub(crate) inner: Rc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) book: Arc<Book>,
    pub(crate) seat: Seat,
    restored: Option<Restored>,
    origins: Cell<u32>,
    plan: RefCell<Plan>,
}

/// What one worker built: how orders reach it, and what the coordinator must know.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) sources: BTreeMap<Uid, (Arc<dyn SourceControl>, Arc<Inbox>)>,
    pub(crate) operators: BTreeSet<Uid>,
    pub(crate) sinks: BTreeMap<Uid, (Arc<dyn SinkControl>, Arc<Settle>)>,
    pub(crate) openers: Vec<(Uid, Opener)>,
    /// All uids, also those of lookups, which keep no state.
    uids: BTreeSet<Uid>,
    error: Option<Error>,
}

impl<'s> Graph<'s> {
    pub(crate) fn new(
        scope: Scope<'s, Time>,
        shared: Arc<Shared>,
        book: Arc<Book>,
        restored: Option<Restored>,
    ) -> Self {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let inner = Inner {
            shared,
            book,
            seat: Seat { worker: count(scope.index()), workers: count(scope.peers()) },
            restored,
            origins: Cell::new(0),
            plan: RefCell::default(),
        };
        Self { scope, inner: Rc::new(inner) }
    }

    /// What this run restores; `None` on a first run.
    pub fn restored(&self) -> Option<&Restored> {
        self.inner.restored.as_ref()
    }

    /// The number of this worker, from 0.
    pub fn worker(&self) -> u32 {
        self.inner.seat.worker
    }

    /// How many workers run the graph.
    pub fn workers(&self) -> u32 {
        self.inner.seat.workers
    }

    pub(crate) fn scope(&self) -> Scope<'s, Time> {
        self.scope
    }

    /// Checks a uid and that it is new. A wrong one is reported when the graph is complete, so that
    /// building needs no error handling.
    pub(crate) fn uid(&self, name: &str) -> Uid {
        match Uid::new(name) {
            Ok(uid) => uid,
            Err(error) => {
                self.fail(error);
                Uid::new("invalid").expect("invariant: a legal name")
            }
        }
    }

    /// Notes an error of the graph itself. The first one ends the run before anything is claimed.
    pub(crate) fn fail(&self, error: Error) {
        self.inner.plan.borrow_mut().error.get_or_insert(error);
    }

    /// A number for a new origin of watermarks, the same on every worker.
    pub(crate) fn new_origin(&self) -> u32 {
        let origin = self.inner.origins.get();
        self.inner.origins.set(origin + 1);
        origin
    }

    pub(crate) fn add_source(&self, uid: &Uid, control: Arc<dyn SourceControl>, inbox: Arc<Inbox>) {
        self.add(uid, |plan| drop(plan.sources.insert(uid.clone(), (control, inbox))));
    }

    pub(crate) fn add_operator(&self, uid: &Uid, opener: Opener) {
        self.add(uid, |plan| {
            plan.operators.insert(uid.clone());
            plan.openers.push((uid.clone(), opener));
        });
    }

    pub(crate) fn add_sink(
        &self,
        uid: &Uid,
        control: Arc<dyn SinkControl>,
        settle: Arc<Settle>,
        opener: Opener,
    ) {
        self.add(uid, |plan| {
            plan.sinks.insert(uid.clone(), (control, settle));
            plan.openers.push((uid.clone(), opener));
        });
    }

    fn add(&self, uid: &Uid, add: impl FnOnce(&mut Plan)) {
        self.take_uid(uid);
        add(&mut self.inner.plan.borrow_mut());
        self.inner.book.add_part();
    }

    /// A uid names one thing.
    pub(crate) fn take_uid(&self, uid: &Uid) {
        if !self.inner.plan.borrow_mut().uids.insert(uid.clone()) {
            let error =
                Error::new(ErrorKind::Config, "build graph", "two parts of the graph have the same uid");
            self.fail(error.with("uid", uid));
        }
    }

    /// The finished plan of this worker.
    pub(crate) fn finish(&self) -> Result<Plan> {
        let mut plan = self.inner.plan.take();
        if let Some(error) = plan.error.take() {
            return Err(error);
        }
        if plan.sources.is_empty() {
            return Err(Error::new(ErrorKind::Config, "build graph", "a job needs a source"));
        }
        Ok(plan)
    }
}

impl Plan {
    /// All uids: equal on all workers, or they did not build the same graph.
    pub(crate) fn shape(&self) -> &BTreeSet<Uid> {
        &self.uids
    }
}

impl fmt::Debug for Graph<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").field("worker", &self.inner.seat.worker).finish_non_exhaustive()
    }
}
