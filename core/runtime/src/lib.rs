#![doc = include_str!("../README.md")]
#![allow(dead_code, reason = "the keyed operators that use it follow")]

mod align;
mod attempt;
mod batch;
mod book;
mod budget;
mod counters;
mod dispatch;
mod graph;
mod handle;
mod job;
mod outbox;
mod restarts;
mod shared;
mod sink;
mod source;
mod stop;
mod stream;
mod tasks;
#[cfg(test)]
mod testing;
mod wake;
mod worker;
mod workers;

pub use graph::Graph;
pub use handle::Handle;
pub use job::Job;
pub use restarts::Restarts;
pub use source::SourceBuilder;
pub use stream::Stream;
pub use workers::Workers;
