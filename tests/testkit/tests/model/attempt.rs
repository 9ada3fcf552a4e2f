//! One attempt: the machine, and the edge and the host around it, in the simplest form that can still
//! do everything wrong that real ones can.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use tidelock::protocol::{Machine, SinkIndex, Token};

use super::log::Entry;
use super::scope::Scope;
use super::target::{Committable, Name, Pending, Record};

/// What may be listed, by epoch and sink.
pub(crate) type Groups = BTreeMap<(u64, SinkIndex), BTreeSet<Pending>>;

/// A name over which a writer rotates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    /// The epoch whose data it holds.
    pub(crate) holds: Option<u64>,
    pub(crate) fresh: u8,
}

/// Reads a split and writes to sinks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    /// The epoch that it writes.
    pub(crate) epoch: u64,
    /// The next record.
    pub(crate) position: Record,
    /// What it wrote in this epoch.
    pub(crate) record: Option<Record>,
    /// By sink that it writes to and that has names.
    pub(crate) writers: BTreeMap<SinkIndex, Vec<Slot>>,
}

/// A commit under way at one sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Commit {
    pub(crate) epoch: u64,
    pub(crate) items: VecDeque<Pending>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) machine: Machine,
    pub(crate) alive: bool,
    /// The position of its claim; 0 before.
    pub(crate) number: u64,
    /// The create request that waits for its answer.
    pub(crate) asking: Option<(Token, u64)>,
    /// All requests for the position that is asked for.
    pub(crate) asked: Vec<Rc<Entry>>,
    /// The newest entry that is known to be ours, or that was looked at.
    pub(crate) base: Option<Rc<Entry>>,
    pub(crate) newest: u64,
    /// Its first positions, once resolved.
    pub(crate) positions: Option<Vec<Record>>,
    /// `Recover` was asked for.
    pub(crate) recovering: bool,
    pub(crate) groups: Groups,
    /// Positions of the tasks at barriers that no durable entry covers.
    pub(crate) cuts: BTreeMap<u64, Vec<Option<Record>>>,
    pub(crate) commits: BTreeMap<SinkIndex, Commit>,
    /// Writers whose commit of an epoch missed an answer.
    pub(crate) reinit: BTreeSet<(u64, SinkIndex, u32)>,
    pub(crate) tasks: Vec<Task>,
    /// The last barrier that was sent, and whether nothing follows it.
    pub(crate) barrier: u64,
    pub(crate) last: bool,
    pub(crate) input_ended: bool,
    pub(crate) settle_asked: bool,
    pub(crate) given_up: BTreeSet<u64>,
    /// Entries that a prune, begun and paused, will delete.
    pub(crate) prune_plan: BTreeSet<u64>,
}

impl Attempt {
    pub(crate) fn new(scope: &Scope) -> Self {
        let machine = Machine::new(scope.limits());
        Self {
            machine: match scope.mutant {
                Some(mutant) => machine.mutated(mutant),
                None => machine,
            },
            alive: true,
            number: 0,
            asking: None,
            asked: Vec::new(),
            base: None,
            newest: 0,
            positions: None,
            recovering: false,
            groups: Groups::new(),
            cuts: BTreeMap::new(),
            commits: BTreeMap::new(),
            reinit: BTreeSet::new(),
            tasks: Vec::new(),
            barrier: 0,
            last: false,
            input_ended: false,
            settle_asked: false,
            given_up: BTreeSet::new(),
            prune_plan: BTreeSet::new(),
        }
    }

    /// An attempt that is over: all are alike.
    pub(crate) fn over(scope: &Scope) -> Self {
        Self { alive: false, ..Self::new(scope) }
    }

    /// Opens the tasks at the first epoch.
    pub(crate) fn open_tasks(&mut self, epoch: u64, positions: &[Record], scope: &Scope) {
        self.barrier = epoch - 1;
        let names = |task: usize| {
            let slots = vec![Slot { holds: None, fresh: 0 }; scope.slots];
            let named = scope
                .route(task)
                .filter(|sink| scope.sinks[*sink as usize] == super::scope::Kind::Transactions);
            named.map(|sink| (sink, slots.clone())).collect()
        };
        let task = |(task, position): (usize, &Record)| Task {
            epoch,
            position: *position,
            record: None,
            writers: names(task),
        };
        self.tasks = positions.iter().enumerate().map(task).collect();
    }

    /// The names that are free become so by `settled`: a fresh one where an answer was missing.
    pub(crate) fn settle(&mut self, epoch: u64, never_fresh: bool) {
        self.settle_asked = false;
        let reinit: BTreeSet<_> =
            self.reinit.iter().filter(|(missed, ..)| *missed <= epoch).copied().collect();
        self.reinit.retain(|missed| !reinit.contains(missed));
        for (writer, task) in self.tasks.iter_mut().enumerate() {
            for (sink, slots) in &mut task.writers {
                let fresh = reinit.iter().any(|(_, s, w)| s == sink && *w as usize == writer);
                for slot in slots.iter_mut().filter(|slot| slot.holds.is_some_and(|held| held <= epoch)) {
                    slot.holds = None;
                    slot.fresh += u8::from(fresh && !never_fresh);
                }
            }
        }
    }

    /// Whether a barrier that was sent now would carry a record.
    pub(crate) fn has_something_to_cut(&self, arrived: u8) -> bool {
        self.tasks.iter().any(|task| {
            let sent = (self.barrier + 1).saturating_sub(task.epoch);
            let unread = arrived - task.position + u8::from(task.record.is_some());
            sent < u64::from(unread)
        })
    }
}

impl Task {
    /// A record waits and a writer has no free name for it.
    pub(crate) fn is_blocked(&self, arrived: u8) -> bool {
        let has_place = self.writers.values().all(|slots| slots.iter().any(|slot| slot.holds.is_none()));
        self.record.is_none() && self.position < arrived && !has_place
    }

    /// The names that hold what it wrote in this epoch.
    pub(crate) fn written(&self, attempt: u64, writer: u32) -> Vec<(SinkIndex, Name)> {
        let mut written = Vec::new();
        for (sink, slots) in &self.writers {
            for (index, slot) in slots.iter().enumerate() {
                if slot.holds == Some(self.epoch) {
                    let name = Name { attempt, writer, slot: index as u8, fresh: slot.fresh };
                    written.push((*sink, name));
                }
            }
        }
        written
    }
}

impl Pending {
    pub(crate) fn writer(&self) -> u32 {
        match self.committable {
            Committable::End(name) => name.writer,
            Committable::Apply { writer, .. } => writer,
        }
    }

    pub(crate) fn name(&self) -> Option<Name> {
        match self.committable {
            Committable::End(name) => Some(name),
            Committable::Apply { .. } => None,
        }
    }
}
