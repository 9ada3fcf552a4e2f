//! A source and a sink in memory, correct or broken on purpose.
//!
//! The correct ones show how small a connector can be, and serve tests of pipelines. The broken ones
//! test the suite: a check is worth nothing until some connector fails it, so each check has a defect
//! here that fails *it*, and no other check but those that [`SinkDefect::fails`], [`SourceDefect::fails`],
//! [`TableDefect::fails`], [`RejectingDefect::fails`] and [`ValuesDefect::fails`] name and give the reason for.

mod defect;
mod feed;
mod harness;
mod picky;
mod sink;
mod source;
mod table;
mod target;
mod values;

pub use defect::{Fails, RejectingDefect, SinkDefect, SourceDefect, TableDefect, ValuesDefect};
pub use feed::Feed;
pub use harness::{MemorySinkHarness, MemorySourceHarness};
pub use picky::{PickyHarness, PickySink, PickyWriter};
pub use sink::{MemoryCommittable, MemorySink, MemoryWriter};
pub use source::{BATCH_RECORDS_MAX, MemoryReader, MemorySource, MemorySplit};
pub use table::{Change, Table, TableHarness, TableSink, TableWriter};
pub use target::{Target, TransactionId};
pub use values::{MemoryValuesHarness, ValuesCommittable, ValuesSink, ValuesWriter};
