//! Several user records in one record of a stream, as the KPL puts them there and every KCL opens them.
//!
//! ```text
//!   F3 89 9A C2 │ protobuf: a table of partition keys, one of explicit hash keys, user records that name their keys by index │ MD5 of the protobuf
//! ```
//!
//! What does not look like this to its last byte is a plain record. So is what has the right checksum and names keys that it does not have: nobody can say
//! where its records belong, and as a plain record nothing of it is lost.
//!
//! A producer finds the shard for an aggregate in its map of the stream, which may be old. Where the shard was split meanwhile, some
//! of the user records are not in the range of the shard that the aggregate came to, and the KPL puts those once more. Every consumer must then drop **the whole
//! aggregate**, or each of its records would come twice.

mod decode;
mod encode;
mod form;

pub(crate) use decode::{Opened, open};
pub(crate) use encode::{Aggregate, OWN_BYTES, RECORD_OWN_BYTES};
