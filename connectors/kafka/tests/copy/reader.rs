//! A reader of visible data: looks all the time, and says whether each record comes once and in order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidelock_processes::PATIENCE;
use tokio::time::Instant;

use crate::records::Numbered;

/// So many wrong things are enough to understand.
const WRONG_MAX: usize = 10;

/// How often a reader without news looks whether it is told to stop.
const LOOK: Duration = Duration::from_millis(50);

/// A broker is paused for 20 s, and nothing else takes so long.
const QUIET_MAX: Duration = Duration::from_secs(45);

/// What must come next in each partition, and what came that should not.
#[derive(Debug, Clone)]
pub(crate) struct Checker {
    next: Vec<u64>,
    /// Where each partition goes back to, once: what a rollback replays.
    back_to: Vec<Option<u64>>,
    wrong: Vec<String>,
}

impl Checker {
    /// Expects every record from the first one on.
    pub(crate) fn new(partitions: i32) -> Self {
        Self::from_positions(vec![0; usize::try_from(partitions).expect("small")])
    }

    /// Expects every record from these numbers on.
    pub(crate) fn from_positions(next: Vec<u64>) -> Self {
        Self { back_to: vec![None; next.len()], next, wrong: Vec::new() }
    }

    /// Expects each partition to go back once, to exactly these numbers, which it has passed or will pass.
    pub(crate) fn expect_replay(&mut self, from: &[u64]) {
        self.back_to = from.iter().copied().map(Some).collect();
    }

    fn see(&mut self, Numbered { partition, number }: Numbered) {
        let place = usize::try_from(partition).expect("a partition");
        let expected = self.next[place];
        if number != expected && self.back_to[place].take_if(|back| *back == number).is_none() {
            let what = if number > expected { "lost" } else { "doubled" };
            self.complain(format!("{what}: partition {partition} has {number} where {expected} must come"));
        }
        self.next[place] = number + 1;
    }

    fn complain(&mut self, wrong: String) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(wrong);
        }
    }

    /// Up to which number each partition was seen.
    pub(crate) fn next(&self) -> &[u64] {
        &self.next
    }

    /// Whether all that is wrong is also in the input, and nothing else can be hidden behind it: records
    /// that the input has twice. Lost ones are never the input's.
    pub(crate) fn is_excused_by(&self, input: &[String]) -> bool {
        let is_in_input = |one: &String| one.starts_with("doubled") && input.contains(one);
        self.wrong.len() < WRONG_MAX && self.wrong.iter().all(is_in_input)
    }

    /// What is wrong so far.
    pub(crate) fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// Whether every partition went back to where it was expected to.
    pub(crate) fn has_replayed(&self) -> bool {
        self.back_to.iter().all(Option::is_none)
    }

    /// Whether all partitions were read up to this number, and went back where they were to go back.
    pub(crate) fn is_at(&self, end: u64) -> bool {
        self.next.iter().all(|next| *next == end) && self.has_replayed()
    }
}

/// A consumer of all partitions of a topic with `read_committed`, from these offsets.
fn consumer(brokers: &str, topic: &str, offsets: &[i64]) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "test")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "50")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for (partition, offset) in (0..).zip(offsets) {
        list.add_partition_offset(topic, partition, Offset::Offset(*offset)).expect("a partition");
    }
    consumer.assign(&list).expect("assigned");
    consumer
}

/// Reads a topic from its beginning to the end that it has now.
pub(crate) fn read_to_the_end(brokers: &str, topic: &str, mut checker: Checker) -> Checker {
    let consumer = consumer(brokers, topic, &vec![0; checker.next.len()]);
    let mut ended = BTreeSet::new();
    while ended.len() < checker.next.len() {
        match consumer.poll(PATIENCE).expect("an answer") {
            Ok(message) => match Numbered::of(&message) {
                Ok(one) => checker.see(one),
                Err(strange) => checker.complain(strange),
            },
            Err(KafkaError::PartitionEOF(partition)) => {
                ended.insert(partition);
            }
            // What a reader meets while brokers come and go passes.
            Err(error) => println!("the reader at the end: {error}"),
        }
    }
    checker
}

/// Reads until it is stopped, or nothing came for a while: a consumer of librdkafka was seen to read nothing
/// any more after a broker's pause, while the partition had 270,000 records for it.
fn read_until_quiet(
    consumer: &BaseConsumer,
    offsets: &mut [i64],
    checker: &Mutex<Checker>,
    stop: &AtomicBool,
) {
    let mut last = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        if last.elapsed() > QUIET_MAX {
            println!("the reader: nothing for {QUIET_MAX:?} at the offsets {offsets:?}: a new consumer");
            return;
        }
        let message = match consumer.poll(LOOK) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => continue,
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                // While brokers come and go there are errors: what was read is what counts.
                println!("the reader: {error}");
                continue;
            }
        };
        last = Instant::now();
        offsets[usize::try_from(message.partition()).expect("a partition")] = message.offset() + 1;
        let mut checker = checker.lock().unwrap_or_else(PoisonError::into_inner);
        match Numbered::of(&message) {
            Ok(one) => checker.see(one),
            Err(strange) => checker.complain(strange),
        }
    }
}

