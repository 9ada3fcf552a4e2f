//! A job that copies changes from files into HBase, as a process of its own, in both modes: killed with signal 9 at random moments and at exact
//! ones, again and again, and compared with what the changes say, cell by cell.
//!
//! Seeds are printed; with `TIDELOCK_SOAK` there are more kills.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod away;
mod given;
mod job;
mod killed;
mod world;
