//! The queue of one partition, read by librdkafka's own interface.
//!
//! The crate `rdkafka` does not say *where* a partition ended, and it panics at a header's name that is not UTF-8.

use std::ffi::{CString, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use rdkafka::bindings::{
    RD_KAFKA_EVENT_ERROR, RD_KAFKA_EVENT_FETCH, rd_kafka_event_error, rd_kafka_event_error_is_fatal,
    rd_kafka_event_message_next, rd_kafka_event_topic_partition, rd_kafka_event_type,
    rd_kafka_queue_cb_event_enable, rd_kafka_queue_destroy, rd_kafka_queue_forward,
    rd_kafka_queue_get_partition, rd_kafka_queue_poll, rd_kafka_queue_t, rd_kafka_t,
    rd_kafka_topic_partition_destroy,
};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::Notify;

use super::event::Event;
use super::message::FetchedMessage;

/// What one partition's queue held.
pub(crate) enum Polled<'a> {
    /// A record.
    Record(FetchedMessage<'a>),
    /// The end of the partition: everything below this offset was in the queue before, or no reader sees it.
    End(i64),
    /// An error.
    Failed(KafkaError),
}

/// The queue of one partition.
pub(crate) struct PartitionQueue<C: ConsumerContext + 'static> {
    queue: NonNull<rd_kafka_queue_t>,
    /// What librdkafka calls back with.
    wake: Arc<Notify>,
    /// Lives longer than its queue.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka lets every function be called from every thread, and takes its own locks.
unsafe impl<C: ConsumerContext + 'static> Send for PartitionQueue<C> {}
// SAFETY: the same.
unsafe impl<C: ConsumerContext + 'static> Sync for PartitionQueue<C> {}

unsafe extern "C" fn wake_reader(_: *mut rd_kafka_t, wake: *mut c_void) {
    // SAFETY: `wake` is the `Notify` that the queue owns; the callback is taken away before it is dropped.
    unsafe { &*wake.cast::<Notify>() }.notify_one();
}

impl<C: ConsumerContext + 'static> PartitionQueue<C> {
    /// Takes a partition's queue out of the consumer's own. `wake` is told whenever it is no longer empty. `None` for a
    /// topic or a partition that cannot be.
    pub(crate) fn open(
        consumer: Arc<BaseConsumer<C>>,
        topic: &str,
        partition: i32,
        wake: Arc<Notify>,
    ) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the handle is valid as long as `consumer` is, which the queue holds; the text is copied.
        let queue = unsafe {
            rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition)
        };
        let queue = NonNull::new(queue)?;
        let opened = Self { queue, wake, consumer };
        // SAFETY: the queue is valid until it is destroyed, in `drop`, which takes the callback away before.
        unsafe {
            rd_kafka_queue_forward(queue.as_ptr(), null_mut());
            let wake = Arc::as_ptr(&opened.wake).cast::<c_void>().cast_mut();
            rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(wake_reader), wake);
        }
        Some(opened)
    }

    /// Takes the next thing off the queue. Does not wait.
    pub(crate) fn poll(&self) -> Option<Polled<'_>> {
        loop {
            // SAFETY: the queue is valid as long as `self` is.
            let event = Event(NonNull::new(unsafe { rd_kafka_queue_poll(self.queue.as_ptr(), 0) })?);
            // SAFETY: the event is valid as long as its value is.
            match unsafe { rd_kafka_event_type(event.0.as_ptr()) } {
                RD_KAFKA_EVENT_FETCH => {
                    // SAFETY: the message is the event's own, and the value keeps the event.
                    let message = unsafe { rd_kafka_event_message_next(event.0.as_ptr()) };
                    let Some(message) = NonNull::new(message.cast_mut()) else { continue };
                    return Some(match FetchedMessage::of(message, event, &self.consumer) {
                        Ok(message) => Polled::Record(message),
                        Err(code) => Polled::Failed(KafkaError::MessageConsumption(code)),
                    });
                }
                RD_KAFKA_EVENT_ERROR => {
                    if let Some(polled) = error_of(&event) {
                        return Some(polled);
                    }
                }
                // Nothing else is put into the queue of a partition.
                _ => {}
            }
        }
    }
}

impl<C: ConsumerContext + 'static> Drop for PartitionQueue<C> {
    fn drop(&mut self) {
        // SAFETY: the queue is valid, and is used no more. librdkafka calls back under the queue's lock, which taking the
        // callback away takes as well: afterwards nobody calls.
        unsafe {
            rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, null_mut());
            rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// What an event of an error says. `None`: it says nothing.
fn error_of(event: &Event) -> Option<Polled<'static>> {
    let event = event.0.as_ptr();
    // SAFETY: the event is valid as long as its value is, which the caller holds.
    let code = unsafe { rd_kafka_event_error(event) };
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => None,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
            // SAFETY: the same; what it returns is ours to destroy, and null where the event has no partition.
            let place = NonNull::new(unsafe { rd_kafka_event_topic_partition(event) })?;
            // SAFETY: not null, and valid until it is destroyed.
            let offset = unsafe { place.as_ref() }.offset;
            // SAFETY: ours, and used no more.
            unsafe { rd_kafka_topic_partition_destroy(place.as_ptr()) };
            Some(Polled::End(offset))
        }
        // SAFETY: the event is valid.
        code if unsafe { rd_kafka_event_error_is_fatal(event) } != 0 => {
            Some(Polled::Failed(KafkaError::MessageConsumptionFatal(code.into())))
        }
        code => Some(Polled::Failed(KafkaError::MessageConsumption(code.into()))),
    }
}
