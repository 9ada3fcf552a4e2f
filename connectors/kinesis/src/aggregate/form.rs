//! The form of an aggregate, as the KPL defines it.

use bytes::Bytes;
use md5::{Digest, Md5};

/// What an aggregate begins with.
pub(super) const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// How long the checksum at its end is.
pub(super) const DIGEST_BYTES: usize = 16;

/// The user records and their keys.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    pub(super) partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub(super) records: Vec<Record>,
}

/// A user record. The definition requires the first and the third: here they are optional, so that what lacks them is noticed. Its tags are nobody's.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Record {
    #[prost(uint64, optional, tag = "1")]
    pub(super) partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(super) data: Option<Bytes>,
}

/// The checksum of the protobuf.
pub(super) fn digest(protobuf: &[u8]) -> [u8; DIGEST_BYTES] {
    Md5::digest(protobuf).into()
}
