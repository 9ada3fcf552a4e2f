//! Whether a quiet reader misses something.
//!
//! The last offsets of a partition may hold nothing that a reader sees: the markers that end transactions, and aborted
//! records. So the broker is asked for the batches from the reader's position on, and their headers are looked at.

use std::collections::HashMap;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;

use super::cluster::{Cluster, patiently};
use super::fault::Fault;
use super::names::topic_name;
use super::offsets::{NO_REPLICA, READ_COMMITTED};

/// Bytes asked for at once. Markers have some 80 bytes each.
const FETCH_BYTES: i32 = 256 << 10;

/// The header of a record batch of format 2, up to the first record.
const BATCH_HEADER_BYTES: usize = 61;

const ATTRIBUTE_TRANSACTIONAL: i16 = 1 << 4;
const ATTRIBUTE_CONTROL: i16 = 1 << 5;

impl Cluster {
    /// Whether a reader whose next record is at `position` or behind it has something to read now. A batch that
    /// `position` lies within does not count.
    pub(crate) async fn has_more(
        &self,
        topic: &str,
        partition: i32,
        position: i64,
        read_committed: bool,
    ) -> Result<bool, Fault> {
        let mut next = position;
        loop {
            let data = patiently(|| self.fetch(topic, partition, next, read_committed)).await?;
            match scan(&data, next) {
                Scan::NothingUntil(until) if until > next => next = until,
                Scan::NothingUntil(_) => return Ok(false),
                Scan::Visible => return Ok(true),
            }
        }
    }

    async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        read_committed: bool,
    ) -> Result<PartitionData, Fault> {
        let place = FetchPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(FETCH_BYTES);
        let request = FetchRequest::default()
            .with_replica_id(NO_REPLICA)
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(FETCH_BYTES)
            .with_isolation_level(if read_committed { READ_COMMITTED } else { 0 })
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![
                FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![place]),
            ]);
        let answer = self
            .ask_leader(topic, partition, &request, 11, |answer| {
                let mut partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
                partitions.next().map_or(answer.error_code, |partition| partition.error_code)
            })
            .await?;
        let mut partitions = answer.responses.into_iter().flat_map(|topic| topic.partitions);
        Ok(partitions.next().unwrap_or_default())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Scan {
    /// There is a batch that a reader sees.
    Visible,
    /// All batches up to this offset hold nothing that a reader sees.
    NothingUntil(i64),
}

/// Looks at the headers of the batches that were fetched from `position` on.
fn scan(data: &PartitionData, position: i64) -> Scan {
    // Producers with an aborted transaction, and where it begins. It lasts until the producer's marker.
    let mut aborted: HashMap<i64, Vec<i64>> = HashMap::new();
    for one in data.aborted_transactions.iter().flatten() {
        aborted.entry(one.producer_id.0).or_default().push(one.first_offset);
    }
    let mut batches = data.records.clone().unwrap_or_default();
    let mut next = position;
    while let Some(batch) = Batch::take(&mut batches) {
        let last = batch.base + i64::from(batch.last_delta);
        let begun_before = batch.base < position;
        if batch.is(ATTRIBUTE_CONTROL) {
            if let Some(begins) = aborted.get_mut(&batch.producer_id) {
                begins.retain(|first| *first > batch.base);
            }
        } else {
            let of_aborted = batch.is(ATTRIBUTE_TRANSACTIONAL)
                && aborted
                    .get(&batch.producer_id)
                    .is_some_and(|begins| begins.iter().any(|first| *first <= batch.base));
            if !of_aborted && !begun_before && batch.records > 0 {
                return Scan::Visible;
            }
        }
        next = next.max(last + 1);
    }
    Scan::NothingUntil(next)
}

/// What the header of a record batch says.
struct Batch {
    base: i64,
    last_delta: i32,
    attributes: i16,
    producer_id: i64,
    records: i32,
}

impl Batch {
    fn is(&self, attribute: i16) -> bool {
        self.attributes & attribute != 0
    }