/// Reads a topic until it is stopped.
#[derive(Debug)]
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    checker: Arc<Mutex<Checker>>,
    /// The brokers and the topic that is copied, where what is wrong may have been wrong before.
    input: Option<(String, String)>,
    /// How much of what is wrong was found in the input, too.
    excused: AtomicUsize,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    pub(crate) fn start(brokers: &str, topic: &str, checker: Checker) -> Self {
        let (stop, checker) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(checker)));
        let (stopped, shared) = (Arc::clone(&stop), Arc::clone(&checker));
        let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
        let read = move || {
            let mut offsets = vec![0; shared.lock().unwrap_or_else(PoisonError::into_inner).next.len()];
            while !stopped.load(Ordering::SeqCst) {
                read_until_quiet(&consumer(&brokers, &topic, &offsets), &mut offsets, &shared, &stopped);
            }
        };
        let (input, excused) = (None, AtomicUsize::new(0));
        Self { stop, checker, input, excused, thread: Some(std::thread::spawn(read)) }
    }

    /// What is wrong in the input in the same way is not the job's doing: an idempotent producer without
    /// transactions, such as the feeder's, can double a batch when its broker is killed.
    pub(crate) fn copies(mut self, brokers: &str, from: &str) -> Self {
        self.input = Some((brokers.to_owned(), from.to_owned()));
        self
    }

    pub(crate) fn checker(&self) -> MutexGuard<'_, Checker> {
        self.checker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to which number each partition is visible.
    pub(crate) fn next(&self) -> Vec<u64> {
        self.checker().next().to_vec()
    }

    /// Nothing is wrong so far that is not wrong in the input.
    #[track_caller]
    pub(crate) fn assert_right(&self) {
        let seen = self.checker().clone();
        let wrong = seen.wrong();
        if wrong.len() == self.excused.load(Ordering::SeqCst) {
            return;
        }
        let (brokers, from) = self.input.as_ref().unwrap_or_else(|| panic!("{wrong:#?}"));
        let partitions = i32::try_from(seen.next.len()).expect("small");
        let input = read_to_the_end(brokers, from, Checker::new(partitions));
        assert!(seen.is_excused_by(input.wrong()), "{wrong:#?}, and in the input {:#?}", input.wrong());
        println!("the input has it, too: {wrong:?}");
        self.excused.store(wrong.len(), Ordering::SeqCst);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(numbers: &[u64], checker: Checker) -> Checker {
        let mut checker = checker;
        numbers.iter().for_each(|number| checker.see(Numbered { partition: 0, number: *number }));
        checker
    }

    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_wrong() {
        for (numbers, wrong) in [
            (&[0, 1, 2][..], None),
            (&[0, 2], Some("lost")),
            (&[0, 1, 1], Some("doubled")),
            (&[0, 1, 2, 0], Some("doubled")),
            (&[1, 0, 2], Some("lost")),
        ] {
            let checker = seen(numbers, Checker::new(1));
            let found = checker.wrong().first();
            assert_eq!(wrong.is_some(), found.is_some(), "{numbers:?}: {found:?}");
            assert!(found.is_none_or(|found| found.starts_with(wrong.unwrap_or_default())), "{found:?}");
        }
        assert!(!seen(&[0, 1], Checker::new(1)).is_at(3), "the end is missing");
        assert!(!seen(&[0, 1], Checker::new(2)).is_at(2), "a partition is missing");
    }

    #[test]
    fn what_the_input_has_twice_is_excused_and_nothing_else_is() {
        let twice = seen(&[0, 1, 1, 2], Checker::new(1));
        assert!(twice.is_excused_by(twice.wrong()));
        assert!(!twice.is_excused_by(&[]), "the input has it once");
        let again = seen(&[0, 1, 1, 2, 2], Checker::new(1));
        assert!(!again.is_excused_by(twice.wrong()), "another one is the job's");
        let lost = seen(&[0, 2], Checker::new(1));
        assert!(!lost.is_excused_by(lost.wrong()), "the input is never short of one");
        let many = seen(&[0; 2 + WRONG_MAX], Checker::new(1));
        assert!(!many.is_excused_by(many.wrong()), "more is wrong than can be told");
    }

    #[test]
    fn a_replay_goes_back_once_and_to_the_place_that_is_expected() {
        let right = seen(&[0, 1, 2], Checker::new(1));
        let after = |back: u64, numbers: &[u64]| {
            let mut checker = right.clone();
            checker.expect_replay(&[back]);
            seen(numbers, checker)
        };
        let replayed = after(1, &[3, 1, 2, 3, 4]);
        assert!(replayed.wrong().is_empty() && replayed.is_at(5), "{replayed:?}");
        assert!(!after(1, &[3, 2, 3]).wrong().is_empty(), "too little is replayed");
        assert!(!after(1, &[3, 0, 1]).wrong().is_empty(), "too much is replayed");
        assert!(!after(1, &[3, 1, 2, 3, 1]).wrong().is_empty(), "twice");
        assert!(!after(1, &[3, 4]).is_at(5), "not at all");
    }
}
