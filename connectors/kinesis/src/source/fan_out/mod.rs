//! Enhanced fan-out: the service sends what comes, by a subscription of its own for each shard and a throughput that no other reader shares.
//!
//! ```text
//!   a task for each subscription                          the reader
//!   SubscribeToShard ──events──> [ room for a few ] ──────> a page, and with it where the next subscription goes on
//!      │ its time is up, silence, no room, an error: it is over                  │
//!      └──────────────────── the next one: five seconds after this one began <───┘
//! ```
//!
//! - **A consumer** is registered with each stream under a name, and costs something for as long as it is there. Whether it is made, kept and removed is a
//!   setting. One name is for one job: the service gives each consumer one subscription for a shard, and a later one takes its place.
//! - **A subscription** lives for five minutes. It is given up a little earlier, and not at the same moment for all shards. The next one begins
//!   after the last event that was *handed over*: what the task took beyond it is sent again.
//! - **Where it goes on** is what the event said, `ContinuationSequenceNumber`, as long as all that comes after it must be there still. Where it lags so far
//!   behind that some of it may have been thrown away, the reader begins from its position instead, and proves that nothing is missing.
//! - **Nothing blocks**: the task takes events off the connection while there is room for them. Where there is none for a while it gives the subscription
//!   up, because connections are shared, and what nobody takes holds up the others on it.
//! - **Silence** is no idle shard: the service sends empty events all the time. The SDK has no limit for it, so there is one here.
//! - **The end of a shard** is an event that says nowhere to go on and names what goes on from the shard. One that does not name it may as well say nothing at all:
//!   the shard is then read without a consumer, and that answer counts.
//! - **Not found** may be said of the consumer or of the shard. The shard is asked for by itself before it is taken for gone.

mod call;
mod config;
mod connections;
mod consumer;
mod consumers;
mod fault;
mod fetch;
mod subscription;
mod times;

pub use config::{ConsumerLifecycle, FanOutConfig};

pub(crate) use consumers::Consumers;
