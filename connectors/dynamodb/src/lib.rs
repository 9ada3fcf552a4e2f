#![doc = include_str!("../README.md")]
mod bytes_text;
mod change;
mod client;
mod error;
mod item;
mod key;
mod number;
mod table;
mod value;
mod wire;

pub use change::{Change, ItemChange, ItemUpdate};
pub use item::{Item, item_bytes, item_of, record_of};
pub use tidelock_aws::AwsConfig;
pub use value::Value;
