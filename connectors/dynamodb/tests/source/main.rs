//! What is read: lookups and scans of a real server, and streams of a real one and of a scripted one, which does what the real one never does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod answers;
#[path = "../common/mod.rs"]
mod common;
mod deleted;
mod fake;
mod job;
mod lookup;
mod scan;
mod scripted;
mod streams;
