//! The sink, on a server: what its suites promise, and what requests, shards, attempts and logs must not do to it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod aggregates;
mod answers;
mod attempts;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod order;
mod place;
mod random;
mod reading;
mod refused;
mod settings;
mod throttled;
