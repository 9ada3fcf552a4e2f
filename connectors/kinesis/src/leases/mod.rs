//! KCL's table of leases, as a way in and as a way back.
//!
//! ```text
//!   KCL's table ──read, watched──> leases ──reconciled with the shards that there are──> given positions ──> first snapshot
//!                                                                                                                │
//!   a table of its own <──written after checkpoints, or by hand from a log── positions of the snapshot <──────────┘
//! ```
//!
//! - **In**, once: at the very first discovery of a job. From then on positions are in the snapshot alone (I2), and nobody looks at the table again.
//! - **A checkpoint of KCL** is the last record that was processed, and within an aggregate the last one of its records. So it is read from that record on, and
//!   what was processed of it is left out. To begin after it would lose the rest of an aggregate.
//! - **A worker that is alive** writes to its table all the time. That a lease has an owner says nothing: the name stays when a worker ends.
//! - **Back**, if it is wanted: a table that KCL can be started on, and that monitors of its lag understand. It is written when a checkpoint is durable, and
//!   no position is ever read from it. Once a worker has taken a lease nothing is written any more.

mod by_hand;
mod config;
mod due;
mod export;
mod import;
mod lease;
mod make;
mod plan;
mod progress;
mod reconcile;
mod row;
mod table;

pub use by_hand::export_leases;
pub use config::{LeaseExport, LeasesConfig};
pub(crate) use export::Export;
pub use export::Written;
pub use import::Leases;
pub use lease::{Checkpoint, Lease, LeasedStream};
pub use plan::{Begins, Plan, Planned, Refusal};
pub(crate) use progress::all_of;
pub use reconcile::InitialPosition;

#[cfg(test)]
mod dumps;
#[cfg(test)]
mod tests;
