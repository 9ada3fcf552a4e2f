//! Certifies Tidelock's sources and sinks, and tries to break them.
//!
//! - [`conformance`]: the promises of the contract as checks; a connector plugs in by a
//!   [`harness`] of about thirty lines.
//! - [`doubles`]: a source and a sink in memory, correct or broken on purpose. No check is trusted before
//!   one of them fails it.
//! - [`host`]: a whole engine in one page of plain tokio, to run the above and to copy from.
//! - [`oracle`]: the ledger that says whether every input arrived once and in order.
//! - [`HttpFaults`]: a proxy that loses, repeats and delays requests and answers, for connectors that speak HTTP.
//! - [`SmallDisk`]: a disk that is soon full.
//! - [`sim`]: a whole job in a world that crashes, pauses, delays and repeats.
//! - [`tool`]: the command of a connector, on the log of a job.

pub mod check;
pub mod conformance;
pub mod doubles;
pub mod harness;
pub mod host;
mod http_faults;
pub mod oracle;
pub mod sim;
mod small_disk;
pub mod tool;

pub use http_faults::{Fault, HttpFaults, Rewrite};
pub use small_disk::SmallDisk;

/// The tutorial, compiled and run. Only for tests: a published crate does not contain the docs folder.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/adding-a-connector.md")]
pub mod adding_a_connector {}
