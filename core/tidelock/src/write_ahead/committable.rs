//! What the snapshot stores of one writer's epoch: the records themselves, or the chunks that have them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::log::ChunkRef;
use crate::{
    Committable, Error, ErrorKind, Generation, JobId, Result, Versioned, from_json, unknown_version,
};

/// A chunk of the job's log with records of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordChunk {
    /// Where it is, and how its bytes are checked.
    pub(super) chunk: ChunkRef,
    /// How many records it has.
    pub(super) records: u64,
    /// How long their JSON is.
    pub(super) json_bytes: u64,
}

/// The records of one writer and one epoch, as the snapshot stores them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteAheadCommittable {
    pub(super) job: JobId,
    pub(super) generation: Generation,
    /// Where its records go, in words, where the sink said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<String>,
    /// The version of the record's stored form.
    #[serde(rename = "v")]
    pub(super) record_version: u16,
    /// A JSON array of records, where they are few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) records: Option<Box<RawValue>>,
    /// Where the records are otherwise, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) chunks: Vec<RecordChunk>,
}

impl WriteAheadCommittable {
    /// The history that wrote it: with the number of its epoch it is the [`Version`](super::Version) with which it is applied.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Where its records go, in words: see [`WriteAhead::at`](super::WriteAhead::at). `None` where nobody said so.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// How long the JSON of its records is, wherever they are.
    fn json_bytes(&self) -> u64 {
        let here = self.records.as_ref().map_or(0, |records| records.get().len() as u64);
        here + self.chunks.iter().map(|chunk| chunk.json_bytes).sum::<u64>()
    }

    /// Reads a JSON array of its records.
    pub(super) fn decode<R: Versioned>(&self, json: &str) -> Result<Vec<R>> {
        if self.record_version == R::VERSION {
            return from_json(json);
        }
        let records: Vec<Box<RawValue>> = from_json(json)?;
        records.iter().map(|record| R::upgrade(self.record_version, record.get())).collect()
    }

    /// Reads the JSON array of one of its chunks.
    pub(super) fn decode_chunk<R: Versioned>(&self, chunk: &RecordChunk, json: Vec<u8>) -> Result<Vec<R>> {
        let wrong = |why: &str| Error::new(ErrorKind::Corrupt, "read prepared records", why);
        let named = |error: Error| error.with("chunk", &chunk.chunk.name);
        let json = String::from_utf8(json)
            .map_err(|error| named(wrong("a chunk of records is not text").because(error)))?;
        let records = self.decode(&json).map_err(named)?;
        if records.len() as u64 != chunk.records {
            return Err(named(wrong("a chunk does not have as many records as its committable says"))
                .with("records_expected", chunk.records)
                .with("records_found", records.len()));
        }
        Ok(records)
    }
}

impl fmt::Debug for WriteAheadCommittable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Records are the user's data: they are not for logs.
        let Self { job, generation, record_version, chunks, .. } = self;
        let (bytes, chunks, place) =
            (self.json_bytes(), chunks.len(), self.place().unwrap_or("a place without a name"));
        write!(
            f,
            "WriteAheadCommittable({job}, generation {generation}, for {place}, v{record_version}, {bytes} bytes, {chunks} chunks)"
        )
    }
}

impl Versioned for WriteAheadCommittable {
    const VERSION: u16 = 3;

    fn upgrade(version: u16, json: &str) -> Result<Self> {
        match version {
            // Neither names its place. The first always has its records, and never a chunk.
            1 | 2 => from_json(json),
            other => Err(unknown_version::<Self>(other)),
        }
    }
}

impl Committable for WriteAheadCommittable {
    fn chunks(&self) -> Vec<ChunkRef> {
        self.chunks.iter().map(|records| records.chunk.clone()).collect()
    }
}
