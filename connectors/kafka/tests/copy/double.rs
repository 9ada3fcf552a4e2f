//! The same job with a broken sink: what the tests demand must not hold for it.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock::{
    CommitPermit, Committed, Epoch, ErrorKind, JobId, Pending, Prepared, Result, Sink, SinkAttempt,
    SinkWriter, WriterId,
};
use tidelock_kafka::{
    KafkaCommittable, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, KafkaWriter,
    ProducerRecord, Properties, Subscription,
};
use tidelock_runtime::{Job, Workers};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Defect {
    /// Recovery forgets what a snapshot lists, as sinks do that can only abort it.
    ForgetsPending,
    /// Commits when an epoch is prepared, before an entry that names it is durable (against I1).
    CommitsBeforeDurable,
    /// Says of what was lost that it is done.
    HidesLoss,
    /// Leaves open what older attempts left.
    NeverSweeps,
}

const DEFECT: &str = "TIDELOCK_DOUBLE";
const ARGUMENTS: &str = "TIDELOCK_DOUBLE_ARGUMENTS";

/// The double as a process: this program, told to run the "test" below alone.
pub(crate) fn command(defect: Defect, arguments: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["double::broken_copy", "--exact", "--ignored", "--nocapture"]);
    command.env(DEFECT, serde_json::to_string(&defect).expect("a name"));
    command.env(ARGUMENTS, serde_json::to_string(arguments).expect("texts"));
    command
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing unless another test starts it as a process of its own"]
async fn broken_copy() {
    let Ok(defect) = std::env::var(DEFECT) else { return };
    let defect = serde_json::from_str(&defect).expect("a defect");
    let arguments: Vec<String> =
        serde_json::from_str(&std::env::var(ARGUMENTS).expect("arguments")).expect("texts");
    run(defect, &arguments).await.expect("run");
}

/// As the example does it, with `Broken` around its sink.
async fn run(defect: Defect, arguments: &[String]) -> Result<()> {
    let given: Vec<(&str, &str)> = arguments.chunks(2).map(|pair| (&*pair[0], &*pair[1])).collect();
    let last = |name| given.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| *value);
    let wanted = |name| last(name).expect("given");
    let further = given.iter().filter(|(name, _)| *name == "--property");
    let further = further.filter_map(|(_, value)| value.split_once('='));
    let properties = Properties::new(wanted("--brokers"));
    let properties = further.fold(properties, |all, (name, value)| all.with(name, value));
    let mut config = JobConfig::new(JobId::new(wanted("--job-id"))?, wanted("--checkpoints"));
    config.settings.interval = humantime::parse_duration(wanted("--interval")).expect("a duration");

    let job = Job::open(config).await?;
    let topics = Subscription::Topics(vec![wanted("--from").to_owned()]);
    let source = Arc::new(KafkaSource::connect(KafkaSourceConfig::new(properties.clone(), topics)).await?);
    let inner = KafkaSink::connect(KafkaSinkConfig::new(properties)).await?;
    let sink = Arc::new(Broken { inner: Arc::new(inner), defect, attempt: AtomicU64::new(0) });
    let to: Arc<str> = wanted("--to").into();
    let graph = move |graph: &tidelock_runtime::Graph<'_>| {
        let to = Arc::clone(&to);
        let records = graph.source("records", &source).stream();
        records.map(move |record| ProducerRecord::copy_of(record, Arc::clone(&to))).sink("copied", &sink);
    };
    Box::pin(job.stop_on_signals().run(Workers::threads(1), graph)).await.map(drop)
}

#[derive(Debug)]
struct Broken {
    inner: Arc<KafkaSink>,
    defect: Defect,
    /// The attempt that recovered last: ours.
    attempt: AtomicU64,
}

#[derive(Debug)]
struct BrokenWriter {
    inner: KafkaWriter,
    sink: Arc<KafkaSink>,
    defect: Defect,
    attempt: SinkAttempt,
    writer: WriterId,
}

#[async_trait]
impl Sink for Broken {
    type Record = ProducerRecord;
    type Committable = KafkaCommittable;
    type Writer = BrokenWriter;

    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<KafkaCommittable>]) -> Result<()> {
        self.attempt.store(attempt.number.0, Ordering::SeqCst);
        match self.defect {
            Defect::ForgetsPending => self.inner.recover(attempt, &[]).await,
            Defect::NeverSweeps => Ok(()),
            Defect::HidesLoss | Defect::CommitsBeforeDurable => {
                hide(self.defect, self.inner.recover(attempt, pending).await)
            }
        }
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<BrokenWriter> {
        let inner = self.inner.open(attempt, writer).await?;
        let (sink, defect, attempt) = (Arc::clone(&self.inner), self.defect, attempt.clone());
        Ok(BrokenWriter { inner, sink, defect, attempt, writer })
    }

    async fn commit(
        &self,
        permit: &CommitPermit,
        mut committables: Vec<Pending<KafkaCommittable>>,
    ) -> Result<Committed> {
        if self.defect == Defect::ForgetsPending {
            // What other attempts prepared is what recovery would commit.
            committables.retain(|one| one.attempt.0 == self.attempt.load(Ordering::SeqCst));
        }
        match self.inner.commit(permit, committables).await {
            Err(error) if self.defect == Defect::HidesLoss && error.kind() == ErrorKind::Expired => {
                Ok(Committed::default())
            }
            committed => committed,
        }
    }
}

fn hide(defect: Defect, recovered: Result<()>) -> Result<()> {
    match recovered {
        Err(error) if defect == Defect::HidesLoss && error.kind() == ErrorKind::Expired => Ok(()),
        recovered => recovered,
    }
}

#[async_trait]
impl SinkWriter for BrokenWriter {
    type Record = ProducerRecord;
    type Committable = KafkaCommittable;

    async fn write(&mut self, records: &mut Vec<ProducerRecord>) -> Result<()> {
        self.inner.write(records).await
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<KafkaCommittable>>> {
        let prepared = self.inner.prepare(epoch).await?;
        if self.defect == Defect::CommitsBeforeDurable {
            let permit =
                CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(self.attempt.uid.clone(), epoch);
            let pending = prepared.iter().map(|one| Pending {
                epoch,
                attempt: self.attempt.number,
                writer: self.writer,
                committable: one.committable.clone(),
            });
            self.sink.commit(&permit, pending.collect()).await?;
        }
        Ok(prepared)
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        self.inner.settled(epoch, reinit).await
    }
}
