//! Doubles for tests of whole attempts: a coordinator that obeys the test, sources and sinks in memory.

mod align;
mod counting;
mod fake;
mod figures;
mod floors;
#[path = "../../../tidelock/src/testing.rs"]
mod heard;
mod keyed;
mod lookup;
mod memory;
mod reject;
mod restores;
mod slices;
mod snapshot;
mod spread;
mod tests;
mod time;
mod ways;
mod window;

pub(crate) use counting::{Count, count_in};
pub(crate) use fake::{Fake, Twist};
pub(crate) use heard::Heard;
pub(crate) use memory::{Event, MemorySink, MemorySource, committed};
pub(crate) use snapshot::Snapshot;
