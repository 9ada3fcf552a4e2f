//! The sink in the mode `ledger`, on a server: what its suites promise, and that every change is applied once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod answers;
mod attempts;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod epochs;
mod lost;
mod place;
mod random;
mod refused;
mod settings;
