//! Source and sink in a running job: what is found while it runs, restarts, groups, event time.

#![allow(clippy::panic, reason = "a test fails by it")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use tidelock::JobId;
use tidelock::job::{JobConfig, OnCancel};
use tidelock::log::Closed;
use tidelock_kafka::{
    KafkaRecord, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, OnDataLoss, ProducerRecord,
    Start, Subscription, TransactionState, Transactions,
};
use tidelock_runtime::{Graph, Handle, Job, Tumbling, Window, Workers, fold};

/// How often a condition is looked at, and how often at most.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS_MAX: usize = 1_200;

/// One job and its place.
struct Trial {
    brokers: String,
    from: String,
    to: String,
    job: JobId,
    folder: tempfile::TempDir,
}

impl Trial {
    async fn new(partitions: i32) -> Self {
        let brokers = support::brokers().await;
        let from = support::fresh_topic(&brokers, partitions).await;
        let to = support::fresh_topic(&brokers, 1).await;
        let job = JobId::new(support::fresh("job")).expect("a name");
        Self { brokers, from, to, job, folder: tempfile::tempdir().expect("a folder") }
    }

    fn reading(&self) -> KafkaSourceConfig {
        let topics = Subscription::Topics(vec![self.from.clone()]);
        KafkaSourceConfig::new(support::properties(&self.brokers), topics)
    }

    async fn sink(&self) -> Arc<KafkaSink> {
        let config = KafkaSinkConfig::new(support::properties(&self.brokers));
        Arc::new(KafkaSink::connect(config).await.expect("connected"))
    }

    fn config(&self) -> JobConfig {
        let checkpoints = self.folder.path().join("checkpoints");
        let mut config = JobConfig::new(self.job.clone(), checkpoints.to_str().expect("text"));
        config.settings.interval = Duration::from_millis(20);
        config.discovery_interval = Duration::from_millis(200);
        config
    }

    async fn open(&self) -> Job {
        Job::open(self.config()).await.expect("opened")
    }

    /// The transactional ids of the job whose transactions are open.
    async fn open_transactions(&self) -> Vec<String> {
        let transactions =
            Transactions::connect(&support::properties(&self.brokers)).await.expect("connected");
        let listed = transactions.list().await.expect("an answer").into_iter();
        let open =
            listed.filter(|one| one.state == TransactionState::Ongoing).map(|one| one.transactional_id);
        open.filter(|id| id.starts_with(&format!("{}.", self.job))).collect()
    }

