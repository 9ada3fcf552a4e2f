//! What is read: the records of streams, shard by shard.
//!
//! ```text
//!   shard A ──split──┬──> shard B ──┐
//!                    └──> shard C ──┴merged──> shard D ──> ..          a split for each shard; a child is found when all its parents are finished
//!
//!   at the end of A: its children are told ──> the last position of A names them ──> A is finished ──> they are found
//!                                                         └──────────────── one entry of the log ────────────────┘
//! ```
//!
//! A key is in one open shard at a time, and in the next one its records go on in one of the children: with parents before children they come in their order.
//!
//! - **Where a split is**: after a record, or after some of the user records in it; at the oldest record, or at a time, where nothing was read yet. A restart asks
//!   for the last record itself, and leaves out what was read: that it comes proves that nothing was thrown away behind it.
//! - **What was thrown away** before it was read is a loss, and a setting says what becomes of it. It is one where the last record does not come, and where a
//!   shard, or the stream, is not there any more. It may be one where nothing was read for longer than records are kept. It is none where the shard was read
//!   to its end so lately that all that came since is kept: each position says when that was.
//! - **The end of a shard** is the answer that has no next iterator, and nothing else: not an error, and not that a shard is closed.
//! - **A shard is finished when its children are known**, and they are in its last position. Where the service does not name them, it is asked for a list until
//!   it does.
//! - **A record may be many**: an aggregate is opened, and a position may be in its middle. What a sink of ours put again is known by its header and left out;
//!   what a shard had of it, its children know.
//! - **A start at the latest record**, or at a time, is a time in every shard, decided once. Where a parent had nothing from that time on, its children begin at
//!   it as well.
//! - **A shard is forgotten** when it is there no more, all its children are known, and its parents are forgotten: so a shard that disappears unread is
//!   missed, and one that was read is never taken for a new one.

pub(crate) mod api;
mod budget;
mod config;
mod family;
mod fan_out;
mod fetch;
mod gate;
mod given;
mod lineage;
mod loss;
mod number;
mod open;
mod polling;
mod reader;
mod reading;
mod shard;
#[cfg(test)]
mod simulated;
mod stream;

pub(crate) use config::{check_stream, name_of};
#[cfg(test)]
pub(crate) use fetch::Child;
pub(crate) use number::compare;
pub(crate) use reading::now_ms;
pub(crate) use shard::{End, Position};

pub use config::{KinesisStreamConfig, OnDataLoss, StreamStart, StreamStop};
pub use fan_out::{ConsumerLifecycle, FanOutConfig};
pub use given::{Given, GivenAt};
pub use reader::KinesisReader;
pub use shard::KinesisShard;
pub use stream::KinesisStream;
