//! Alignment: nothing of a later epoch touches state or a target before the earlier epoch is closed.
//!
//! A frontier is not alignment. After an exchange, records of epoch n+1 arrive from one worker while
//! another still sends records of n. Whoever keeps state, or feeds a writer, holds them back here until
//! the frontier has passed n and n is closed. What is held is bounded by the budget of bytes in flight.

use std::collections::{BTreeMap, VecDeque};

use tidelock::Epoch;
use timely::progress::frontier::MutableAntichain;

use crate::time::Time;

/// Sorts what arrives by whether its epoch is open yet.
#[derive(Debug)]
pub(crate) struct Aligner<B> {
    /// The epoch that is written now. All before it are closed.
    open: Epoch,
    held: BTreeMap<Epoch, VecDeque<B>>,
    /// The double that the tests must catch: it takes records as they arrive.
    #[cfg(test)]
    on_arrival: bool,
}

impl<B> Aligner<B> {
    /// Begins with an epoch.
    pub(crate) fn new(open: Epoch) -> Self {
        Self {
            open,
            held: BTreeMap::new(),
            #[cfg(test)]
            on_arrival: false,
        }
    }

    #[cfg(test)]
    pub(crate) fn broken(open: Epoch) -> Self {
        Self { on_arrival: true, ..Self::new(open) }
    }

    /// The epoch that is written now.
    pub(crate) fn open(&self) -> Epoch {
        self.open
    }

    /// Returns what may be applied now; keeps what came early.
    pub(crate) fn offer(&mut self, epoch: Epoch, item: B) -> Option<B> {
        let open = self.open;
        assert!(epoch >= open, "invariant: no record of epoch {epoch} arrives after epoch {open} was opened");
        #[cfg(test)]
        if self.on_arrival {
            return Some(item);
        }
        if epoch > self.open {
            self.held.entry(epoch).or_default().push_back(item);
            return None;
        }
        Some(item)
    }

    /// Whether everything of the open epoch has arrived.
    pub(crate) fn is_complete(&self, frontier: &MutableAntichain<Time>) -> bool {
        // Sources keep their capabilities to the end: an empty frontier is an attempt that ends.
        frontier.frontier().as_option().is_some_and(|time| *time > self.open.0)
    }

    /// The open epoch is closed: opens the next and returns what came early for it.
    pub(crate) fn advance(&mut self) -> VecDeque<B> {
        self.open = self.open.next();
        self.held.remove(&self.open).unwrap_or_default()
    }
}
