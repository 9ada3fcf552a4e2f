//! The reader: what a consumer with `read_committed`, or a query of what is new in a table, sees, when, and whether each
//! record came once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use hdrhistogram::Histogram;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::Failure;
use crate::clock::Clock;
use crate::tables::{self, Rows};

/// How long the reader sleeps at most before it looks whether it is still needed.
const WAIT: Duration = Duration::from_millis(50);

/// Between two queries of what is new in a table.
const LOOK: Duration = Duration::from_millis(1);

/// The longest latency that is told apart: ten minutes, in microseconds.
const MICROS_MAX: u64 = 600_000_000;

/// What a record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Counted up from 0; the partition is its remainder.
    pub(crate) number: u64,
    /// When it was due, in nanoseconds of the clock.
    pub(crate) due: u64,
}

impl Stamp {
    /// Into the first bytes of a value that has at least 16.
    pub(crate) fn write(self, value: &mut [u8]) {
        value[..8].copy_from_slice(&self.number.to_le_bytes());
        value[8..16].copy_from_slice(&self.due.to_le_bytes());
    }

    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let (number, rest) = value.split_first_chunk()?;
        let due = rest.first_chunk()?;
        Some(Self { number: u64::from_le_bytes(*number), due: u64::from_le_bytes(*due) })
    }
}

/// Latencies in microseconds, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("invariant: these bounds are allowed")
}

/// What was seen.
pub(crate) struct Seen {
    /// Of the records that are measured.
    pub(crate) micros: Histogram<u64>,
    /// Records that came again, out of their order, or after one that is missing.
    pub(crate) wrong: u64,
}

pub(crate) struct Reader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<Seen, Failure>>>,
}

struct Shared {
    stop: AtomicBool,
    done: AtomicBool,
    seen: AtomicU64,
    /// The numbers of the records that are measured.
    from: AtomicU64,
    to: AtomicU64,
}

