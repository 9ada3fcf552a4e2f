//! Real servers in containers, for the tests of this workspace.
//!
//! The images are made by `tests/containers/images`, on the engine that `tests/containers/engine start`
//! finds or starts; `tests/run` does both. Servers use the host's network and listen on 127.0.0.1 only, so
//! what they advertise is true for every client; this needs Linux.
//!
//! A container is removed when its handle is dropped, and also when the process that started it ends in
//! any other way. Tests that need one are marked `#[ignore = "needs a container"]`.

mod certificates;
mod container;
mod error;
mod hbase;
mod kafka;
mod processes;
mod ready;
mod sql;

pub use error::{Error, Result};
pub use hbase::{Cell, CellKind, FamilyOptions, Gateway, GatewayOptions, HbaseOptions, HbaseServer};
pub use kafka::{Broker, Kafka, KafkaOptions, Secured};
pub use sql::{Database, SqlOptions, SqlServer};