    /// Takes the next whole batch. `None` at the end, and where the last one is cut off.
    fn take(bytes: &mut Bytes) -> Option<Self> {
        if bytes.len() < BATCH_HEADER_BYTES {
            return None;
        }
        let mut header = bytes.slice(..BATCH_HEADER_BYTES);
        let base = header.get_i64();
        let size = 12 + usize::try_from(header.get_i32()).ok()?;
        if size < BATCH_HEADER_BYTES || bytes.len() < size {
            return None;
        }
        header.advance(4 + 1 + 4); // leader epoch, format, checksum
        let attributes = header.get_i16();
        let last_delta = header.get_i32();
        header.advance(8 + 8); // timestamps
        let producer_id = header.get_i64();
        header.advance(2 + 4); // producer epoch, sequence
        let records = header.get_i32();
        bytes.advance(size);
        Some(Self { base, last_delta, attributes, producer_id, records })
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use kafka_protocol::messages::ProducerId;
    use kafka_protocol::messages::fetch_response::AbortedTransaction;

    use super::*;

    const CONTROL: i16 = ATTRIBUTE_TRANSACTIONAL | ATTRIBUTE_CONTROL;

    fn batch(base: i64, count: i32, attributes: i16, producer: i64) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_i64(base);
        bytes.put_i32(49 + 7);
        bytes.put_i32(0);
        bytes.put_i8(2);
        bytes.put_i32(0);
        bytes.put_i16(attributes);
        bytes.put_i32(count - 1);
        bytes.put_i64(0);
        bytes.put_i64(0);
        bytes.put_i64(producer);
        bytes.put_i16(0);
        bytes.put_i32(0);
        bytes.put_i32(count);
        bytes.put_slice(b"records");
        bytes.freeze()
    }

    fn data(batches: &[Bytes], aborted: &[(i64, i64)]) -> PartitionData {
        let aborted = aborted.iter().map(|(producer, first)| {
            AbortedTransaction::default().with_producer_id(ProducerId(*producer)).with_first_offset(*first)
        });
        PartitionData::default()
            .with_records(Some(batches.concat().into()))
            .with_aborted_transactions(Some(aborted.collect()))
    }

    #[test]
    fn markers_alone_hold_nothing_that_a_reader_sees() {
        let found = scan(&data(&[batch(7, 1, CONTROL, 1), batch(8, 1, CONTROL, 2)], &[]), 7);
        assert_eq!(found, Scan::NothingUntil(9));
    }

    #[test]
    fn a_batch_after_markers_is_seen() {
        let found = scan(&data(&[batch(7, 1, CONTROL, 1), batch(8, 3, 0, -1)], &[]), 7);
        assert_eq!(found, Scan::Visible);
    }

    #[test]
    fn aborted_records_are_not_seen_and_those_after_their_marker_are() {
        let t = ATTRIBUTE_TRANSACTIONAL;
        let batches = [batch(5, 2, t, 1), batch(7, 1, CONTROL, 1), batch(8, 2, t, 1)];
        assert_eq!(scan(&data(&batches[..2], &[(1, 5)]), 5), Scan::NothingUntil(8));
        assert_eq!(scan(&data(&batches, &[(1, 5)]), 5), Scan::Visible);
        // The same producer's records before its aborted transaction are good ones.
        assert_eq!(scan(&data(&[batch(5, 2, t, 1)], &[(1, 9)]), 5), Scan::Visible);
    }

    #[test]
    fn a_batch_that_the_position_lies_within_was_delivered_whole() {
        assert_eq!(scan(&data(&[batch(4, 5, 0, -1)], &[]), 7), Scan::NothingUntil(9));
    }

    #[test]
    fn a_batch_that_is_cut_off_is_not_looked_at() {
        let whole = batch(7, 1, CONTROL, 1);
        let cut = batch(8, 4, 0, -1).slice(..40);
        assert_eq!(scan(&data(&[whole, cut], &[]), 7), Scan::NothingUntil(8));
        assert_eq!(scan(&data(&[], &[]), 7), Scan::NothingUntil(7));
    }
}
