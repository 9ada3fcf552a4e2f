#![doc = include_str!("../README.md")]
#![allow(dead_code, reason = "the windows that use it follow")]

mod align;
mod attempt;
mod batch;
mod book;
mod budget;
mod counters;
mod dispatch;
mod exchange;
mod graph;
mod handle;
mod job;
mod key;
mod keyed;
mod marks;
mod outbox;
mod restarts;
mod shared;
mod sink;
mod source;
mod state;
mod stop;
mod stream;
mod tasks;
#[cfg(test)]
mod testing;
mod wake;
mod worker;
mod workers;

pub use exchange::Exchanged;
pub use graph::Graph;
pub use handle::Handle;
pub use job::Job;
pub use key::Key;
pub use keyed::{Context, KeyedOperator, KeyedStream, State};
pub use restarts::Restarts;
pub use source::SourceBuilder;
pub use stream::Stream;
pub use workers::Workers;
