//! Two jobs, each a process of its own: one puts records into a stream in the mode `numbered`, and one reads them. Both are killed with signal 9 at random moments, paused
//! and woken when others took over, while shards are split and merged: each record is read once, and those of a key in their order.
//!
//! Seeds are printed; with `TIDELOCK_SOAK` there are more kills.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;
mod job;
mod killed;
mod world;
