//! Certifies Tidelock's sources and sinks, and tries to break them.
//!
//! - [`conformance`]: the promises of the contract as checks; a connector plugs in by a
//!   [`harness`] of about thirty lines.
//! - [`doubles`]: a source and a sink in memory, correct or broken on purpose. No check is trusted before
//!   one of them fails it.
//! - [`oracle`]: the ledger that says whether every input arrived once and in order.
//! - [`sim`]: a whole job in a world that crashes, pauses, delays and repeats.

pub mod check;
pub mod conformance;
pub mod doubles;
pub mod harness;
pub mod oracle;
pub mod sim;
