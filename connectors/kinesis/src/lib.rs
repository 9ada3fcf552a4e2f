#![doc = include_str!("../README.md")]
mod client;
mod error;
mod hash_key;
mod leases;
mod record;
mod source;

pub use leases::{
    Begins, Checkpoint, InitialPosition, Lease, LeaseExport, LeasedStream, Leases, LeasesConfig, Plan,
    Planned, Refusal, Written, export_leases,
};
pub use record::KinesisRecord;
pub use source::{
    Given, GivenAt, KinesisReader, KinesisShard, KinesisStream, KinesisStreamConfig, OnDataLoss, StreamStart,
    StreamStop,
};
pub use tidelock_aws::AwsConfig;
