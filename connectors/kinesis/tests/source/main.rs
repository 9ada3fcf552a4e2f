//! What is read: the streams of a real server, and of a scripted one, which does what the real one never does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod aggregates;
mod answers;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod drive;
mod fake;
mod job;
mod killed;
mod lineage;
mod lost;
mod random;
mod real;
mod restored;
mod scripted;
