//! The mode `ledger`: the changes of an epoch travel in the job's log, and are applied when it is committed, chunk by chunk, each in one
//! transaction with the item of a ledger that says so.
//!
//! ```text
//!   ledger table                                               TransactWriteItems, all or nothing
//!   JOB.UID     head: claim, epoch begun, how it is cut        ┌ ledger: "lane 1 has 2 chunks of epoch 7"  IF it says what it said before
//!   JOB.UID.0   lane: claim, epoch, chunks applied             ├ put, update, delete, add
//!   JOB.UID.1   lane: ..                                       └ .. 99 of them at most, each of another item
//! ```
//!
//! * **An epoch that fits into one chunk** is applied with the head itself: one request, and all of it is visible at once.
//! * **A larger one** is begun in the head first, which then says into how many lanes it is cut. Lanes go side by side, the chunks of a lane one after
//!   the other. The cut is a function of the changes and of what stands in the head ([`plan`]), so a replay finds the same chunks and skips
//!   those that its lane's item has.
//!
//! Each item of the ledger is one text with a version and a checksum ([`state`]), and every change of it is a compare-and-set of the whole text. No text
//! comes twice, so a request that arrives late or again, of whichever attempt, changes nothing; and what a condition that fails means is decided
//! by reading the item and comparing ([`decide`]), never by the failure alone.
//!
//! A new attempt puts its claim into the head and into every lane, before it applies anything: an older one that wakes up in the middle of an epoch
//! finds another text, reads it, and ends (I5). What it was applying is applied by then, or will be.
//!
//! What this does not do: readers may see an epoch of several chunks in part. A rollback takes nothing back that was applied.

mod action;
mod add;
mod ahead;
mod apply;
mod book;
mod cancel;
mod committable;
mod decide;
mod items;
mod merge;
mod place;
mod plan;
mod sink;
mod state;
mod writer;

pub use committable::DynamoCommittable;
pub(crate) use sink::LedgerSink;
pub(crate) use writer::LedgerWriter;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
