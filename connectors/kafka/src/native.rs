//! What the crate `rdkafka` does not pass on of librdkafka. librdkafka lets every function be called from every thread.

#![allow(unsafe_code)] // calls of C

mod event;
pub(crate) mod message;
pub(crate) mod queue;

use std::ffi::CStr;
use std::time::Duration;

use rdkafka::bindings::{rd_kafka_brokers_add, rd_kafka_flush};
use rdkafka::client::{Client, ClientContext};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;

/// Sends at once what waits for more, and waits for the reports of all that was sent, which another thread
/// must take off; at most for `longest`. Returns whether nothing is under way any more. Blocks.
///
/// The crate's own flush asks with a timeout of zero, and then sleeps 100 ms in a queue of events, which here another
/// thread empties.
pub(crate) fn flush<C: ProducerContext + 'static>(producer: &BaseProducer<C>, longest: Duration) -> bool {
    let longest = i32::try_from(longest.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the handle is that of a producer, valid as long as `producer` is, which is borrowed for the
    // whole call.
    let answer = unsafe { rd_kafka_flush(producer.client().native_ptr(), longest) };
    answer == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// Adds servers to begin with, as `bootstrap.servers` has them. Those that the client has change nothing, but
/// librdkafka keeps a copy of the text each time. Returns how many are new.
pub(crate) fn add_brokers<C: ClientContext>(client: &Client<C>, servers: &CStr) -> i32 {
    // SAFETY: the handle is valid as long as `client` is, and the text as long as `servers`; both are borrowed for the
    // whole call, which copies the text.
    unsafe { rd_kafka_brokers_add(client.native_ptr(), servers.as_ptr()) }
}
