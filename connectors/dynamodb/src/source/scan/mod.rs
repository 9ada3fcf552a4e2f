//! The bounded source: the items of a table, in segments that are read side by side.
//!
//! ```text
//!   a number of segments ──> a split for each: which one of how many, and the key of the last item that was read
//!                                 │
//!               Scan, after that key: a page ──> Batch { items, resume: after the key that the page ends with }
//! ```
//!
//! DynamoDB cuts a table into segments by the hash of the partition key, so an item is in the same one of so many for ever: the number is decided
//! once, with the first entry of the log. The key that a page ends with is where the next one begins, in another process as well. A page ends where
//! it has a megabyte, and may be empty in the middle of a segment.
//!
//! What is in several pages is of several moments: DynamoDB knows no snapshot that a scan could be read by. An item that is there all the time is read
//! once, whatever happens to others.

mod config;
mod reader;
mod reading;
mod segment;
mod table;

pub use config::DynamoScanConfig;
pub(super) use config::default_retry_for_ms;
pub use reader::DynamoScanReader;
pub use segment::DynamoSegment;
pub use table::DynamoScan;
