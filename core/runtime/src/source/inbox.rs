//! How orders of the coordinator reach a source on one worker.

use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock, PoisonError};

use tidelock::Epoch;
use tidelock::host::SplitState;

use crate::batch::Millis;
use crate::wake::Waker;

/// An order to a source on one worker.
#[derive(Debug)]
pub(crate) enum SourceOrder {
    /// The attempt begins: this epoch is written first.
    Open {
        epoch: Epoch,
        /// How far the splits had come that ended before the snapshot, wherever they were read.
        reached: Option<Millis>,
    },
    /// Read this split.
    Assign(Box<SplitState>),
    /// Cut here.
    Barrier { epoch: Epoch, last: bool },
    /// Event time advances to the end.
    EndOfInput,
    /// The snapshot of this epoch is durable: what it says was finished has its children in it.
    Completed(Epoch),
}

/// Orders in their order. Bounded by the coordinator: by the epochs in flight and the known splits.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    orders: Mutex<VecDeque<SourceOrder>>,
    waker: OnceLock<Waker>,
}

impl Inbox {
    /// Who is woken for orders.
    pub(crate) fn connect(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    pub(crate) fn push(&self, order: SourceOrder) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push_back(order);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    pub(crate) fn pop(&self) -> Option<SourceOrder> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
