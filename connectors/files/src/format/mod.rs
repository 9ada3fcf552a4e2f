//! Records in bytes: one module for each format.

mod ahead;
pub(crate) mod columns;
pub(crate) mod csv;
pub(crate) mod encoder;
mod faithful;
pub(crate) mod json_lines;
pub(crate) mod lines;
pub(crate) mod next;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
pub(crate) mod parser;
mod quotes;
mod tape;
