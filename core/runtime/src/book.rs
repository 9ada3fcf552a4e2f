//! The book of one worker: what its sources, operators and writers contribute to each epoch. A page
//! that is complete becomes the worker's one report for that epoch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tidelock::host::{News, PartChange, PreparedState, Report, SplitState};
use tidelock::{Attempt, Epoch, Uid};

use crate::outbox::Outbox;

/// How an attempt begins, known once the coordinator has recovered. Nothing flows before.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) attempt: Attempt,
    pub(crate) epoch: Epoch,
}

/// What one part of the graph contributes to an epoch.
#[derive(Debug)]
pub(crate) enum Part {
    Source(Vec<SplitState>),
    Operator(Vec<PartChange>),
    Sink(Vec<PreparedState>),
}

#[derive(Debug)]
pub(crate) struct Book {
    worker: u32,
    outbox: Arc<Outbox>,
    start: OnceLock<Start>,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    /// How many parts the worker has: each contributes once to each epoch.
    parts: usize,
    /// The epoch that is reported next.
    next: Epoch,
    open: BTreeMap<Epoch, Page>,
}

#[derive(Debug, Default)]
struct Page {
    contributed: usize,
    report: Report,
}

impl Book {
    pub(crate) fn new(worker: u32, outbox: Arc<Outbox>) -> Arc<Self> {
        Arc::new(Self { worker, outbox, start: OnceLock::new(), pages: Mutex::default() })
    }

    /// One more part of the graph contributes. Called while the graph is built.
    pub(crate) fn add_part(&self) {
        self.lock().parts += 1;
    }

    /// Fixes attempt and first epoch.
    pub(crate) fn begin(&self, start: Start) {
        self.lock().next = start.epoch;
        let _ = self.start.set(start);
    }

    /// `None` before the attempt began.
    pub(crate) fn start(&self) -> Option<&Start> {
        self.start.get()
    }

    /// Adds a part's contribution. Pages are reported in the order of epochs, also where a part of a
    /// later one is stored sooner.
    pub(crate) fn contribute(&self, epoch: Epoch, uid: &Uid, part: Part) {
        let attempt = self.start.get().map(|start| start.attempt.number).unwrap_or_default();
        let mut pages = self.lock();
        let page = pages.open.entry(epoch).or_default();
        page.contributed += 1;
        match part {
            // What did not change is not mentioned.
            Part::Source(splits) if splits.is_empty() => {}
            Part::Operator(changes) if changes.is_empty() => {}
            Part::Sink(prepared) if prepared.is_empty() => {}
            Part::Source(splits) => drop(page.report.sources.insert(uid.clone(), splits)),
            Part::Operator(changes) => drop(page.report.operators.insert(uid.clone(), changes)),
            Part::Sink(prepared) => drop(page.report.sinks.insert(uid.clone(), prepared)),
        }
        while let Some(page) = pages.pop_complete() {
            let report = Report { epoch: pages.next, attempt, task: self.worker, ..page.report };
            pages.next = pages.next.next();
            self.outbox.push(News::Report(report));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn pop_complete(&mut self) -> Option<Page> {
        let parts = self.parts;
        let entry = self.open.first_entry()?;
        (*entry.key() == self.next && entry.get().contributed == parts).then(|| entry.remove())
    }
}
