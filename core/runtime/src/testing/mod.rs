//! Doubles for tests of whole attempts: a coordinator that obeys the test, sources and sinks in memory.

mod fake;
mod memory;
mod tests;

pub(crate) use fake::Fake;
pub(crate) use memory::{MemorySink, MemorySource, committed};
