//! What passes between the coordinator and a host: the engine that owns readers, functions and writers.
//!
//! ```text
//!   coordinator ── Order ──>  host        Open, Assign, Barrier, Settled, EndOfInput
//!   coordinator <── News ──   host        Opened, Report, SplitFinished, NoFreePlace, Failed
//! ```
//!
//! Orders and news are plain data, so that a host may carry them between processes. A host promises:
//!
//! - Orders are obeyed in their order. A barrier reaches every task *after* all records of its epoch:
//!   no barrier overtakes a record.
//! - Every task sends exactly one [`Report`] for each epoch, in the order of epochs, after `prepare` of
//!   all its writers returned.
//! - When the coordinator ends, everything of the attempt ends: readers and writers are dropped.
//!
//! The coordinator may end a job without its host: once it asks for the closed entry it gives no order and hears no news
//! any more, and both channels are closed. It may still write savepoints then. What fails in the host from that moment on
//! only follows from the end, so a host waits for the coordinator, and what that returns is how the job ended.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::log::ChunkRef;
use crate::{Attempt, Committable, Epoch, Error, Prepared, Result, Segment, SplitId, Stored, Uid, WriterId};

/// What the coordinator asks of the host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Order {
    /// Open writers and operators, and answer [`News::Opened`]. Sent once, first. Everything pending is
    /// committed and settled by now.
    Open(Opening),
    /// Open this split and read it.
    Assign {
        /// The source that it belongs to.
        uid: Uid,
        /// The split with its position.
        split: SplitState,
    },
    /// All splits of all sources are read to their end, and there will be no more: event time advances
    /// to the end. The last barrier follows.
    EndOfInput,
    /// Close `epoch`: cut the stream here, snapshot, prepare, and report.
    Barrier {
        /// The epoch that the barrier closes.
        epoch: Epoch,
        /// It is the last one of this attempt: read nothing after it.
        last: bool,
    },
    /// Everything up to `epoch` is committed, and no newer entry lists it: pass it to every writer.
    Settled {
        /// The last settled epoch.
        epoch: Epoch,
        /// Writers that must go on with a fresh identity, by sink.
        reinit: BTreeMap<Uid, Vec<WriterId>>,
    },
    /// A checkpoint is durable. A host may show it, or let go of what it kept until then; it need not.
    Completed {
        /// The epoch whose checkpoint is complete.
        epoch: Epoch,
    },
}

/// How an attempt begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opening {
    /// The attempt that owns the job now.
    pub attempt: Attempt,
    /// The epoch that is written first.
    pub epoch: Epoch,
    /// The state of each operator: part by part, base first.
    pub operators: BTreeMap<Uid, BTreeMap<String, Vec<Segment>>>,
    /// The greatest watermark that a split had which was read to its end, for each source, in milliseconds since 1970,
    /// where the host keeps any. Such splits are not assigned again, and event time must not go back because of that.
    pub reached: BTreeMap<Uid, i64>,
}

/// A split as a snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitState {
    /// The name of the split.
    pub id: SplitId,
    /// The split with its position.
    pub split: Stored,
    /// The split's watermark in milliseconds since 1970, where the host keeps one. It never goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<i64>,
    /// It was read to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
}

/// What one task contributes to the snapshot of an epoch.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// The epoch that was closed.
    pub epoch: Epoch,
    /// The attempt that the task belongs to: a report from elsewhere is refused.
    pub attempt: crate::Position,
    /// Which task reports, from 0.
    pub task: u32,
    /// The splits that moved since the task's last report.
    pub sources: BTreeMap<Uid, Vec<SplitState>>,
    /// Operator state that changed.
    pub operators: BTreeMap<Uid, Vec<PartChange>>,
    /// What the writers prepared.
    pub sinks: BTreeMap<Uid, Vec<PreparedState>>,
}

/// A change of one part of an operator's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartChange {
    /// The part: a range of key groups, or any name that the operator understands after a restore.
    pub part: String,
    /// The change.
    pub change: Change,
}

/// How a part of an operator's state changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Change {
    /// The whole part: replaces all that was stored for it.
    Base(Segment),
    /// What changed since the last report.
    Delta(Segment),
    /// The part is gone.
    Remove,
}

/// A committable as a writer hands it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedState {
    /// The writer that prepared it.
    pub writer: WriterId,
    /// The committable.
    pub committable: Stored,
    /// See [`Prepared::expires_in`].
    pub expires_in: Option<Duration>,
    /// See [`Committable::chunks`].
    pub chunks: Vec<ChunkRef>,
}

impl PreparedState {
    /// What a writer prepared, as it is stored.
    ///
    /// # Errors
    /// As [`Stored::encode`].
    pub fn of<C: Committable>(writer: WriterId, prepared: &Prepared<C>) -> Result<Self> {
        let Prepared { committable, expires_in } = prepared;
        let chunks = committable.chunks();
        Ok(Self { writer, committable: Stored::encode(committable)?, expires_in: *expires_in, chunks })
    }
}

/// What the host tells the coordinator.
#[non_exhaustive]
pub enum News {
    /// Writers and operators are open; splits may be assigned and barriers sent.
    Opened,
    /// A task's part of an epoch.
    Report(Report),
    /// A split was read to its end. Told at once, beside the report, so that its children are found
    /// without waiting for the next barrier.
    SplitFinished {
        /// The source.
        uid: Uid,
        /// The split.
        id: SplitId,
        /// The split as it ended: what goes on from it may begin with what it knew.
        split: Stored,
    },
    /// A writer has no free place: it waits for the next settled epoch.
    NoFreePlace,
    /// Something failed: the attempt ends with this error.
    Failed {
        /// Where it failed.
        uid: Option<Uid>,
        /// What failed.
        error: Error,
    },
}

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("Opened"),
            Self::Report(report) => write!(f, "Report(epoch {}, task {})", report.epoch, report.task),
            Self::SplitFinished { uid, id, .. } => write!(f, "SplitFinished({uid}, {id})"),
            Self::NoFreePlace => f.write_str("NoFreePlace"),
            Self::Failed { uid, error } => write!(f, "Failed({uid:?}, {error:?})"),
        }
    }
}