impl Reader {
    /// Reads a topic from its beginning.
    pub(crate) fn start(brokers: &str, topic: &str, partitions: u32, clock: Clock) -> Result<Self, Failure> {
        let failed = |error| Failure::new("make a reader", error);
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "compare-reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "100")
            .create()
            .map_err(failed)?;
        let mut all = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
            all.add_partition_offset(topic, partition, Offset::Beginning).map_err(failed)?;
        }
        consumer.assign(&all).map_err(failed)?;
        Ok(Self::run(partitions, clock, move |look| {
            read_topic(&consumer, look).map_err(|error| Failure::new("read what is visible", error))
        }))
    }

    /// Reads a table by the numbers of its rows, which must be of one partition.
    pub(crate) fn start_on_table(url: &str, table: String, clock: Clock) -> Result<Self, Failure> {
        let rows = tables::connect(url)?;
        Ok(Self::run(1, clock, move |look| read_table(rows, &table, look)))
    }

    fn run(
        partitions: u32,
        clock: Clock,
        read: impl FnOnce(&mut Look) -> Result<(), Failure> + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            done: AtomicBool::new(false),
            seen: AtomicU64::new(0),
            from: AtomicU64::new(u64::MAX),
            to: AtomicU64::new(u64::MAX),
        });
        let mut look = Look {
            state: Arc::clone(&shared),
            clock,
            expected: (0..u64::from(partitions)).collect(),
            ahead: BTreeSet::new(),
            seen: Seen { micros: histogram(), wrong: 0 },
        };
        let thread = spawn(move || {
            read(&mut look)?;
            Ok(look.seen)
        });
        Self { shared, thread: Some(thread) }
    }

    /// How many records were seen.
    pub(crate) fn seen(&self) -> u64 {
        self.shared.seen.load(Ordering::Relaxed)
    }

    /// Measures the records with these numbers, which are not sent yet.
    pub(crate) fn measure(&self, from: u64, to: u64) {
        self.shared.to.store(to, Ordering::Relaxed);
        self.shared.from.store(from, Ordering::Relaxed);
    }

    /// Whether all that was to be measured came.
    pub(crate) fn is_done(&self) -> bool {
        self.shared.done.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(mut self) -> Result<Seen, Failure> {
        self.shared.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(seen)) => seen,
            _ => Err(Failure::new("read what is visible", "its thread panicked")),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// What a reading thread knows.
struct Look {
    state: Arc<Shared>,
    clock: Clock,
    /// The number of the next record of each partition.
    expected: Vec<u64>,
    /// What was seen behind a gap, where rows may come in any order.
    ahead: BTreeSet<u64>,
    seen: Seen,
}

impl Look {
    fn is_over(&self) -> bool {
        self.state.stop.load(Ordering::Relaxed)
    }

    /// A record is visible.
    fn see(&mut self, Stamp { number, due }: Stamp, partition: usize) {
        let partitions = self.expected.len() as u64;
        let Some(next) = self.expected.get_mut(partition) else { return };
        self.seen.wrong += u64::from(number != *next);
        *next = number + partitions;
        self.count(Stamp { number, due });
    }

    /// A row is visible where rows come in any order, and was perhaps before.
    fn see_out_of_order(&mut self, stamp: Stamp) {
        let next = &mut self.expected[0];
        if stamp.number < *next || !self.ahead.insert(stamp.number) {
            return;
        }
        while self.ahead.remove(next) {
            *next += 1;
        }
        self.count(stamp);
    }

    fn count(&mut self, Stamp { number, due }: Stamp) {
        self.state.seen.fetch_add(1, Ordering::Relaxed);
        let (from, to) = (self.state.from.load(Ordering::Relaxed), self.state.to.load(Ordering::Relaxed));
        if (from..to).contains(&number) {
            let micros = self.clock.nanos().saturating_sub(due) / 1000;
            self.seen.micros.saturating_record(micros.max(1));
        }
        if self.expected.iter().all(|next| *next >= to) {
            self.state.done.store(true, Ordering::Relaxed);
        }
    }
}

fn read_topic(consumer: &BaseConsumer, look: &mut Look) -> Result<(), KafkaError> {
    while !look.is_over() {
        let Some(message) = consumer.poll(WAIT) else { continue };
        let message = message?;
        let stamp = message.payload().and_then(Stamp::read);
        let (Some(stamp), Ok(partition)) = (stamp, usize::try_from(message.partition())) else { continue };
        look.see(stamp, partition);
    }
    Ok(())
}

fn read_table(mut rows: Box<dyn Rows>, table: &str, look: &mut Look) -> Result<(), Failure> {
    let are_in_order = rows.are_in_order();
    while !look.is_over() {
        for stamp in rows.since(table, look.expected[0])? {
            if are_in_order {
                look.see(stamp, 0);
            } else {
                look.see_out_of_order(stamp);
            }
        }
        sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let mut value = [0; 20];
        let stamp = Stamp { number: 7, due: u64::MAX - 1 };
        stamp.write(&mut value);
        assert_eq!(Stamp::read(&value), Some(stamp));
        assert_eq!(Stamp::read(&value[..15]), None);
    }

    #[test]
    fn a_row_counts_once_and_a_gap_is_waited_for() {
        let state = Shared {
            stop: AtomicBool::new(false),
            done: AtomicBool::new(false),
            seen: AtomicU64::new(0),
            from: AtomicU64::new(1),
            to: AtomicU64::new(4),
        };
        let seen = Seen { micros: histogram(), wrong: 0 };
        let clock = Clock::start();
        let mut look =
            Look { state: Arc::new(state), clock, expected: vec![0], ahead: BTreeSet::new(), seen };
        let mut see = |numbers: &[u64]| {
            for number in numbers {
                look.see_out_of_order(Stamp { number: *number, due: 0 });
            }
            let (state, count) = (&look.state, look.seen.micros.len());
            (look.expected[0], count, state.seen.load(Ordering::Relaxed), state.done.load(Ordering::Relaxed))
        };
        assert_eq!(see(&[0, 2, 3]), (1, 2, 3, false));
        assert_eq!(see(&[2, 3, 4, 5]), (1, 2, 5, false));
        assert_eq!(see(&[1, 2, 3]), (6, 3, 6, true));
    }
}
