//! What tests of whole processes on real servers share: a job as a process that is started, signalled and killed; what its
//! log says, asked from outside; a proxy that holds back the request which commits, or its answer; and a job with something
//! broken in it, which every such test must find out; and servers that are processes, too. The tests are the connectors'.

#![allow(clippy::panic, reason = "a test fails by it")]

mod broken;
mod chance;
mod dynamodb;
mod evidence;
mod kinesis;
mod moment;
mod pace;
mod port;
mod process;
mod proxy;

pub use broken::{Broken, BrokenWriter, Defect};
pub use chance::{PATIENCE, count, is_soak, seed};
pub use dynamodb::DynamoServer;
pub use evidence::{Evidence, Recoveries, splits_of};
pub use kinesis::KinesisServer;
pub use moment::Moment;
pub use pace::Pace;
pub use port::Port;
pub use process::{Ended, Process, example, given, itself};
pub use proxy::{Fate, Proxy, Side, Wire};
