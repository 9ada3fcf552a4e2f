#![doc = include_str!("../README.md")]
mod aggregate;
mod bytes_text;
mod check;
mod client;
mod direct;
mod error;
mod hash_key;
mod header;
mod leases;
mod make;
mod mark;
mod numbered;
mod place;
mod put;
mod puts;
mod record;
mod seen;
mod sink;
mod sink_config;
mod source;
mod target;
mod trail;
mod writer;

pub use leases::{
    Begins, Checkpoint, InitialPosition, Lease, LeaseExport, LeasedStream, Leases, LeasesConfig, Plan,
    Planned, Refusal, Written, export_leases,
};
pub use make::make_stream;
pub use numbered::KinesisCommittable;
pub use put::KinesisPut;
pub use record::KinesisRecord;
pub use sink::KinesisSink;
pub use sink_config::{KinesisSinkConfig, Mode, Order};
pub use source::{
    ConsumerLifecycle, FanOutConfig, Given, GivenAt, KinesisReader, KinesisShard, KinesisStream,
    KinesisStreamConfig, OnDataLoss, StreamStart, StreamStop,
};
pub use tidelock_aws::AwsConfig;
pub use writer::KinesisWriter;
