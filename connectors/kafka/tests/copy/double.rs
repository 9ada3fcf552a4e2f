//! The same job with a broken sink: what the tests demand must not hold for it.

use std::process::Command;
use std::sync::Arc;

use tidelock::job::JobConfig;
use tidelock::{JobId, Result};
use tidelock_kafka::{
    KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, ProducerRecord, Properties, Subscription,
};
use tidelock_processes::{Broken, Defect, given, itself};
use tidelock_runtime::{Job, Workers};

/// The double as a process: this program, told to run the "test" below alone.
pub(crate) fn command(defect: Defect, arguments: &[String]) -> Command {
    itself("double::broken_copy", &(defect, arguments))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing unless another test starts it as a process of its own"]
async fn broken_copy() {
    let Some((defect, arguments)) = given::<(Defect, Vec<String>)>() else { return };
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
    let sink = Arc::new(Broken::new(inner, defect));
    let to: Arc<str> = wanted("--to").into();
    let graph = move |graph: &tidelock_runtime::Graph<'_>| {
        let to = Arc::clone(&to);
        let records = graph.source("records", &source).stream();
        records.map(move |record| ProducerRecord::copy_of(record, Arc::clone(&to))).sink("copied", &sink);
    };
    Box::pin(job.stop_on_signals().run(Workers::threads(1), graph)).await.map(drop)
}
