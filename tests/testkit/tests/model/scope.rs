//! The bounds of one exploration, and how its world may be broken on purpose.

use tidelock::protocol::{Limits, Mutant, SinkIndex};

/// What kind of target a sink writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Ends transactions by name, whatever they hold: a name that is used again too early is punished.
    Transactions,
    /// Applies an epoch's writes once, and never an epoch below one that it applied.
    WriteAhead,
}

/// A rule outside the machine that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Defect {
    /// Pruning deletes claims.
    PrunesClaims,
    /// Pruning deletes the entry directly below a claim.
    PrunesBelowClaims,
    /// A writer goes on with the same name after an answer to its commit was missing.
    NeverFresh,
    /// A write-ahead target applies an epoch below one that it applied.
    NotMonotone,
}

/// Bounds. Whatever is not bounded here happens at any time and in any order.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) name: &'static str,
    /// Each reads its own split, and has one writer for each of its sinks.
    pub(crate) tasks: u32,
    pub(crate) sinks: Vec<Kind>,
    /// Task `t` writes to sink `t % sinks` alone, instead of to all.
    pub(crate) diagonal: bool,
    /// Records of each split, one an epoch.
    pub(crate) records: u8,
    /// So many of them are there from the beginning; the others arrive.
    pub(crate) there: u8,
    /// A first run starts at the end of what is there, else at the beginning.
    pub(crate) latest: bool,
    /// Attempts in all, and alive at once.
    pub(crate) attempts: usize,
    pub(crate) alive: usize,
    /// Attempts crash, too; else they are only paused and fenced.
    pub(crate) crashes: bool,
    pub(crate) epochs_in_flight_max: u32,
    pub(crate) tolerable_failures: u32,
    /// Names over which a writer rotates.
    pub(crate) slots: usize,
    /// Answers to creates that are lost, come late, or say "taken" to what is ours.
    pub(crate) lost: u8,
    /// Commits whose answer is missing: the request may be applied late, and any number of times.
    pub(crate) delays: u8,
    pub(crate) timeouts: u8,
    pub(crate) cancels: u8,
    pub(crate) stops: u8,
    /// How often prepared data is thrown away by the target while no attempt is alive.
    pub(crate) throws: u8,
    /// Entries are pruned, one snapshot retained.
    pub(crate) prune: bool,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) defect: Option<Defect>,
}

impl Scope {
    /// The smallest scope with two attempts alive at once.
    pub(crate) fn small(name: &'static str) -> Self {
        Self {
            name,
            tasks: 1,
            sinks: vec![Kind::Transactions],
            diagonal: false,
            records: 2,
            there: 2,
            latest: false,
            attempts: 2,
            alive: 2,
            crashes: true,
            epochs_in_flight_max: 2,
            tolerable_failures: 1,
            slots: 2,
            lost: 0,
            delays: 0,
            timeouts: 0,
            cancels: 0,
            stops: 0,
            throws: 0,
            prune: false,
            mutant: None,
            defect: None,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            tasks: self.tasks,
            sinks: self.sinks.len() as SinkIndex,
            epochs_in_flight_max: self.epochs_in_flight_max,
            tolerable_failures: self.tolerable_failures,
            commit_margin: 0,
        }
    }

    /// The sinks that a task writes to.
    pub(crate) fn route(&self, task: usize) -> impl Iterator<Item = SinkIndex> + use<> {
        let (sinks, diagonal) = (self.sinks.len(), self.diagonal);
        (0..sinks).filter(move |sink| !diagonal || task % sinks == *sink).map(|sink| sink as SinkIndex)
    }

    pub(crate) fn with_mutant(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    pub(crate) fn with_defect(mut self, defect: Defect) -> Self {
        self.defect = Some(defect);
        self
    }
}
