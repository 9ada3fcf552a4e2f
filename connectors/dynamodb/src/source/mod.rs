//! What is read: all items of a table once, in segments, and the changes of a table as they come, from its stream.

mod scan;
mod size;
mod streams;

pub use scan::{DynamoScan, DynamoScanConfig, DynamoScanReader, DynamoSegment};
pub use streams::{
    DynamoEvent, DynamoShard, DynamoStream, DynamoStreamConfig, DynamoStreamReader, EventKind, OnDataLoss,
    StreamStart,
};
