#![doc = include_str!("../README.md")]

mod blocking;
mod bootstrap;
mod client;
mod committable;
mod config;
mod consumer;
mod control;
mod copies;
mod decode;
mod defaults;
mod error;
mod events;
mod finish;
mod letters;
mod librdkafka;
mod logging;
mod native;
mod places;
mod policy;
mod position;
mod properties;
mod reader;
mod record;
mod sink;
mod slots;
mod source;
mod split;
mod sweep;
mod target;
mod told;
mod verdict;
mod watch;
mod wire;
mod writer;

pub use client::Transactions;
pub use committable::KafkaCommittable;
pub use config::{
    Guarantee, KafkaSinkConfig, KafkaSourceConfig, OnDataLoss, RecordPolicy, Start, Stop, Subscription,
};
pub use control::transactions::{Described, Listed, TransactionState};
pub use decode::{DecodedReader, DecodedSource};
pub use properties::Properties;
pub use reader::KafkaReader;
pub use record::{Header, KafkaRecord, ProducerRecord};
pub use sink::KafkaSink;
pub use source::KafkaSource;
pub use split::KafkaSplit;
pub use verdict::{Examined, Verdict};
pub use writer::KafkaWriter;
