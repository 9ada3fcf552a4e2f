//! Waking an operator from another thread.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use timely::scheduling::SyncActivator;

/// Schedules one operator. Cheap to call again and again: only the first wake since the operator last
/// ran costs anything.
#[derive(Clone)]
pub(crate) struct Waker {
    /// A wake is under way and the operator did not run since.
    pending: Arc<AtomicBool>,
    activator: SyncActivator,
}

impl Waker {
    pub(crate) fn new(activator: SyncActivator) -> Self {
        Self { pending: Arc::new(AtomicBool::new(false)), activator }
    }

    pub(crate) fn wake(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // The worker is gone only when the attempt ends.
            let _ = self.activator.activate();
        }
    }

    /// The operator runs: must come before it looks at what it was woken for.
    pub(crate) fn taken(&self) {
        self.pending.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}
