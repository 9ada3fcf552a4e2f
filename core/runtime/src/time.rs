//! The timestamp of timely is the epoch.

/// An epoch, as the timestamp of a dataflow.
pub(crate) type Time = u64;
