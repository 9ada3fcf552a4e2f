//! Tests of whole processes: the example job `flights` is killed, stopped, restored, forked, fenced and fed
//! with damaged input, and its rows are compared with the answer of a database. The tests are in `tests/`;
//! here is what they share.

#![allow(clippy::panic, reason = "a test fails by it")]

mod binary;
mod job;
mod kills;
mod seed;
mod sql;
mod watcher;
mod world;

pub use binary::flights;
pub use job::{Ended, Job};
pub use kills::killed_again_and_again;
pub use seed::{seed, with_seeds};
pub use sql::expected;
pub use watcher::Watcher;
pub use world::World;
