#![doc = include_str!("../README.md")]
mod bytes_text;
mod column;
mod config;
mod error;
mod gateway;
mod lookup;
mod row;
#[allow(dead_code, unused_imports, reason = "the sink tries deletes and looks at times")]
mod table;

pub use column::Column;
pub use config::{HbaseConfig, Protocol, Transport};
pub use lookup::{HbaseLookup, HbaseLookupConfig};
pub use row::{Cell, HbaseRow};
