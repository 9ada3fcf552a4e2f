//! The budget of bytes in flight: what sources handed to the dataflow and nothing has taken yet.
//!
//! Timely has no flow control. Every batch carries a [`Credit`], whoever drops the batch gives it back,
//! and sources stop reading while too much is out. Barriers never wait for the budget: the
//! frontier always moves on, so what is held back for alignment always comes free.
//! A batch that leaves the process counts until it has arrived: see [`Transit`].

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::transit::Transit;
use crate::wake::Waker;

#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    in_flight: AtomicU64,
    /// Whether a source waits: so that giving back costs no lock while none does.
    waiting: AtomicBool,
    waiters: Mutex<Vec<Waker>>,
    /// Other processes that have too much in flight, and how many they are.
    full_peers: Mutex<BTreeSet<usize>>,
    full_peer_count: AtomicUsize,
    /// What is on its way to other processes, where there are any.
    transit: Option<Transit>,
}

impl Budget {
    pub(crate) fn new(limit: u64, transit: Option<Transit>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            transit,
            in_flight: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            waiters: Mutex::new(Vec::new()),
            full_peers: Mutex::default(),
            full_peer_count: AtomicUsize::new(0),
        })
    }

    /// Who is woken when there is room again.
    pub(crate) fn register(&self, waker: Waker) {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    /// Whether a source may hand over another batch. After `false` it is woken when it may.
    pub(crate) fn has_room(&self) -> bool {
        if !self.is_full_anywhere() {
            return true;
        }
        // The wish first, then a second look: whoever gives back meanwhile sees one of the two.
        self.waiting.store(true, Ordering::SeqCst);
        !self.is_full_anywhere()
    }

    /// Whether too much is in flight in this process.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight.load(Ordering::SeqCst) >= self.limit
    }

    /// Whether too much is in flight in any process that is known of.
    pub(crate) fn is_full_anywhere(&self) -> bool {
        self.is_full() || self.full_peer_count.load(Ordering::SeqCst) > 0
    }

    /// Another process has too much in flight, or no longer.
    pub(crate) fn peer_is_full(&self, process: usize, full: bool) {
        {
            let mut peers = self.full_peers.lock().unwrap_or_else(PoisonError::into_inner);
            if full {
                peers.insert(process);
            } else {
                peers.remove(&process);
            }
            self.full_peer_count.store(peers.len(), Ordering::SeqCst);
        }
        self.wake_if_room();
    }

    /// What has arrived from each of the other processes, in all.
    pub(crate) fn arrived_here(&self) -> impl Iterator<Item = (usize, u64)> {
        self.transit.iter().flat_map(Transit::arrived_here)
    }

    /// Another process says how many bytes have arrived there, in all.
    pub(crate) fn arrived_at(&self, process: usize, in_all: u64) {
        let bytes = self.transit.as_ref().map_or(0, |transit| transit.arrived_at(process, in_all));
        self.give_back(bytes);
    }

    /// Takes bytes. It may exceed the limit by what is handed over at once.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64) -> Credit {
        self.in_flight.fetch_add(bytes, Ordering::SeqCst);
        Credit { bytes, budget: Some(Arc::clone(self)), fare: 0 }
    }

    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }

    fn give_back(&self, bytes: u64) {
        self.in_flight.fetch_sub(bytes, Ordering::SeqCst);
        self.wake_if_room();
    }

    fn wake_if_room(&self) {
        if !self.is_full_anywhere() && self.waiting.swap(false, Ordering::SeqCst) {
            for waker in &*self.waiters.lock().unwrap_or_else(PoisonError::into_inner) {
                waker.wake();
            }
        }
    }
}

/// Bytes taken of a budget until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    bytes: u64,
    budget: Option<Arc<Budget>>,
    /// What it still takes of the budget of the process that it comes from.
    fare: u64,
}

impl Credit {
    /// Of no budget yet: what a batch takes that came from another process, and what it takes there.
    pub(crate) fn foreign(bytes: u64, fare: u64) -> Self {
        Self { bytes, budget: None, fare }
    }

    /// Takes the bytes of this process's budget, where they are of none. The batch comes from `worker`.
    pub(crate) fn settle(&mut self, budget: &Arc<Budget>, worker: u32) {
        if self.budget.is_none() && self.bytes > 0 {
            if let Some(transit) = &budget.transit {
                transit.arrived_from(worker, self.fare);
            }
            *self = budget.take(self.bytes);
        }
    }

    /// The batch leaves the process, and this is dropped: its bytes stay taken until it has arrived. Returns them.
    pub(crate) fn depart(&self) -> u64 {
        match &self.budget {
            Some(budget) if budget.transit.is_some() => {
                budget.in_flight.fetch_add(self.bytes, Ordering::SeqCst);
                self.bytes
            }
            _ => 0,
        }
    }

    /// What each of so many records takes.
    pub(crate) fn of_each(&self, records: usize) -> u64 {
        self.bytes / (records as u64).max(1)
    }

    /// Moves a part of it into another credit: what `part` of `whole` records take.
    pub(crate) fn split(&mut self, part: usize, whole: usize) -> Credit {
        let Some(budget) = &self.budget else { return Credit::default() };
        let bytes = if whole == 0 { 0 } else { self.bytes / whole as u64 * part as u64 };
        self.bytes -= bytes;
        Credit { bytes, budget: Some(Arc::clone(budget)), fare: 0 }
    }
}

impl Clone for Credit {
    fn clone(&self) -> Self {
        match &self.budget {
            Some(budget) => budget.take(self.bytes),
            None => Self::default(),
        }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.take() {
            budget.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_taken_comes_back() {
        let budget = Budget::new(100, None);
        let mut credit = budget.take(99);
        assert!(budget.has_room());
        let copy = credit.clone();
        assert!(!budget.has_room());
        let part = credit.split(1, 3);
        assert_eq!(budget.in_flight(), 198);
        drop((credit, copy, part));
        assert_eq!(budget.in_flight(), 0);
        assert!(budget.has_room());
    }

    #[test]
    fn sources_wait_for_other_processes_too() {
        let budget = Budget::new(100, None);
        budget.peer_is_full(2, true);
        budget.peer_is_full(1, true);
        budget.peer_is_full(2, false);
        assert!(!budget.has_room() && !budget.is_full());
        budget.peer_is_full(1, false);
        assert!(budget.has_room());
        let mut credit = Credit::foreign(150, 0);
        credit.settle(&budget, 0);
        credit.settle(&budget, 0);
        assert_eq!(budget.in_flight(), 150);
        drop(credit);
        assert_eq!(budget.in_flight(), 0);
    }
}
