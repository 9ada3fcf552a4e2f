#![doc = include_str!("../README.md")]
/// The pages of the project's documentation that contain code of this crate: compiled, so that they stay true.
#[cfg(doctest)]
pub mod documentation {
    #[doc = include_str!("../../../docs/changing-state.md")]
    pub mod changing_state {}
}

mod align;
mod ask;
mod attempt;
mod batch;
mod book;
mod budget;
mod cluster;
mod coordination;
mod counters;
mod dispatch;
mod exchange;
mod graph;
mod handle;
mod job;
mod key;
mod keyed;
mod lookup;
mod marks;
mod meeting;
mod outbox;
mod proof;
mod records;
mod reject;
mod restarts;
mod seat;
mod shared;
mod signals;
mod sink;
mod slice;
mod source;
mod spread;
mod state;
mod stop;
mod stream;
mod tasks;
#[cfg(test)]
mod testing;
mod time;
mod transit;
mod wake;
mod window;
mod worker;
mod workers;

pub use exchange::Exchanged;
pub use graph::Graph;
pub use handle::Handle;
pub use job::Job;
pub use key::Key;
pub use keyed::{Context, KeyedOperator, KeyedStream, State};
pub use lookup::{Entries, LookupTables, Lookups};
pub use restarts::Restarts;
pub use source::{Ahead, SourceBuilder};
pub use stream::Stream;
pub use window::{Aggregate, Fixed, Fold, Merge, Session, Sliding, Tumbling, Window, fold};
pub use workers::Workers;
