//! Streams: shards that go on in others, disappear and are trimmed, by a script; and the records of a real server.

mod conformance;
pub(crate) mod drive;
mod feed;
mod horizon;
mod killed;
mod lineage;
mod lists;
mod lost;
mod off;
mod processes;
mod random;
mod real;
