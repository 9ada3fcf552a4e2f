//! A job that copies changes from files into a table, as a process of its own: killed with signal 9 at random moments and at exact ones, paused and
//! woken when another one took over, its server killed beneath it, and compared with what the changes say, attribute by attribute.
//!
//! Seeds are printed; with `TIDELOCK_SOAK` there are more kills.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod away;
#[path = "../common/mod.rs"]
mod common;
mod example;
mod given;
mod job;
mod killed;
mod world;
