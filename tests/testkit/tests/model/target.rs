//! The systems that sinks write to, as a normal reader sees them.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::{Defect, Kind};

/// A record of a split, by its place.
pub(crate) type Record = u8;

/// The identity that a writer prepared with, in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    /// The position of the attempt's claim.
    pub(crate) attempt: u64,
    pub(crate) writer: u32,
    pub(crate) slot: u8,
    /// Raised where the writer begins with a fresh identity.
    pub(crate) fresh: u8,
}

/// What a snapshot lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Committable {
    /// End the transaction of this name.
    End(Name),
    /// Apply the writes of an epoch.
    Apply { writer: u32, record: Record },
}

/// A committable with its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pending {
    pub(crate) epoch: u64,
    pub(crate) attempt: u64,
    pub(crate) committable: Committable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Open,
    Prepared,
    Committed,
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Transaction {
    pub(crate) state: State,
    pub(crate) epoch: u64,
    pub(crate) record: Record,
}

/// The target answers that prepared data does not exist any more.
#[derive(Debug)]
pub(crate) struct Missing;

/// One sink's target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) transactions: BTreeMap<Name, Transaction>,
    /// Write-ahead: the last epoch that was applied, by writer.
    applied: BTreeMap<u32, u64>,
    /// How often each record is visible, by split.
    pub(crate) visible: Vec<Vec<u8>>,
    kind: Kind,
}

impl Target {
    pub(crate) fn new(kind: Kind, tasks: u32, records: u8) -> Self {
        let visible = vec![vec![0; records as usize]; tasks as usize];
        Self { transactions: BTreeMap::new(), applied: BTreeMap::new(), visible, kind }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    fn show(&mut self, writer: u32, record: Record) {
        let times = &mut self.visible[writer as usize][record as usize];
        *times = times.saturating_add(1);
    }

    /// Commits as targets do: by name, whatever the name holds now.
    pub(crate) fn commit(&mut self, pending: &Pending, defect: Option<Defect>) -> Result<(), Missing> {
        match pending.committable {
            Committable::End(name) => {
                let transaction = self.transactions.get_mut(&name).ok_or(Missing)?;
                let record = transaction.record;
                match transaction.state {
                    State::Open | State::Prepared => {
                        transaction.state = State::Committed;
                        self.show(name.writer, record);
                    }
                    State::Committed => {}
                    State::Gone => return Err(Missing),
                }
            }
            Committable::Apply { writer, record } => {
                let applied = self.applied.entry(writer).or_default();
                if *applied < pending.epoch
                    || (defect == Some(Defect::NotMonotone) && *applied > pending.epoch)
                {
                    *applied = pending.epoch;
                    self.show(writer, record);
                }
            }
        }
        Ok(())
    }

    /// Whether committing would change what is visible.
    pub(crate) fn would_change(&self, pending: &Pending, defect: Option<Defect>) -> bool {
        match pending.committable {
            Committable::End(name) => self
                .transactions
                .get(&name)
                .is_some_and(|transaction| matches!(transaction.state, State::Open | State::Prepared)),
            Committable::Apply { writer, .. } => {
                let applied = self.applied.get(&writer).copied().unwrap_or(0);
                applied < pending.epoch || (defect == Some(Defect::NotMonotone) && applied > pending.epoch)
            }
        }
    }

    /// What older attempts left and `pending` does not list.
    pub(crate) fn leftovers<'a>(
        &'a self,
        attempt: u64,
        pending: &'a BTreeSet<Name>,
    ) -> impl Iterator<Item = Name> + 'a {
        let open = |state: State| matches!(state, State::Open | State::Prepared);
        let left = move |(name, transaction): &(&Name, &Transaction)| {
            name.attempt < attempt && open(transaction.state) && !pending.contains(*name)
        };
        self.transactions.iter().filter(left).map(|(name, _)| *name)
    }

    pub(crate) fn throw_away(&mut self, name: &Name) {
        if let Some(transaction) = self.transactions.get_mut(name) {
            transaction.state = State::Gone;
        }
    }

    /// Looks at a pending committable and changes nothing.
    pub(crate) fn look(&self, pending: &Pending) -> Result<(), Missing> {
        match pending.committable {
            Committable::End(name) => match self.transactions.get(&name) {
                Some(transaction) if transaction.state != State::Gone => Ok(()),
                _ => Err(Missing),
            },
            Committable::Apply { .. } => Ok(()),
        }
    }
}
