//! Keyed state: in memory while a job runs, stored by key group, and only what changed.
//!
//! ```text
//!   table ── freeze at a barrier ──> delta ──> keeper ──> report: part "000-063/128" = base, delta, delta ...
//!     ^                              (bytes)   (tokio)     merges small segments in the background
//!     └────────── load <── merge of all segments of all parts with own groups <── snapshot
//! ```

mod floors;
mod keeper;
mod packed;
mod parts;
mod restore;
mod segment;
mod storage;
mod table;

pub(crate) use floors::Floors;
pub(crate) use keeper::{Frozen, Keeper};
pub(crate) use restore::restore;
pub(crate) use segment::{Entries, Entry, StoredValue, decode};
#[cfg(test)]
pub(crate) use segment::{entries, merge_all};
pub(crate) use storage::Storage;
pub(crate) use table::{Form, Table, Touch};
