//! A service within the process, on a clock that is moved on and does not run: what no real stream of a test can have is counted here, such as ten thousand shards.
//!
//! The whole of the SDK is under way between it and the source, but for the connection. It refuses what the service refuses: more than five calls for a shard
//! within a second, and any while the time for what was given last is not over.

mod cpu;
mod planned;
mod polled;
mod service;
