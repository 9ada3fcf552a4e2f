//! A real KCL goes on from leases that a job exported, and a job from the leases that this KCL left: each record once, through a split and within aggregates.
//!
//! It takes a minute, most of which KCL waits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod application;
mod stream;

use std::collections::BTreeMap;

use application::Application;
use stream::Stream;
use tidelock::{Known, Source as _, Split as _, SplitReader as _};
use tidelock_kinesis::{
    KinesisShard, KinesisStream, KinesisStreamConfig, LeaseExport, Leases, LeasesConfig, StreamStart,
};
use tidelock_processes::{DynamoServer, PATIENCE};
use tokio::time::timeout;

/// What was read of each shard.
type Read = BTreeMap<String, Vec<String>>;

fn read_of(read: &[(&str, &[&str])]) -> Read {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    read.iter().map(|(shard, data)| ((*shard).to_owned(), texts(data))).collect()
}

/// A job in a few lines.
struct Job {
    source: KinesisStream,
    active: Vec<KinesisShard>,
    ended: Vec<KinesisShard>,
    read: Read,
}

impl Job {
    async fn begin(config: KinesisStreamConfig) -> Self {
        let source = KinesisStream::connect(config).await.unwrap();
        let mut job = Self { source, active: Vec::new(), ended: Vec::new(), read: Read::new() };
        job.discover(true).await;
        job
    }

    async fn discover(&mut self, first_run: bool) {
        let finished = self.ended.iter().map(KinesisShard::id).collect();
        let known = Known { active: self.active.clone(), finished, ended: self.ended.clone(), first_run };
        self.active.extend(self.source.discover(&known).await.unwrap().new);
    }

    /// Reads a shard until so many records came, or to its end.
    async fn read(&mut self, shard: &str, records: usize) {
        let at = self.active.iter().position(|split| split.id().as_str().ends_with(shard)).unwrap();
        let mut split = self.active.swap_remove(at);
        let mut reader = self.source.open(split.clone()).await.unwrap();
        let read = self.read.entry(shard.to_owned()).or_default();
        while read.len() < records {
            let batch = timeout(PATIENCE, reader.next()).await.expect("in time").unwrap();
            let Some(batch) = batch else {
                self.ended.push(split);
                return self.discover(false).await;
            };
            read.extend(batch.records.iter().map(|one| String::from_utf8(one.data.to_vec()).unwrap()));
            split = batch.resume;
        }
        self.active.push(split);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container, as far as its time goes: KCL waits for a minute"]
async fn kcl_goes_on_exactly_where_a_job_ended_and_a_job_where_kcl_did() {
    let (dynamodb, stream) = (DynamoServer::start(), Stream::make(2).await);
    stream.put(0, &["a0", "a1", "a2"]).await;
    stream.put(1, &["d0", "d1"]).await;
    stream.put_together(1, &["e0", "e1", "e2", "e3"]).await;
    let [left, right] = stream.split(0).await;
    stream.put(left, &["b0", "b1"]).await;
    stream.put(right, &["c0"]).await;

    // A job reads the first shard to its end, one of its children, and half of an aggregate.
    let mut config = KinesisStreamConfig::new(stream.service(), [&stream.name]);
    config.batch_records = 1;
    let mut export = LeaseExport::new(stream.service_at(&dynamodb.endpoint()), "application");
    export.every_ms = 0;
    config.export = Some(export);
    let mut job = Job::begin(config).await;
    let name = |shard: usize| format!("shardId-{shard:012}");
    let (a, d, b, c) = (name(0), name(1), name(left), name(right));
    job.read(&a, usize::MAX).await;
    job.read(&b, 2).await;
    job.read(&d, 4).await;
    job.source.acknowledge(&job.active).await.unwrap();
    let read = read_of(&[(&a, &["a0", "a1", "a2"]), (&b, &["b0", "b1"]), (&d, &["d0", "d1", "e0", "e1"])]);
    assert_eq!(job.read, read);

    // KCL goes on, and ends in the middle of an aggregate.
    stream.put(left, &["b2"]).await;
    stream.put(right, &["c1"]).await;
    stream.put(1, &["d2"]).await;
    stream.put_together(1, &["f0", "stop1", "f2", "f3"]).await;
    stream.put(1, &["g0"]).await;
    let mut application = Application::start(&stream, &dynamodb.endpoint(), "application");
    let expected = read_of(&[(&b, &["b2"]), (&c, &["c0", "c1"]), (&d, &["e2", "e3", "d2", "f0", "stop1"])]);
    let all = expected.values().map(Vec::len).sum();
    application.has_processed(all).await;

    let mut leases = LeasesConfig::new(stream.service_at(&dynamodb.endpoint()), "application");
    leases.watch_ms = 60_000;
    let alive = Leases::read(&leases).await.unwrap();
    assert!(alive.check_nobody_writes(&leases).is_err(), "it is alive");
    assert_eq!(application.processed(), expected);
    application.kill();

    // A job goes on where KCL ended.
    stream.put(left, &["b3"]).await;
    stream.put(1, &["g1"]).await;
    leases.watch_ms = 3_000;
    let mut config = KinesisStreamConfig::new(stream.service(), [&stream.name]);
    config.start = StreamStart::Leases(leases);
    let mut job = Job::begin(config).await;
    stream.put(right, &["c2"]).await;
    for (shard, records) in [(&b, 1), (&c, 1), (&d, 4)] {
        job.read(shard, records).await;
    }
    let expected = read_of(&[(&b, &["b3"]), (&c, &["c2"]), (&d, &["f2", "f3", "g0", "g1"])]);
    assert_eq!(job.read, expected);
}
