//! Tables as sources: a bounded scan of what is there, and an endless one of what is added.
//!
//! ```text
//!   relation ──> key: unique, NOT NULL, of a type with one order at the server
//!      │
//!      ├── scan ────────> ranges of the key ──> a split for each:  (after, end]
//!      └── incremental ─> one split without an end:                (after, rows that are old enough]
//!                                   │
//!                   page: WHERE key > after AND key <= end ORDER BY key LIMIT n
//!                                   │
//!                   Batch { records, resume: after = the key of the last one }
//! ```
//!
//! Every comparison of keys is done by the server, by the order of the column: what comes after `b` is never decided here,
//! where nobody knows its collation. A page that failed is asked for again, as nothing outside remembers it.

mod config;
mod discovery;
mod incremental;
mod key;
mod order;
mod page;
mod reader;
mod reading;
mod relation;
mod scan;
mod snapshot;
mod split;

pub use config::{OnLostSnapshot, SqlCut, SqlIncrementalConfig, SqlRelation, SqlScanConfig, SqlStart};
pub use incremental::{IncrementalReader, SqlIncremental};
pub use scan::{ScanReader, SqlScan};
pub use split::SqlSplit;
