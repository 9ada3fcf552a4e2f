//! Exactly-once sources and sinks: the contract, the two-phase-commit protocol, the coordinator and
//! its snapshots. Knows no engine and no vendor.

pub mod coordinator;
mod erased;
mod error;
pub mod host;
mod id;
pub mod job;
pub mod log;
mod lookup;
pub mod protocol;
pub mod restore;
mod retry;
mod sink;
mod source;
mod state;

pub use erased::{DynReader, DynWriter, SinkControl, SinkData, SourceControl, SourceData, StoredSplit};
pub use error::{Error, ErrorKind, Result, Retry};
pub use host::SplitState;
pub use id::{Attempt, DELIMITER, Epoch, Generation, JobId, Position, TargetName, Uid, WriterId};
pub use log::{CommitPermit, Segment};
pub use lookup::Lookup;
pub use sink::{Committable, Committed, Pending, Prepared, Sink, SinkWriter};
pub use source::{Batch, Discovery, Known, Source, Split, SplitId, SplitReader};
pub use state::{Stored, Versioned, from_json, unknown_version};
