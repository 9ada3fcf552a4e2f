//! What librdkafka puts into a queue.

use std::ptr::NonNull;

use rdkafka::bindings::{rd_kafka_event_destroy, rd_kafka_event_t};

/// One event, destroyed with the value.
pub(super) struct Event(pub(super) NonNull<rd_kafka_event_t>);

// SAFETY: an event belongs to whoever took it off the queue, on whatever thread.
unsafe impl Send for Event {}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: taken off a queue by us, and nobody else destroys it.
        unsafe { rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}
