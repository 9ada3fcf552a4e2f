//! The command `tidelock-kafka transactions` on a real broker and the log of a job.

mod support;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use support::{attempt, uid};
use tidelock::log::{Created, Entry, EntryKind, Lineage, Log, PendingState, State};
use tidelock::{Epoch, Generation, JobId, Position, Segment, Sink, SinkWriter, Stored, Versioned, WriterId};
use tidelock_kafka::{
    KafkaCommittable, KafkaSink, KafkaSinkConfig, KafkaWriter, ProducerRecord, Transactions, Verdict,
};

/// A job whose first attempt prepared something and died, and whose second attempt has claimed its log.
struct Trial {
    brokers: String,
    topic: String,
    job: String,
    folder: tempfile::TempDir,
}

/// Positions of the claims, and so the numbers of the attempts.
const OLDER: u64 = 1;
const NEWER: u64 = 4;

impl Trial {
    async fn new() -> Self {
        let brokers = support::brokers().await;
        let topic = support::fresh_topic(&brokers, 2).await;
        Self {
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

    async fn writer(&self, number: u64, writer: u32) -> KafkaWriter {
        let attempt = attempt(&self.job, number);
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
        let log = Log::open(&self.log()).await.expect("opened");
        let state = |pending: Vec<PendingState>| State {
            sources: BTreeMap::new(),
            operators: BTreeMap::new(),
            sinks: BTreeMap::from([(uid("out"), pending)]),
        };
        let Stored { version, json } = Stored::encode(listed).expect("storable");
        assert_eq!(version, KafkaCommittable::VERSION);
        let pending = vec![PendingState {
            epoch: Epoch(1),
            attempt: Position(OLDER),
            writer: WriterId(0),
            version,
            committable: Segment::Json(json),
            chunks: Vec::new(),
        }];
        for (position, kind, attempt, state) in [
            (1, EntryKind::Claim, OLDER, None),
            (2, EntryKind::Start, OLDER, Some(state(vec![]))),
            (3, EntryKind::Checkpoint, OLDER, Some(state(pending.clone()))),
            (4, EntryKind::Claim, NEWER, Some(state(pending))),
        ] {
            let entry = Entry {
                job: JobId::new(&self.job).expect("legal"),
                position: Position(position),
                kind,
                nonce: log.nonce(),
                attempt: Position(attempt),
                lineage: Lineage { id: Position(1), generation: Generation(1), origin: None },
                created_at: jiff::Timestamp::UNIX_EPOCH,
                epoch: Epoch(u64::from(position > 2)),
                obeyed: Vec::new(),
                state,
                abandoned: BTreeMap::new(),
            };
            assert!(matches!(log.create(&entry).await, Ok(Created::Ours(_))));
        }
    }

    /// Runs a command: whether it succeeded, and all that it said.
    fn command(&self, arguments: &[&str]) -> (bool, String) {
        let (command, rest) = arguments.split_first().expect("a command");
        let ran = Command::new(env!("CARGO_BIN_EXE_tidelock-kafka"))
            .args(["transactions", command, "--brokers", &self.brokers])
            .args(rest)
            .output()
            .expect("it runs");
        let said = [ran.stdout, ran.stderr].concat();
        (ran.status.success(), String::from_utf8(said).expect("text"))
    }

    #[track_caller]
    fn does(&self, arguments: &[&str]) -> String {
        let (done, said) = self.command(arguments);
        assert!(done, "{arguments:?}: {said}");
        said
    }

    /// The command refuses, and says this.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], why: &str) {
        let (done, said) = self.command(arguments);
        assert!(!done && said.contains(why), "{arguments:?}: {said}");
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

    let line: Value = serde_json::from_str(&trial.does(&["list", "--log", &log, "--json"])).expect("JSON");
    assert_eq!((&line["transactional_id"], &line["verdict"]), (&id.into(), &"Open".into()));
    assert_eq!(line["pending"]["producer_id"], listed.producer_id);
    let all = trial.does(&["list"]);
    let mut lines = all.lines();
    assert!(lines.any(|line| line.contains(id) && line.contains("Ongoing")), "{all}");
    let described = trial.does(&["describe", id]);
    assert!(
        described.contains("Ongoing") && described.contains(&format!("{}/1", trial.topic)),
        "{described}"
    );
    trial.refuses(&["describe", "nobody.out.1.0.0"], "does not know this id");

    trial.refuses(&["commit", id], "give --log");
    assert_eq!(trial.visible(0).await, 0);
    assert!(trial.does(&["commit", "--log", &log]).contains("committed"));
    assert_eq!(trial.visible(2).await, 2);
    assert!(trial.does(&["commit", "--log", &log]).contains("committed already"));
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

    assert!(trial.does(&["commit", "--log", &log, id]).contains("committed already"));
    trial.refuses(&["abort", "--log", &log, id], "the job's log lists it");
    assert_eq!(trial.verdict(&later).await, Verdict::Open, "untouched");
    assert!(trial.does(&["abort", "--log", &log, id, "--force"]).contains("aborted"));
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

    trial.refuses(&["commit", "--log", &log], "no longer open in one of its partitions");
    assert_eq!(trial.visible(0).await, 0);
    assert!(trial.does(&["commit", "--log", &log, "--force"]).contains("committed"));
    assert_eq!(trial.visible(1).await, 1, "the rest");

    let trial = Trial::new().await;
    let log = trial.log();
    let mut writer = trial.writer(OLDER, 0).await;
    let listed = trial.prepare(&mut writer, 1).await;
    trial.list_as_pending(&listed).await;
    assert!(trial.does(&["abort", &listed.transactional_id, "--force"]).contains("aborted"));
    trial.refuses(&["commit", "--log", &log], "threw it away");
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

    trial.refuses(&["abort", &left.transactional_id], "give --log");
    trial.refuses(&["abort", "--log", &log, &listed.transactional_id], "the job's log lists it");
    trial.refuses(&["abort", "--log", &log, &newest.transactional_id], "may be running");
    trial.refuses(&["abort", "--log", &log, "another.out.1.0.0"], "another job");
    for one in [&left, &listed, &newest] {
        assert_eq!(trial.verdict(one).await, Verdict::Open, "{one:?}");
    }
    assert!(trial.does(&["abort", "--log", &log, &left.transactional_id]).contains("aborted"));
    assert_eq!(trial.verdict(&left).await, Verdict::Lost);
    for one in [&listed, &newest] {
        assert_eq!(trial.verdict(one).await, Verdict::Open, "{one:?}");
    }
}
