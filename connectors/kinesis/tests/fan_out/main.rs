//! Shards that are read by enhanced fan-out: subscriptions that end in every way that they may, consumers that come and go, and readers that are too slow.
//!
//! No server that could be had does what the service does here. So the calls for it are answered by a shim, which reads the stream from a real server and sends
//! what it finds, and everything else is that server's. That the service itself behaves as the shim does is therefore not proven.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;
mod consumers;
mod drive;
mod ends;
mod frames;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "../source/job.rs"]
mod job;
mod killed;
mod pressure;
mod random;
mod renewed;
mod script;
mod shim;
mod troubles;
mod world;
