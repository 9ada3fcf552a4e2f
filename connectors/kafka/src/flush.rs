//! librdkafka's flush, which the crate `rdkafka` does not pass on: its own asks with a timeout of zero, and
//! then sleeps 100 ms in a queue of events, which here another thread empties.

#![allow(unsafe_code)] // the one call of C that we make ourselves

use std::time::Duration;

use rdkafka::bindings::rd_kafka_flush;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;

/// Sends at once what waits for more, and waits for the reports of all that was sent, which another thread
/// must take off; at most for `longest`. Returns whether nothing is under way any more. Blocks.
pub(crate) fn flush<C: ProducerContext + 'static>(producer: &BaseProducer<C>, longest: Duration) -> bool {
    let longest = i32::try_from(longest.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the handle is that of a producer, valid as long as `producer` is, which is borrowed for the
    // whole call; librdkafka lets every function be called from every thread.
    let answer = unsafe { rd_kafka_flush(producer.client().native_ptr(), longest) };
    answer == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}
