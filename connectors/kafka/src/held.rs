//! Records of an epoch that the producer does not have yet.
//!
//! Nobody sees a record before its epoch is committed, so it can wait for others and be sent in one request
//! with them, until it is asked for at the barrier. librdkafka has `linger.ms` for that, with two flaws for
//! us: a barrier waits until it is over, and its last millisecond librdkafka spends in a loop that takes a
//! core, on a small machine from the broker.

use std::time::Duration;

use tokio::time::Instant;

use crate::policy::size;
use crate::record::ProducerRecord;
use crate::sink::now_ms;

/// A record waits no longer where others come after it.
const WAIT_MAX: Duration = Duration::from_millis(5);

/// More is worth a request of its own.
const BYTES_MAX: usize = 64 << 10;

/// What waits.
#[derive(Default)]
pub(crate) struct Held {
    records: Vec<ProducerRecord>,
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
}

impl Held {
    /// Takes records behind what waits, and gives back all where it has waited long enough or is much.
    pub(crate) fn add(&mut self, records: &mut Vec<ProducerRecord>) -> Vec<ProducerRecord> {
        if records.is_empty() {
            return Vec::new();
        }
        let now = now_ms();
        for record in records.iter_mut() {
            self.bytes += size(record);
            record.timestamp.get_or_insert(now);
        }
        if self.records.is_empty() {
            // At full speed nothing waits: what comes is passed on as it is.
            std::mem::swap(&mut self.records, records);
        } else {
            self.records.append(records);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.bytes < BYTES_MAX && since.elapsed() < WAIT_MAX {
            return Vec::new();
        }
        self.take()
    }

    /// Gives back all.
    pub(crate) fn take(&mut self) -> Vec<ProducerRecord> {
        std::mem::take(self).records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: usize, bytes: usize) -> Vec<ProducerRecord> {
        vec![ProducerRecord::new("t", vec![0; bytes]); count]
    }

    #[tokio::test(start_paused = true)]
    async fn records_wait_for_others_until_they_are_much_or_old_or_wanted() {
        let mut held = Held::default();
        assert!(held.add(&mut records(10, 100)).is_empty());
        tokio::time::advance(WAIT_MAX).await;
        assert_eq!(held.add(&mut records(1, 100)).len(), 11, "old");
        assert!(held.add(&mut records(2, 100)).is_empty(), "the wait begins anew");
        assert_eq!(held.add(&mut records(1, BYTES_MAX)).len(), 3, "much");
        assert!(held.add(&mut records(3, 100)).is_empty());
        assert_eq!(held.take().len(), 3, "wanted");
        assert!(held.take().is_empty());
        tokio::time::advance(WAIT_MAX).await;
        assert!(held.add(&mut Vec::new()).is_empty());
        assert!(held.add(&mut records(1, 100)).is_empty(), "the clock starts with a record");
    }

    #[test]
    fn a_record_has_the_time_at_which_it_was_written_and_not_sent() {
        let mut held = Held::default();
        let mut given = records(2, 10);
        given[1].timestamp = Some(7);
        held.add(&mut given);
        let taken = held.take();
        assert!(taken[0].timestamp.is_some());
        assert_eq!(taken[1].timestamp, Some(7));
    }
}
