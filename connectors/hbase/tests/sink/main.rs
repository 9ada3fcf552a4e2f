//! The sink on a real HBase: what its suites promise, and what versions must stand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod answers;
mod attempts;
mod away;
mod clocks;
mod conformance;
mod deletes;
mod elsewhere;
mod epochs;
mod held;
mod place;
mod refused;
mod versions;
#[path = "../common/wire.rs"]
mod wire;
