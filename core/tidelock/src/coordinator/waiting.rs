//! Users who wait for a checkpoint or a savepoint.

use std::sync::Arc;

use super::control::Answer;
use crate::log::Entry;
use crate::{Epoch, Error, ErrorKind};

/// What a user waits for.
#[derive(Debug)]
enum Wish {
    Checkpoint,
    Savepoint { url: String, entry: Option<Arc<Entry>> },
}

#[derive(Debug)]
struct Waiter {
    /// The epoch that it waits for, once its barrier is sent.
    epoch: Option<Epoch>,
    wish: Wish,
    answer: Answer,
}

/// A savepoint whose commits are confirmed.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) entry: Arc<Entry>,
    pub(super) url: String,
    pub(super) answer: Answer,
}

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiters: Vec<Waiter>,
}

impl Waiting {
    pub(super) fn for_checkpoint(&mut self, answer: Answer) {
        self.waiters.push(Waiter { epoch: None, wish: Wish::Checkpoint, answer });
    }

    pub(super) fn for_savepoint(&mut self, url: String, answer: Answer) {
        self.waiters.push(Waiter { epoch: None, wish: Wish::Savepoint { url, entry: None }, answer });
    }

    /// Whoever asked before this barrier waits for it.
    pub(super) fn barrier_sent(&mut self, epoch: Epoch) {
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.epoch.is_none()) {
            waiter.epoch = Some(epoch);
        }
    }

    /// A checkpoint is durable: it covers every earlier epoch too.
    pub(super) fn durable(&mut self, durable: &Arc<Entry>) {
        let (covered, waiting) = self.split(|epoch| epoch <= durable.epoch);
        self.waiters = waiting;
        for mut waiter in covered {
            match &mut waiter.wish {
                // Whoever stopped waiting does not mind.
                Wish::Checkpoint => drop(waiter.answer.send(Ok(durable.snapshot_id()))),
                Wish::Savepoint { entry, .. } => {
                    // The first durable entry that covers it is the savepoint.
                    entry.get_or_insert_with(|| Arc::clone(durable));
                    waiter.epoch = Some(entry.as_ref().map_or(durable.epoch, |entry| entry.epoch));
                    self.waiters.push(waiter);
                }
            }
        }
    }

    /// Every commit up to `epoch` is confirmed: savepoints of it can be exported.
    pub(super) fn confirmed(&mut self, confirmed: Epoch) -> Vec<Ready> {
        let mut ready = Vec::new();
        let mut waiting = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            match waiter.wish {
                Wish::Savepoint { url, entry: Some(entry) } if entry.epoch <= confirmed => {
                    ready.push(Ready { entry, url, answer: waiter.answer });
                }
                _ => waiting.push(waiter),
            }
        }
        self.waiters = waiting;
        ready
    }

    /// A checkpoint is given up: whoever waits for it is told.
    pub(super) fn given_up(&mut self, epoch: Epoch) {
        let (given_up, waiting) = self.split(|waits_for| waits_for == epoch);
        self.waiters = waiting;
        for waiter in given_up {
            let error = Error::new(
                ErrorKind::Unavailable,
                "checkpoint",
                "the checkpoint took too long and was given up",
            )
            .with("epoch", epoch);
            drop(waiter.answer.send(Err(error)));
        }
    }

    /// Entries that must not be pruned.
    pub(super) fn pinned(&self) -> impl Iterator<Item = crate::Position> {
        self.waiters.iter().filter_map(|waiter| match &waiter.wish {
            Wish::Savepoint { entry: Some(entry), .. } => Some(entry.position),
            _ => None,
        })
    }

    fn split(&mut self, wanted: impl Fn(Epoch) -> bool) -> (Vec<Waiter>, Vec<Waiter>) {
        std::mem::take(&mut self.waiters).into_iter().partition(|waiter| waiter.epoch.is_some_and(&wanted))
    }
}
