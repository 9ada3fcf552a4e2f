//! Pieces of stored state: inline in the manifest while small, in a chunk beside it when large.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Larger segments go into a chunk: a manifest stays small enough to be written with every checkpoint
/// and read by a person.
pub(crate) const INLINE_MAX: u64 = 16 * 1024;

/// A piece of state.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// JSON, readable in the manifest.
    Json(Box<RawValue>),
    /// Any bytes, base64 in the manifest.
    Bytes(#[serde(serialize_with = "to_base64", deserialize_with = "from_base64")] Bytes),
    /// Bytes in a chunk of the same log.
    Chunk(ChunkRef),
}

/// Where a chunk is and how its bytes are checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkRef {
    /// Its name relative to the log, so that a copied folder stays whole.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// CRC-32C of its bytes.
    pub crc32c: u32,
}

impl Segment {
    /// Its size in bytes, wherever they are.
    pub fn size(&self) -> u64 {
        match self {
            Self::Json(json) => json.get().len() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Chunk(chunk) => chunk.bytes,
        }
    }
}

impl PartialEq for Segment {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(a), Self::Json(b)) => a.get() == b.get(),
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Chunk(a), Self::Chunk(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Segment {}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(json) => f.write_str(json.get()),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Chunk(chunk) => write!(f, "{} ({} bytes)", chunk.name, chunk.bytes),
        }
    }
}

fn to_base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
}
