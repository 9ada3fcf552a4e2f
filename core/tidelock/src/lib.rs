//! Exactly-once sources and sinks for data pipelines: the contract that connectors are written against,
//! the two-phase-commit protocol, the coordinator that drives it, and its snapshots. This crate knows no
//! engine and no vendor.
//!
//! A **barrier** cuts the stream into **epochs**. At each barrier the sources give their positions and the
//! sinks *prepare* what they wrote: durable in the target, invisible to its readers. One **snapshot** holds
//! both. When it is durable the checkpoint is complete, and only then are the prepared writes *committed*.
//! After any crash the newest snapshot is restored: sources continue from its positions, sinks commit what
//! it lists, and nothing is lost or doubled for readers of visible data.
//!
//! ```text
//!   sources ──records──> functions ──records──> sinks
//!      │ positions           │ state              │ committables
//!      └──────────┬──────────┴──────────┬─────────┘
//!                 v      barrier n      v
//!            entry n of the job's log  (durable, ours: I1, I5)
//!                 │
//!                 └──> commit n ──> visible ──> an entry no longer lists n ──> settled
//! ```
//!
//! # Where to look
//!
//! | you want to | look at |
//! |---|---|
//! | write a connector | [`Source`], [`SplitReader`], [`Sink`], [`SinkWriter`], [`Lookup`], [`LookupTable`], [`Error`] |
//! | store state | [`Versioned`], [`Stored`], [`Segment`] |
//! | host connectors in your own engine | [`host`], [`coordinator::Coordinator`], [`job::Job`] |
//! | understand the protocol | [`protocol`], and the invariants below |
//! | read or copy snapshots | [`log`], [`restore`] |
//!
//! # Invariants
//!
//! Code that keeps one cites its number; tests carry it too.
//!
//! - **I1** Nothing is committed before the log entry that names it is durable and known to be ours.
//! - **I2** A source's position lives only in the snapshot. What is exported to the source system is for
//!   monitoring, and never read back.
//! - **I3** From `prepare` on, a committable stays in every later entry whose positions cover its epoch until
//!   its commit is confirmed, also when the checkpoint that prepared it failed. No entry lists an epoch above
//!   its own.
//! - **I4** The empty epoch is recorded too, and so is the last one at the end of input.
//! - **I5** One attempt owns the job. Each position of its log is created once, conditionally; `p+1` is asked
//!   for only when `p` is known to be ours. A new attempt claims by appending, then lists again: the claim
//!   counts only if nothing stands above it. A claim and the entry directly below it are never deleted.
//! - **I6** Recovery order: claim; abort what older attempts left and the newest entry does not list; look at
//!   everything pending; commit it all; append the same positions with nothing pending; open new writers.
//! - **I7** Prepared data that the target threw away halts the job with the evidence, before anything else of
//!   that epoch is committed.
//! - **I8** Only the owner of the log commits, and only what its newest entry lists. A rollback is one append
//!   that begins a new lineage, obeyed once for each request; a fork touches nothing of the job it came from.
//! - **I9** A first run appends an entry with resolved positions before it reads: "latest" is decided once.

/// The pages of the project's documentation that contain code: compiled, so that they stay true.
#[cfg(doctest)]
pub mod documentation {
    #[doc = include_str!("../../../docs/checkpoints-and-savepoints.md")]
    pub mod checkpoints_and_savepoints {}
    #[doc = include_str!("../../../docs/configuring.md")]
    pub mod configuring {}
}

mod again;
mod choice;
pub mod coordinator;
mod erased;
mod error;
mod finite;
pub mod host;
mod id;
pub mod job;
pub mod log;
mod lookup;
mod patience;
pub mod protocol;
mod reject;
pub mod restore;
mod retry;
mod sink;
mod source;
mod state;
#[cfg(test)]
mod testing;
pub mod write_ahead;

pub use again::Patience;
pub use choice::choice;
pub use erased::{DynReader, DynWriter, SinkControl, SinkData, SourceControl, SourceData, StoredSplit};
pub use error::{Error, ErrorKind, Result, Retry};
pub use host::SplitState;
pub use id::{
    Attempt, DELIMITER, Epoch, Generation, JobId, Position, SinkAttempt, SourceName, TargetName, Uid,
    WriterId,
};
pub use log::{CommitPermit, Segment};
pub use lookup::{Lookup, LookupTable};
pub use patience::patiently;
pub use reject::{DeadLetter, Rejected, Rejecting, Rejects};
pub use retry::in_time;
pub use sink::{Committable, Committed, Pending, Prepared, Sink, SinkWriter};
pub use source::{Batch, Discovery, Known, Source, Split, SplitId, SplitReader};
pub use state::{Stored, Versioned, from_json, unknown_version};