    /// Runs a graph until `deed` is done, then stops it.
    async fn run<F>(&self, build: F, deed: impl AsyncFnOnce(Handle))
    where
        F: for<'s> Fn(&Graph<'s>) + Send + Sync + 'static,
    {
        let job = self.open().await;
        let handle = job.handle();
        let running = job.run(Workers::threads(1), build);
        let acting = async {
            deed(handle.clone()).await;
            handle.stop(None).await.expect("it runs");
        };
        let (ended, ()) = tokio::join!(running, acting);
        ended.expect("stopped");
    }

    /// Copies the topic until `deed` is done.
    async fn copy(&self, reading: KafkaSourceConfig, deed: impl AsyncFnOnce(Handle)) {
        self.run(self.copying(reading).await, deed).await;
    }

    async fn copying(
        &self,
        reading: KafkaSourceConfig,
    ) -> impl for<'s> Fn(&Graph<'s>) + Send + Sync + 'static {
        let source = Arc::new(KafkaSource::connect(reading).await.expect("connected"));
        let (sink, to): (_, Arc<str>) = (self.sink().await, self.to.as_str().into());
        move |graph: &Graph<'_>| {
            let to = Arc::clone(&to);
            let copy = move |record: KafkaRecord| {
                ProducerRecord::new(Arc::clone(&to), record.value.unwrap_or_default())
            };
            graph.source("in", &source).stream().map(copy).sink("out", &sink);
        }
    }

    /// What is visible in the target, in the order of its values.
    async fn seen(&self) -> Vec<String> {
        let (brokers, to) = (self.brokers.clone(), self.to.clone());
        let read = tokio::task::spawn_blocking(move || support::read(&brokers, &to, 1));
        let mut seen: Vec<_> = read.await.expect("read").iter().map(support::Seen::text).collect();
        seen.sort();
        seen
    }

    async fn wait_for(&self, expected: &[&str]) {
        let mut seen = Vec::new();
        for _ in 0..LOOKS_MAX {
            seen = self.seen().await;
            if seen == expected {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("{seen:?} is visible, not {expected:?}");
    }

    async fn produce(&self, partition: i32, values: &[&str]) {
        let (brokers, from) = (self.brokers.clone(), self.from.clone());
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let produced =
            tokio::task::spawn_blocking(move || support::produce(&brokers, &from, partition, values));
        produced.await.expect("produced");
    }
}

/// Waits until so many more checkpoints are complete.
async fn checkpoints(handle: &Handle, more: u64) {
    let until = handle.progress().checkpoints + more;
    for _ in 0..LOOKS_MAX {
        if handle.progress().checkpoints >= until {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("no {more} checkpoints");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn partitions_that_are_added_while_a_job_runs_are_read_from_their_beginning() {
    let trial = Trial::new(1).await;
    trial.produce(0, &["before"]).await;
    let reading = trial.reading().with_start(Start::Latest);
    trial
        .copy(reading, async |handle| {
            checkpoints(&handle, 1).await;
            support::grow_topic(&trial.brokers, &trial.from, 2).await;
            trial.produce(1, &["added"]).await;
            trial.produce(0, &["old"]).await;
            trial.wait_for(&["added", "old"]).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_end_is_decided_once_and_a_restart_misses_nothing_whatever_the_start_says_then() {
    let trial = Trial::new(2).await;
    trial.produce(0, &["old"]).await;
    // The second partition has no record, and so nothing but its resolved position is in the snapshot.
    let latest = trial.reading().with_start(Start::Latest);
    trial.copy(latest.clone(), async |handle| checkpoints(&handle, 1).await).await;
    trial.produce(0, &["1"]).await;
    trial.produce(1, &["2"]).await;
    trial.copy(latest, async |_| trial.wait_for(&["1", "2"]).await).await;
    trial.produce(1, &["3"]).await;
    let earliest = trial.reading().with_start(Start::Earliest);
    trial.copy(earliest, async |_| trial.wait_for(&["1", "2", "3"]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn positions_go_to_a_group_only_where_asked_for_and_are_never_read_back() {
    let trial = Trial::new(1).await;
    let group = support::fresh("group");
    let position = async || {
        let (brokers, group, from) = (trial.brokers.clone(), group.clone(), trial.from.clone());
        let asked = move || support::group_offset(&brokers, &group, &from, 0);
        tokio::task::spawn_blocking(asked).await.expect("asked")
    };
    trial.produce(0, &["1", "2"]).await;
    trial.copy(trial.reading(), async |_| trial.wait_for(&["1", "2"]).await).await;
    assert_eq!(position().await, None, "nobody asked for it");

    let mut exporting = trial.reading();
    exporting.export_to_group = Some(group.clone());
    trial.produce(0, &["3"]).await;
    trial
        .copy(exporting.clone(), async |_| {
            for _ in 0..LOOKS_MAX {
                if position().await == Some(3) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
            panic!("the position was not exported");
        })
        .await;

    // A first run of another job that exports to the same group begins where its own start says.
    let other = Trial { job: JobId::new(support::fresh("job")).expect("a name"), ..trial };
    let other = Trial {
        to: support::fresh_topic(&other.brokers, 1).await,
        folder: tempfile::tempdir().expect("a folder"),
        ..other
    };
    other.copy(exporting, async |_| other.wait_for(&["1", "2", "3"]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_a_cancelled_job_had_begun_holds_no_reader_up() {
    for on_cancel in [OnCancel::Retain, OnCancel::Delete] {
        let trial = Trial::new(1).await;
        trial.produce(0, &["dropped"]).await;
        let mut config = trial.config();
        // No checkpoint comes while the test runs, and a transaction lasts for longer than until the next one.
        (config.on_cancel, config.settings.interval) = (on_cancel, Duration::from_secs(300));
        let job = Job::open(config).await.expect("opened");
        let handle = job.handle();
        let running = job.run(Workers::threads(1), trial.copying(trial.reading()).await);
        let acting = async {
            for _ in 0..LOOKS_MAX {
                if !trial.open_transactions().await.is_empty() {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
            handle.cancel().await.expect("it runs");
        };
        let (ended, ()) = tokio::join!(running, acting);
        assert_eq!(ended.expect("cancelled").closed, Closed::Cancelled);
        assert_eq!(trial.open_transactions().await, Vec::<String>::new(), "{on_cancel:?}");
        // Somebody else's record, behind what was dropped.
        support::produce(&trial.brokers, &trial.to, 0, ["seen".to_owned()]);
        trial.wait_for(&["seen"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_goes_on_without_a_topic_that_was_deleted_and_reads_one_that_is_made_later_under_its_name() {
    let trial = Trial::new(1).await;
    let other = format!("{}-other", trial.from);
    support::create_topic(&trial.brokers, &other, 1).await;
    let produce = async |topic: &str, value: &str| {
        let (brokers, topic, value) = (trial.brokers.clone(), topic.to_owned(), value.to_owned());
        let produced = move || support::produce(&brokers, &topic, 0, [value]);
        tokio::task::spawn_blocking(produced).await.expect("produced");
    };
    produce(&other, "1").await;
    let mut reading = trial.reading();
    reading.subscription = Subscription::Pattern(format!("{}.*", trial.from));
    reading.on_data_loss = OnDataLoss::Ignore;
    trial
        .copy(reading.clone(), async |handle| {
            trial.wait_for(&["1"]).await;
            support::delete_topic(&trial.brokers, &other).await;
            // Long enough for it to be gone, and to be forgotten.
            tokio::time::sleep(Duration::from_secs(8)).await;
            checkpoints(&handle, 1).await;
            trial.produce(0, &["2"]).await;
            trial.wait_for(&["1", "2"]).await;
            support::create_topic(&trial.brokers, &other, 1).await;
            produce(&other, "3").await;
            trial.wait_for(&["1", "2", "3"]).await;
        })
        .await;
    // The next attempt knows nothing of the old one, either: by name it leaves the snapshot, and the job goes on.
    support::delete_topic(&trial.brokers, &other).await;
    reading.on_data_loss = OnDataLoss::Fail;
    reading.drop_splits.insert(other.clone());
    trial
        .copy(reading, async |_| {
            trial.produce(0, &["4"]).await;
            trial.wait_for(&["1", "2", "3", "4"]).await;
        })
        .await;
}

/// Counts by second of event time, which is what a value says; a partition is idle after `idle_after`.
async fn count(trial: &Trial, idle_after: Option<Duration>, deed: impl AsyncFnOnce(Handle)) {
    let source = Arc::new(KafkaSource::connect(trial.reading()).await.expect("connected"));
    let (sink, to): (_, Arc<str>) = (trial.sink().await, trial.to.as_str().into());
    let build = move |graph: &Graph<'_>| {
        let to = Arc::clone(&to);
        let time = |record: &KafkaRecord| {
            let value = record.value.as_deref().unwrap_or_default();
            std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(i64::MIN)
        };
        let records = graph.source("in", &source).event_time(time);
        let records = match idle_after {
            Some(time) => records.idle_after(time),
            None => records,
        };
        let second = |_: &u8, window: Window, count: &u64| format!("{}:{count}", window.start);
        let counted = fold(|count: &mut u64, _: &KafkaRecord| *count += 1, second);
        let window = Tumbling::of(Duration::from_secs(1));
        let (seconds, _late) = records.stream().key_by(|_| 0_u8).window("seconds", window, counted);
        seconds.map(move |row| ProducerRecord::new(Arc::clone(&to), row)).sink("out", &sink);
    };
    trial.run(build, deed).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn event_time_waits_for_every_partition_and_for_an_idle_one_only_as_long_as_the_source_says() {
    let trial = Trial::new(2).await;
    trial.produce(0, &["100", "900", "1100"]).await;
    // Nobody said that a partition may be idle: the second one holds event time back.
    count(&trial, None, async |handle| {
        while handle.records_read().values().sum::<u64>() < 3 {
            tokio::time::sleep(LOOK).await;
        }
        checkpoints(&handle, 20).await;
        assert!(trial.seen().await.is_empty(), "the second partition may still have earlier records");
    })
    .await;
    // The first one goes on until the row is there, so that it is not idle as well.
    count(&trial, Some(Duration::from_millis(300)), async |_| {
        let mut time = 1_200;
        while trial.seen().await.is_empty() {
            trial.produce(0, &[&time.to_string()]).await;
            time += 1;
            assert!(time < 1_200 + 700, "an idle partition holds event time back");
        }
        trial.wait_for(&["0:2"]).await;
    })
    .await;
}
