#![doc = include_str!("../README.md")]
mod aside;
mod batch;
mod change;
mod client;
mod column;
mod committable;
mod config;
mod database;
mod dialect;
mod either;
mod error;
mod exact;
mod execute;
mod fit;
mod halves;
mod kind;
mod ledger;
mod lookup;
mod names;
mod own;
mod prepared;
mod refused;
mod rights;
mod row;
mod shape;
mod sink;
mod source;
mod stage;
mod statement;
mod table;
mod target;
mod upsert;
mod value;
mod writer;

pub use change::Change;
pub use committable::SqlCommittable;
pub use config::{Mode, RecordPolicy, SqlSinkConfig, Statements, VersionFrom};
pub use database::SqlConfig;
pub use either::SqlWriter;
pub use kind::{DatabaseKind, Secret, Tls};
pub use lookup::{SqlLookup, SqlLookupConfig};
pub use prepared::{Listed, Outcome, TransactionName, Transactions};
pub use sink::SqlSink;
pub use source::{
    IncrementalReader, OnLostSnapshot, ScanReader, SqlCut, SqlIncremental, SqlIncrementalConfig, SqlRelation,
    SqlScan, SqlScanConfig, SqlSplit, SqlStart,
};
