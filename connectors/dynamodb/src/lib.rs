#![doc = include_str!("../README.md")]
mod batched;
mod bytes_text;
mod change;
mod check;
mod client;
mod error;
mod item;
mod key;
mod number;
mod requests;
mod sink;
mod sink_config;
mod table;
mod target;
mod value;
mod versioned;
mod whole;
mod wire;
mod writer;

pub use change::{Change, ItemChange, ItemUpdate};
pub use item::{Item, item_bytes, item_of, record_of};
pub use sink::DynamoSink;
pub use sink_config::{DynamoSinkConfig, Mode, Versions};
pub use tidelock_aws::AwsConfig;
pub use value::Value;
pub use writer::DynamoWriter;
