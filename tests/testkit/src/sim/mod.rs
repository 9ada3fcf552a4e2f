//! A simulated world in which a job is crashed, paused, delayed and replayed at every crash point.
//!
//! ```text
//!        drive: one thread, a paused clock, one seeded generator
//!   ┌───────────────────────────────────────────────────────────────┐
//!   │  process 0: coordinator + log + host    (paused: a zombie)    │──ask──> store, topics, tables, input
//!   │  process 1: coordinator + log + host    (owns the job)        │             │
//!   └───────────────────────────────────────────────────────────────┘     witness: accuses at once
//!        a supervisor starts, kills, pauses, wakes                        oracle: audits at the end
//! ```
//!
//! The coordinator, the log and the host are the real ones. An attempt is one tree of futures: dropping
//! it is a crash, not polling it is a pause. Everything outside is simulated, and unforgiving.
//!
//! What we purposely do not simulate: disks that lie (the log's own tests flip every byte), and clocks
//! that run at different speeds; wall clocks do differ.

pub mod audit;
pub mod doubles;
pub mod drive;
pub mod input;
pub mod keeper;
pub mod link;
pub mod plan;
pub mod points;
pub mod process;
pub mod scene;
pub mod seed;
pub mod store;
pub mod table;
pub mod topic;
pub mod topic_sink;
pub mod world;
