//! What one test has: two topics, a job that copies one into the other, a feeder, and a reader.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::error::KafkaResult;
use tempfile::TempDir;
use tidelock::Position;
use tidelock_kafka::Transactions;
use tidelock_processes::{Defect, Ended, PATIENCE, Process, example};

use crate::double;
use crate::evidence::Evidence;
use crate::reader::{Checker, Reader, read_to_the_end};
use crate::records::Feeder;
use crate::stand::stand;
use crate::support;

/// Topics, a job's name and its folder. Everything else in a test begins here.
#[derive(Debug)]
pub(crate) struct World {
    folder: TempDir,
    brokers: String,
    from: String,
    to: String,
    partitions: i32,
    job: String,
    /// Options of every start.
    options: Vec<(String, String)>,
    starts: AtomicUsize,
    feeder: Option<Feeder>,
    /// How many records each partition has, once that is certain.
    fed: Option<u64>,
    reader: Reader,
}

impl World {
    /// Two topics of so many partitions; one is fed from now on, the other is read.
    pub(crate) async fn new(brokers: &str, partitions: i32) -> Self {
        let from = support::fresh_topic(brokers, partitions).await;
        let to = support::fresh_topic(brokers, partitions).await;
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            feeder: Some(Feeder::start(brokers, &from, partitions)),
            fed: None,
            reader: Reader::start(brokers, &to, Checker::new(partitions)).copies(brokers, &from),
            brokers: brokers.to_owned(),
            from,
            to,
            partitions,
            job: support::fresh("copy"),
            options: Vec::new(),
            starts: AtomicUsize::new(0),
        }
    }

    /// Adds an option to every start. Of equal ones the last counts.
    pub(crate) fn with_option(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same for a setting of librdkafka.
    pub(crate) fn with_property(self, name: &str, value: &str) -> Self {
        self.with_option("--property", &format!("{name}={value}"))
    }

    /// The job's name.
    pub(crate) fn job(&self) -> &str {
        &self.job
    }

    /// The topic that is fed.
    pub(crate) fn source(&self) -> &str {
        &self.from
    }

    /// The topic that the job writes to.
    pub(crate) fn target(&self) -> &str {
        &self.to
    }

    /// The listener that everything but the job uses.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Who looks at what is visible.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// A place in the world's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub(crate) fn place(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// The job's log.
    pub(crate) async fn log(&self) -> Evidence {
        Evidence::of(&self.path("checkpoints")).await
    }

    /// The beginning and the end of each partition of a topic for readers with this isolation level.
    pub(crate) async fn watermarks(
        &self,
        topic: &str,
        isolation: &'static str,
        longest: Duration,
    ) -> Vec<KafkaResult<(i64, i64)>> {
        let (brokers, topic, partitions) = (self.brokers.clone(), topic.to_owned(), self.partitions);
        let ask = move || support::watermarks(&brokers, &topic, partitions, isolation, longest);
        tokio::task::spawn_blocking(ask).await.expect("asked")
    }

    /// The cluster's transactions.
    pub(crate) async fn transactions(&self) -> Transactions {
        Transactions::connect(&support::properties(&self.brokers)).await.expect("connected")
    }

    fn arguments(&self, options: &[&str]) -> Vec<String> {
        let checkpoints = self.place("checkpoints");
        let usual = [
            ("--brokers", self.brokers.as_str()),
            ("--from", &self.from),
            ("--to", &self.to),
            ("--checkpoints", &checkpoints),
            ("--job-id", &self.job),
            ("--interval", "10ms"),
        ];
        let usual = usual.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let given = options.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
        let mut all: Vec<(String, String)> = Vec::new();
        for (name, value) in usual.chain(self.options.clone()).chain(given) {
            if name != "--property" {
                all.retain(|(earlier, _)| *earlier != name);
            }
            all.push((name, value));
        }
        // A switch has an empty value here.
        let all = all.into_iter().flat_map(|(name, value)| [name, value]);
        all.filter(|text| !text.is_empty()).collect()
    }

    fn run(&self, command: &mut Command) -> Process {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        Process::start(command, &self.path(&format!("start-{start}")))
    }

    /// Starts the example with the world's options and these.
    pub(crate) fn start(&self, options: &[&str]) -> Process {
        self.run(Command::new(example("copy")).args(self.arguments(options)))
    }

    /// Starts the same job with something broken in it.
    pub(crate) fn start_broken(&self, defect: Defect) -> Process {
        self.run(&mut double::command(defect, &self.arguments(&[])))
    }

    /// Waits until an attempt after `before` has started. Returns it.
    pub(crate) async fn wait_for_attempt(&self, process: &mut Process, before: Position) -> Position {
        self.log().await.wait_for_attempt(process, before).await
    }

    /// Waits until so many more entries show in the log.
    pub(crate) async fn wait_for_entry(&self, process: &mut Process, more: u64) {
        self.log().await.wait_for_entry(process, more).await;
    }

    /// Waits until so many more records of every partition are visible than when this was called.
    pub(crate) async fn wait_for_records(&self, process: &mut Process, more: u64) {
        let before = self.reader.next();
        let wish = async |_: &Process| {
            self.reader.assert_right();
            self.reader.next().iter().zip(&before).all(|(now, before)| *now >= before + more)
        };
        process.wait_until("more records are visible", wish).await;
    }

    /// Waits until it is so, and starts the job again where an error ended it that a restart may mend.
    /// Returns how often that was.
    pub(crate) async fn supervise(
        &self,
        process: &mut Process,
        mut wish: impl AsyncFnMut() -> bool,
    ) -> usize {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut restarts = 0;
        while !wish().await {
            self.reader.assert_right();
            if tokio::time::Instant::now() > deadline {
                panic!("waited too long: {}\n{}", stand(self).await, process.errors());
            }
            if !process.is_running() {
                let errors = process.errors();
                assert!(errors.contains(", Restart)"), "a restart does not help: {errors}");
                println!("started again after: {errors}");
                *process = self.start(&[]);
                restarts += 1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        restarts
    }

    /// Waits until every partition went back to where it was expected to.
    pub(crate) async fn wait_for_replay(&self, process: &mut Process) {
        let wish = async |_: &Process| {
            self.reader.assert_right();
            self.reader.checker().has_replayed()
        };
        process.wait_until("all partitions went back", wish).await;
    }

    /// How many records each partition has, once the feeder was stopped.
    pub(crate) fn fed(&self) -> u64 {
        self.fed.expect("the feeder was stopped")
    }

    /// Stops the feeder. Returns how many records each partition has.
    pub(crate) fn stop_feeding(&mut self) -> u64 {
        let fed = self.feeder.take().expect("it was fed until now").stop();
        *self.fed.insert(fed)
    }

    /// Waits until all that was fed is visible, stops the job, and compares: the reader that looked all the
    /// time, a fresh reader of the target, and one of the input.
    pub(crate) async fn finish(&mut self, process: Process) -> Ended {
        let checker = Checker::new(self.partitions);
        self.finish_as(process, checker).await
    }

    /// The same where the whole target must pass another checker.
    pub(crate) async fn finish_as(&mut self, mut process: Process, whole: Checker) -> Ended {
        let fed = self.stop_feeding();
        let restarts = self.supervise(&mut process, async || self.reader.checker().is_at(fed)).await;
        assert_eq!(restarts, 0, "nothing happened to it meanwhile");
        let ended = process.stop().await;
        ended.assert_success();
        self.compare(fed, whole).await;
        ended
    }

    async fn compare(&self, fed: u64, whole: Checker) {
        let mut in_input = Vec::new();
        for (topic, checker) in [(&self.from, Checker::new(self.partitions)), (&self.to, whole)] {
            let (brokers, name) = (self.brokers.clone(), topic.clone());
            let read = tokio::task::spawn_blocking(move || read_to_the_end(&brokers, &name, checker));
            let checker = read.await.expect("read");
            if *topic == self.from {
                in_input = checker.wrong().to_vec();
            }
            let is_the_same = checker.wrong() == in_input && checker.is_excused_by(&in_input);
            assert!(is_the_same && checker.is_at(fed), "{checker:#?} of {fed}, in {in_input:?}");
        }
        self.reader.assert_right();
        println!("{} partitions of {fed} records are the same, each once and in order", self.partitions);
    }

    /// What the reader found wrong.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.reader.checker().wrong().to_vec()
    }

    /// Waits for a condition that no process of ours is needed for.
    pub(crate) async fn wait_until(&self, what: &str, mut wish: impl AsyncFnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !wish().await {
            assert!(tokio::time::Instant::now() < deadline, "waited too long until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
