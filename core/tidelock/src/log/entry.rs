//! What one entry of a job's log says.
//!
//! Every entry is complete: it names the whole state of the job at the end of its epoch, partly inline
//! and partly by chunks that it shares with entries of its lineage. The newest entry alone decides what
//! a recovery restores and commits.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Generation, JobId, Position, Segment, Stored, Uid, WriterId};

use super::ChunkRef;

/// One entry of a job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The job.
    pub job: JobId,
    /// Its place in the log.
    pub position: Position,
    /// Why it was appended.
    pub kind: EntryKind,
    /// Fresh for every create request, so that "already exists" can be told from "somebody else's".
    pub nonce: Nonce,
    /// The attempt that appended it: the position of its claim.
    pub attempt: Position,
    /// Which history it belongs to.
    pub lineage: Lineage,
    /// When it was made, by the clock of the attempt; for people only.
    pub created_at: jiff::Timestamp,
    /// Its state covers this epoch and all before it.
    pub epoch: Epoch,
    /// The names of rollback and fork requests that were obeyed (I8): one that is listed is not obeyed again. One
    /// that was not given a name has two, its snapshot's and that of the place it was found at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obeyed: Vec<RequestId>,
    /// The state of the job. `None`: no attempt has resolved its first positions yet (I9).
    pub state: Option<State>,
    /// Prepared data that a person gave up, by sink: it was pending in the entry below, was not committed,
    /// and nobody commits it any more (I7, I8). An entry that names some is never deleted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub abandoned: BTreeMap<Uid, Vec<PendingState>>,
}

/// Why an entry was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A new attempt takes the job (I5). Its state is that of the entry below.
    Claim,
    /// Recovery is done: nothing is pending. Also the first positions of a job, and the beginning of a
    /// lineage.
    Start,
    /// An epoch is complete.
    Checkpoint,
    /// The same positions as the entry below, without what was committed meanwhile.
    Confirmation,
    /// The job ended: settled, nothing follows in this attempt.
    Closed(Closed),
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// At the end of its bounded input: there is nothing left to do.
    Finished,
    /// By request, at a barrier; it goes on from here.
    Stopped,
    /// By request, at once; it goes on from its last checkpoint.
    Cancelled,
}

/// Told apart by one equality: ours or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub String);

/// The name of one request for a rollback or a fork.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub String);

/// A history of a job without a step back. A rollback or a fork begins a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// The position of the entry that began it; 1 for the first.
    pub id: Position,
    /// The high part of versions written in it.
    pub generation: Generation,
    /// The snapshot that it began from, where it did not begin from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<SnapshotId>,
}

/// Names a snapshot among all jobs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotId {
    /// The job that made it.
    pub job: JobId,
    /// The entry of that job's log that it is.
    pub position: Position,
    /// The epoch that it covers.
    pub epoch: Epoch,
}

/// The state of a job at the end of an epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The splits of each source, with their positions: [`SplitChanges`](crate::restore::SplitChanges),
    /// base first.
    pub sources: BTreeMap<Uid, Vec<Segment>>,
    /// The state of each operator: for each part its segments, base first.
    pub operators: BTreeMap<Uid, BTreeMap<String, Vec<Segment>>>,
    /// What each sink has prepared and not confirmed: in the order of epochs. Every sink is named, also
    /// with nothing pending (I4).
    pub sinks: BTreeMap<Uid, Vec<PendingState>>,
}

/// A committable in an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingState {
    /// The epoch that it belongs to.
    pub epoch: Epoch,
    /// The attempt that prepared it.
    pub attempt: Position,
    /// The writer that prepared it.
    pub writer: WriterId,
    /// The version of its stored form.
    #[serde(rename = "v")]
    pub version: u16,
    /// The committable.
    pub committable: Segment,
    /// The chunks that it needs to be committed: kept as long as an entry that is retained lists it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<ChunkRef>,
}

impl State {
    /// Whether nothing waits to be committed.
    pub fn is_settled(&self) -> bool {
        self.sinks.values().all(Vec::is_empty)
    }

    /// What of it waits to be committed, and nothing else.
    pub(crate) fn pending(&self) -> Self {
        let pending = self.sinks.iter().filter(|(_, pending)| !pending.is_empty());
        let sinks = pending.map(|(uid, pending)| (uid.clone(), pending.clone())).collect();
        Self { sinks, ..Self::default() }
    }

    /// Every segment of the state.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        let sources = self.sources.values().flatten();
        let operators = self.operators.values().flat_map(|parts| parts.values().flatten());
        let sinks = self.sinks.values().flatten().map(|pending| &pending.committable);
        sources.chain(operators).chain(sinks)
    }

    /// Every segment of the state, to be replaced.
    pub(super) fn segments_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        let sources = self.sources.values_mut().flatten();
        let operators = self.operators.values_mut().flat_map(|parts| parts.values_mut().flatten());
        let sinks = self.sinks.values_mut().flatten().map(|pending| &mut pending.committable);
        sources.chain(operators).chain(sinks)
    }

    /// Every chunk that the state refers to: segments, and what committables need. One that several refer to comes
    /// several times.
    pub fn chunks(&self) -> impl Iterator<Item = &ChunkRef> {
        let segments = self.segments().filter_map(|segment| match segment {
            Segment::Chunk(chunk) => Some(chunk),
            Segment::Json(_) | Segment::Bytes(_) => None,
        });
        segments.chain(self.sinks.values().flatten().flat_map(|pending| &pending.chunks))
    }

    /// Its size in bytes, wherever they are.
    pub fn bytes(&self) -> u64 {
        let prepared = self.sinks.values().flatten().flat_map(|pending| &pending.chunks);
        self.segments().map(Segment::size).sum::<u64>() + prepared.map(|chunk| chunk.bytes).sum::<u64>()
    }

    /// Every uid that has state, in order: what a restore must find a place for.
    pub fn uids(&self) -> impl Iterator<Item = &Uid> {
        self.sources.keys().chain(self.operators.keys()).chain(self.sinks.keys())
    }
}

impl Entry {
    /// The name of the snapshot that this entry is.
    pub fn snapshot_id(&self) -> SnapshotId {
        SnapshotId { job: self.job.clone(), position: self.position, epoch: self.epoch }
    }
}

impl SnapshotId {
    /// The name of a request to restore this snapshot that was not given one: it is obeyed once.
    pub fn request(&self) -> RequestId {
        RequestId(self.to_string())
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.job, self.position)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PendingState {
    /// The committable as stored state, where it is inline JSON.
    pub fn inline(&self) -> Option<Stored> {
        match &self.committable {
            Segment::Json(json) => Some(Stored { version: self.version, json: json.clone() }),
            Segment::Bytes(_) | Segment::Chunk(_) => None,
        }
    }
}
