//! Bytes on their way to other processes: they count where they come from until they have arrived.
//!
//! ```text
//!   process 0                                                 process 1
//!   batch ──> timely's queue ──> network ──> timely's queue ──> batch, in the budget of process 1
//!   in the budget of process 0 ........................... until process 1 says so, by post
//! ```
//!
//! Timely's queues have no bound: over a network that is slower than the sources they would take all memory, and
//! the signs of life would wait behind them. How much has arrived is told as a sum, so that no word matters by
//! itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is between this process and each of the others.
#[derive(Debug)]
pub(crate) struct Transit {
    /// Worker threads of each process.
    threads: u32,
    processes: Vec<Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    /// Bytes of its batches that have arrived here, in all.
    arrived_here: AtomicU64,
    /// Bytes of our batches that have arrived there, in all, as far as it said.
    arrived_there: AtomicU64,
}

impl Transit {
    pub(crate) fn new(processes: usize, threads: usize) -> Self {
        let threads = u32::try_from(threads).unwrap_or(u32::MAX).max(1);
        Self { threads, processes: (0..processes).map(|_| Peer::default()).collect() }
    }

    /// A batch of another process's worker has arrived.
    pub(crate) fn arrived_from(&self, worker: u32, bytes: u64) {
        if let Some(peer) = self.processes.get((worker / self.threads) as usize) {
            peer.arrived_here.fetch_add(bytes, Ordering::SeqCst);
        }
    }

    /// What has arrived from each process, in all.
    pub(crate) fn arrived_here(&self) -> impl Iterator<Item = (usize, u64)> {
        let here = |peer: &Peer| peer.arrived_here.load(Ordering::SeqCst);
        self.processes.iter().map(here).enumerate()
    }

    /// Another process says what it has in all. Returns how much of it is new.
    pub(crate) fn arrived_at(&self, process: usize, in_all: u64) -> u64 {
        let Some(peer) = self.processes.get(process) else { return 0 };
        in_all.saturating_sub(peer.arrived_there.fetch_max(in_all, Ordering::SeqCst))
    }
}
