//! How a write-ahead sink is set.

use serde::{Deserialize, Serialize};

/// How a write-ahead sink keeps an epoch until it is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WriteAheadConfig {
    /// The most bytes, as JSON, that one writer takes in one epoch: more are an error. Default: as many as come. Where the
    /// host has no place for chunks it is 16 MiB at most.
    pub epoch_bytes_max: Option<u64>,
    /// So many bytes, as JSON, of one writer and one epoch stay in the entry of the log: a chunk beside it costs a request
    /// more, and an entry is written again while it waits to be committed. Default 16 KiB.
    pub in_entry_bytes_max: usize,
    /// How many bytes, as JSON, a chunk gets: a record more makes it full. A writer holds a few chunks in memory, and so does a
    /// commit. Default 1 MiB.
    pub chunk_bytes: usize,
}

impl Default for WriteAheadConfig {
    fn default() -> Self {
        Self { epoch_bytes_max: None, in_entry_bytes_max: 16 * 1024, chunk_bytes: 1024 * 1024 }
    }
}
