//! The sink on a real HBase: what its suites promise, and what versions must stand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod clocks;
mod conformance;
mod deletes;
mod epochs;
mod place;
mod refused;
mod versions;
