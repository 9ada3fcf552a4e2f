//! Items that are put and deleted many in a request: the mode `batched`, at least once.
//!
//! ```text
//!   write: records ──> of each key the last ──> batches: 25 of them and 1.5 MB at most ──> BatchWriteItem, many at once
//!             some are not processed ──> these alone once more, and nothing else of their keys meanwhile
//!             the answer is lost, throttled ──> the same batch once more
//!   prepare: everything has arrived, or an error
//! ```
//!
//! Such a request has no condition. So the order of two writes of a key is kept by never having both under way: within a call a key is in one batch,
//! which ends when all of it is processed, and the next call begins when all batches of this one have ended. Where an attempt ends in the middle, its
//! requests go on by themselves, and the next attempt of the process begins when they have ended. What this cannot keep
//! is the order of a request that was given up, and is done late after all, of an attempt that was paused and wakes up, and of a process that dies with
//! requests under way: these may put an old item over a newer one. Where that matters, the other modes are for it.
//!
//! | file | idea |
//! |---|---|
//! | `batches` | of each key the last write, in batches that DynamoDB takes |
//! | `send` | a batch until all of it is processed |
//! | `writer` | a writer |

mod batches;
mod send;
mod writer;

pub(crate) use writer::BatchedWriter;
