//! The bounded source: the rows of a table, in ranges of their keys.
//!
//! ```text
//!   start keys of the regions, or ranges that are given ──> a split for each:  [start, stop), and the last row that was read
//!                                                                 │
//!      open a scanner after that row, on a connection that is held for it
//!                                                                 │
//!      scannerGetList: rows ──> Batch { records, resume: after = the last of them }
//! ```
//!
//! A scanner is a number of its gateway, counted from 0: whoever says the number reads on, whatever connection it comes by, and
//! a gateway that was started again gives the same numbers to others. So a scanner here lives on one connection, is taken from
//! its place for each call, and comes back with an answer alone: after an error, an expiry or an idle while there is none, and
//! the next call opens one after the last row that was read.
//!
//! A row is read whole, or not at all: the setting that would let a gateway give it in parts is never set. What is in several
//! rows is of several moments: HBase knows no snapshot that a scan could be read by.

mod config;
mod cut;
mod key;
mod reader;
mod scan;
mod scanner;
mod size;
mod split;

pub use config::{HbaseKeyRange, HbaseScanConfig, HbaseScanRows};
pub use reader::HbaseScanReader;
pub use scan::HbaseScan;
pub use split::HbaseSplit;
