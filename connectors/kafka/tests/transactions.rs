//! The command `tidelock-kafka transactions` on a real broker and the log of a job.

mod support;

use serde_json::Value;
use support::{attempt, uid};
use tidelock::log::Log;
use tidelock::{Epoch, JobId, Pending, Position, Sink, SinkWriter, WriterId};
use tidelock_kafka::{
    KafkaCommittable, KafkaSink, KafkaSinkConfig, KafkaWriter, ProducerRecord, Transactions, Verdict,
};
use tidelock_testkit::tool::{NEWER, OLDER, Tool, log_of_two_attempts};

/// A job whose first attempt prepared something and died, and whose second attempt has claimed its log.
struct Trial {
    brokers: String,
    topic: String,
    job: String,
    folder: tempfile::TempDir,
    tool: Tool,
}

impl Trial {
    async fn new() -> Self {
        let brokers = support::brokers().await;
        let topic = support::fresh_topic(&brokers, 2).await;
        let tool = Tool::new(env!("CARGO_BIN_EXE_tidelock-kafka"), &["transactions"]);
        Self {
            tool: tool.with_option("--brokers", &brokers),
            brokers,
            topic,
            job: support::fresh("command"),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn log(&self) -> String {
        self.folder.path().join("log").to_str().expect("text").to_owned()
    }

    async fn sink(&self) -> KafkaSink {
        let mut config = KafkaSinkConfig::new(support::properties(&self.brokers));
        (config.slots_max, config.slots_ready) = (2, 1);
        KafkaSink::connect(config).await.expect("connected")
    }

    async fn writer(&self, number: Position, writer: u32) -> KafkaWriter {
        let attempt = attempt(&self.job, number.0);
        self.sink().await.open(&attempt, WriterId(writer)).await.expect("open")
    }

    /// Prepares a record in each partition.
    async fn prepare(&self, writer: &mut KafkaWriter, epoch: u64) -> KafkaCommittable {
        let record = |partition| {
            let mut record = ProducerRecord::new(self.topic.as_str(), epoch.to_string());
            record.partition = Some(partition);
            record
        };
        let mut records = vec![record(0), record(1)];
        writer.write(&mut records).await.expect("written");
        assert!(records.is_empty(), "there is a free place");
        writer.prepare(Epoch(epoch)).await.expect("prepared").remove(0).committable
    }

    /// Writes the log: a checkpoint of the older attempt that lists this, and the newer one's claim.
    async fn list_as_pending(&self, listed: &KafkaCommittable) {
        let (epoch, attempt, writer) = (Epoch(1), OLDER, WriterId(0));
        let listed = Pending { epoch, attempt, writer, committable: listed.clone() };
        let log = Log::open(&self.log()).await.expect("opened");
        let job = JobId::new(&self.job).expect("legal");
        log_of_two_attempts(&log, &job, &uid("out"), &listed).await.expect("written");
    }

    async fn verdict(&self, one: &KafkaCommittable) -> Verdict {
        let transactions = Transactions::connect(&support::properties(&self.brokers)).await;
        transactions.expect("connected").examine(one).await.expect("examined").verdict
    }

    async fn visible(&self, count: usize) -> usize {
        support::read_until(&self.brokers, &self.topic, 2, count).await.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_a_log_lists_is_shown_and_committed_once() {
    let trial = Trial::new().await;
    let log = trial.log();
    let mut writer = trial.writer(OLDER, 0).await;
    let listed = trial.prepare(&mut writer, 1).await;
    trial.list_as_pending(&listed).await;
    let id = listed.transactional_id.as_str();

    let line: Value =
        serde_json::from_str(&trial.tool.does(&["list", "--log", &log, "--json"])).expect("JSON");
    assert_eq!((&line["transactional_id"], &line["verdict"]), (&id.into(), &"Open".into()));
    assert_eq!(line["pending"]["producer_id"], listed.producer_id);
    let all = trial.tool.does(&["list"]);
    let mut lines = all.lines();
    assert!(lines.any(|line| line.contains(id) && line.contains("Ongoing")), "{all}");
    let described = trial.tool.does(&["describe", id]);
    assert!(
        described.contains("Ongoing") && described.contains(&format!("{}/1", trial.topic)),
        "{described}"
    );
    trial.tool.refuses(&["describe", "nobody.out.1.0.0"], "does not know this id");

    trial.tool.refuses(&["commit", id], "give --log");
    assert_eq!(trial.visible(0).await, 0);
    assert!(trial.tool.does(&["commit", "--log", &log]).contains("committed"));
    assert_eq!(trial.visible(2).await, 2);
    assert!(trial.tool.does(&["commit", "--log", &log]).contains("committed already"));
    assert_eq!(trial.visible(2).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_transaction_that_was_begun_after_the_listed_one_is_not_touched() {
    let trial = Trial::new().await;
    let log = trial.log();
    let mut writer = trial.writer(OLDER, 0).await;
    let later = trial.prepare(&mut writer, 2).await;
    // What the log lists was begun before by the same producer, which begins again only after a commit.
    let listed = KafkaCommittable { started_at_ms: later.started_at_ms - 1, ..later.clone() };
    trial.list_as_pending(&listed).await;
    let id = listed.transactional_id.as_str();

    assert!(trial.tool.does(&["commit", "--log", &log, id]).contains("committed already"));
    trial.tool.refuses(&["abort", "--log", &log, id], "the job's log lists it");
    assert_eq!(trial.verdict(&later).await, Verdict::Open, "untouched");
    assert!(trial.tool.does(&["abort", "--log", &log, id, "--force"]).contains("aborted"));
    assert_eq!(trial.verdict(&later).await, Verdict::Lost);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_is_not_there_whole_is_committed_by_force_alone() {
    let trial = Trial::new().await;
    let log = trial.log();
    let mut writer = trial.writer(OLDER, 0).await;
    let listed = trial.prepare(&mut writer, 1).await;
    trial.list_as_pending(&listed).await;
    support::wire::abort_in_partition(&trial.brokers, support::wire::producer(&listed), &trial.topic, 1);

    trial.tool.refuses(&["commit", "--log", &log], "no longer open in one of its partitions");
    assert_eq!(trial.visible(0).await, 0);
    assert!(trial.tool.does(&["commit", "--log", &log, "--force"]).contains("committed"));
    assert_eq!(trial.visible(1).await, 1, "the rest");

    let trial = Trial::new().await;
    let log = trial.log();
    let mut writer = trial.writer(OLDER, 0).await;
    let listed = trial.prepare(&mut writer, 1).await;
    trial.list_as_pending(&listed).await;
    assert!(trial.tool.does(&["abort", &listed.transactional_id, "--force"]).contains("aborted"));
    trial.tool.refuses(&["commit", "--log", &log], "threw it away");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn only_what_an_older_attempt_left_is_aborted() {
    let trial = Trial::new().await;
    let log = trial.log();
    let mut writer = trial.writer(OLDER, 0).await;
    let listed = trial.prepare(&mut writer, 1).await;
    trial.list_as_pending(&listed).await;
    let left = trial.prepare(&mut trial.writer(OLDER, 1).await, 2).await;
    let newest = trial.prepare(&mut trial.writer(NEWER, 0).await, 2).await;

    trial.tool.refuses(&["abort", &left.transactional_id], "give --log");
    trial.tool.refuses(&["abort", "--log", &log, &listed.transactional_id], "the job's log lists it");
    trial.tool.refuses(&["abort", "--log", &log, &newest.transactional_id], "may be running");
    trial.tool.refuses(&["abort", "--log", &log, "another.out.1.0.0"], "another job");
    for one in [&left, &listed, &newest] {
        assert_eq!(trial.verdict(one).await, Verdict::Open, "{one:?}");
    }
    assert!(trial.tool.does(&["abort", "--log", &log, &left.transactional_id]).contains("aborted"));
    assert_eq!(trial.verdict(&left).await, Verdict::Lost);
    for one in [&listed, &newest] {
        assert_eq!(trial.verdict(one).await, Verdict::Open, "{one:?}");
    }
}
