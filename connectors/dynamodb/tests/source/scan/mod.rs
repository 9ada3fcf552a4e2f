//! Scans of a real server: every item once, however the table is cut and whatever dies meanwhile.

mod conformance;
mod killed;
mod shape;
