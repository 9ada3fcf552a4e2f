//! A job that counts what it reads from files in a table, as a process of its own, in the mode `ledger`: killed with signal 9 at random moments and
//! at exact ones, while its requests meet faults and the server is killed, and compared with what the files say, item by item.
//!
//! Seeds are printed; with `TIDELOCK_SOAK` there are more kills.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;
mod given;
mod job;
mod killed;
mod world;
