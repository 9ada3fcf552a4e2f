#![doc = include_str!("../README.md")]
#![allow(dead_code, unused_imports, reason = "the sink and the lookup come next")]

mod client;
mod column;
mod config;
mod database;
mod dialect;
mod error;
mod fit;
mod kind;
mod lookup;
mod names;
mod row;
mod table;
mod value;

pub use config::{RecordPolicy, SqlSinkConfig};
pub use database::SqlConfig;
pub use kind::{DatabaseKind, Secret, Tls};
pub use lookup::{SqlLookup, SqlLookupConfig};
