//! Streams: shards that go on in others, disappear and are trimmed, by a script; and the records of a real server.

mod conformance;
mod drive;
mod killed;
mod lineage;
mod lost;
mod random;
mod real;
