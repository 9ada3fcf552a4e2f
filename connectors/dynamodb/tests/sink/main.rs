//! The sink in the modes that write at once, on a server: what its suites promise, and what versions and batches must stand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod answers;
mod attempts;
mod batches;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod order;
mod place;
mod refused;
mod settings;
mod tombstones;
mod values;
mod versions;
