//! Records that are put after their checkpoint, each with a number by which it is known when it comes once more: the mode `numbered`.
//!
//! ```text
//!   write ──> the job's log ──prepare(n)──> committable: numbering, and where the records are ──> entry n ──commit(n)──> PutRecords, each record with
//!                                                                                                                         its header
//! ```
//!
//! A stream has nothing that could say which epochs are in it. So an epoch may be put once more, wholly or in part: after a crash, after a lost answer, by an
//! older attempt that wakes up. Each time its records have the same places in the same numbering, and whoever reads with
//! [`KinesisStream`](crate::KinesisStream) drops what it had ([decision 25](https://github.com/tidelock/tidelock/blob/main/docs/decisions/0025-numbered-records-say-what-is-over.md)).
//!
//! Epochs are put one after the other, each of its writers' parts by a task of its own. What is acknowledged of a part goes into its trail, and a while later into
//! the headers of those after it, as their floor: so readers need not remember it.
//!
//! | file | idea |
//! |---|---|
//! | `committable` | what a snapshot stores |
//! | `writer` | a writer, and its numbering |
//! | `number` | the headers of one part, and what is acknowledged of it |
//! | `order` | whether the service keeps the order of what is put apart |
//! | `part` | one part, put |
//! | `sink` | recovery, and the commit of epochs |

mod committable;
mod number;
mod order;
mod part;
mod sink;
mod writer;

pub use committable::KinesisCommittable;
pub(crate) use sink::NumberedSink;
pub(crate) use writer::NumberedWriter;
