//! The changes of an epoch, some of which may be looked at before they are taken.

use std::collections::VecDeque;

use tidelock::Result;
use tidelock::write_ahead::Batches;

use super::plan::{Chunk, Plan, RULES};
use super::state::{Cut, Lanes};
use crate::change::ItemChange;
use crate::key::KeySchema;

/// The batches of an epoch.
#[derive(Debug)]
pub(super) struct Ahead<'w> {
    /// What was looked at, and not taken.
    looked_at: VecDeque<Vec<ItemChange>>,
    batches: Batches<'w, ItemChange>,
}

/// How an epoch that nobody began is to be cut.
#[derive(Debug)]
pub(super) enum Found {
    /// It is one chunk.
    Whole(Chunk),
    Lanes(u32),
}

impl Found {
    pub(super) fn cut(&self) -> Cut {
        match self {
            Self::Whole(_) => Cut::Whole,
            Self::Lanes(count) => Cut::Lanes(Lanes { count: *count, rules: RULES }),
        }
    }
}

impl<'w> Ahead<'w> {
    pub(super) fn new(batches: Batches<'w, ItemChange>) -> Self {
        Self { looked_at: VecDeque::new(), batches }
    }

    /// The next batch; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<ItemChange>>> {
        match self.looked_at.pop_front() {
            Some(batch) => Ok(Some(batch)),
            None => self.batches.next().await,
        }
    }

    /// Looks how large the epoch is. It gets as many lanes as it would have chunks in a single one: fewer than that cost time, and more cost
    /// capacity, because each chunk writes the ledger, too. So no more of it is read than so many chunks.
    pub(super) async fn look(&mut self, lanes_max: u32, schema: &KeySchema) -> Result<Found> {
        let (mut plan, mut full) = (Plan::new(Lanes { count: 1, rules: RULES }, schema), 0);
        while full < lanes_max {
            let Some(batch) = self.batches.next().await? else {
                // Where one was full, another one was begun.
                return Ok(match full {
                    1.. => Found::Lanes((full + 1).min(lanes_max)),
                    0 => Found::Whole(plan.end().next().map(|(_, only)| only).unwrap_or_default()),
                });
            };
            for change in &batch {
                full += u32::from(plan.take(change.clone())?.is_some());
            }
            self.looked_at.push_back(batch);
        }
        Ok(Found::Lanes(lanes_max))
    }
}
