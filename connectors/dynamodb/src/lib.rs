#![doc = include_str!("../README.md")]
mod batched;
mod bytes_text;
mod change;
mod check;
mod client;
mod deleted;
mod error;
mod item;
mod key;
mod ledger;
mod lookup;
mod make;
mod mark;
mod number;
mod projection;
mod read_units;
mod requests;
mod sink;
mod sink_config;
mod source;
mod table;
mod target;
mod value;
mod versioned;
mod whole;
mod wire;
mod writer;

pub use change::{Change, ItemChange, ItemUpdate};
pub use item::{Item, item_bytes, item_of, record_of};
pub use key::{KeyKind, key};
pub use ledger::DynamoCommittable;
pub use lookup::{DynamoLookup, DynamoLookupConfig};
pub use make::make_table;
pub use sink::DynamoSink;
pub use sink_config::{DynamoSinkConfig, Mode, Versions};
pub use source::{
    DynamoEvent, DynamoScan, DynamoScanConfig, DynamoScanReader, DynamoSegment, DynamoShard, DynamoStream,
    DynamoStreamConfig, DynamoStreamReader, EventKind, OnDataLoss, StreamStart,
};
pub use tidelock_aws::AwsConfig;
pub use value::Value;
pub use writer::DynamoWriter;
