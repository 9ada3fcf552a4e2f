//! The changes of a table as they come, from its stream.
//!
//! ```text
//!   shard A ──closed──┬──> shard B ──closed──> shard D ──> ..        a split for each shard; a child is found when its parent is finished
//!                     └──> shard C ──open──────────────────> ..
//!
//!   at the end of A: its children are asked for ──> the last position of A names them ──> A is finished ──> they are found
//!                                                         └──────────────── one entry of the log ────────────────┘
//! ```
//!
//! A key is in one open shard at a time, and in the next one its changes go on in one of the children: with parents before children they come in
//! their order. DynamoDB throws records away after a day, and then the shards that had them.
//!
//! - **Where a split is**: after a sequence number; or at the beginning of a shard, the first record of which is named where it is known, so that
//!   what was thrown away is noticed; or where the shard ended when the job began, as an iterator. An iterator lives for a quarter of an hour. Where no
//!   record came within that time and the job began anew, the shard is read from its first record on, and what is older than the beginning of the job by more
//!   than clocks may be apart is left out.
//! - **What was thrown away** before it was read is a loss, and a setting says what becomes of it. It is one where a position is not there any more, where a
//!   shard is not, and where shards are missing between one that was read and one that is there. It may be one where nothing was read of a shard for
//!   longer than a day, and no sequence number can tell.
//! - **The end of a shard** is the answer that has no next iterator, and nothing else: not an error, and not that a shard is closed.
//! - **A shard is finished when its children are known**, and their names are in its last position. DescribeStream may lag behind: it is asked
//!   again. Of a stream that was switched off there are none.
//! - **What was over when the job began**, because it begins now, or because nothing is left of it, is known from the beginning as shards that have ended.
//! - **A shard is forgotten** when it is there no more, all its children are known, and its parent is forgotten: so a shard that disappears unread is
//!   missed, and one that was read is never taken for a new one. That a list lacks a shard does not say that it is not there: it is asked for by its name.
//! - **What no list has and is there** goes on from nobody knows what: it waits until nothing is read that it could go on from.

mod api;
mod config;
mod event;
mod family;
mod lineage;
mod loss;
mod reader;
mod reading;
mod shard;
mod stream;

pub use config::{DynamoStreamConfig, OnDataLoss, StreamStart};
pub use event::{DynamoEvent, EventKind};
pub use reader::DynamoStreamReader;
pub use shard::DynamoShard;
pub use stream::DynamoStream;
