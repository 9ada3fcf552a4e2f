//! Sources: readers on tokio, one operator on each worker that hands over what they read.

mod alarm;
mod builder;
mod clock;
mod inbox;
mod intake;
mod operator;
mod reader;
mod splits;

pub use builder::SourceBuilder;
pub(crate) use inbox::{Inbox, SourceOrder};
pub use intake::Ahead;
