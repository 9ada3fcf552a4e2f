//! Which rights each use needs: what is asked of a server is what the policy on the crate's page allows, no more and no less.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};

use serde_json::Value as Json;
use tidelock::{
    CommitPermit, Epoch, Generation, JobId, Known, Pending, Position, Sink as _, SinkAttempt,
    SinkWriter as _, Source as _, SplitReader as _, Uid, WriterId,
};
use tidelock_kinesis::{
    AwsConfig, InitialPosition, KinesisPut, KinesisShard, KinesisSink, KinesisSinkConfig, KinesisStream,
    KinesisStreamConfig, LeaseExport, LeasesConfig, Mode, StreamStart,
};
use tidelock_processes::DynamoServer;
use tidelock_testkit::HttpFaults;

use crate::common::{self, NewStream};

const PAGE: &str = include_str!("../../README.md");

/// It ends with the process.
static TABLES: LazyLock<DynamoServer> = LazyLock::new(DynamoServer::start);

/// The actions of a statement.
fn allowed(statements: &[&str]) -> BTreeSet<String> {
    let begin = PAGE.find("```json").expect("a policy") + "```json".len();
    let policy: Json = serde_json::from_str(PAGE[begin..].split("```").next().unwrap()).expect("JSON");
    let text = |value: &Json| value.as_str().expect("a text").to_owned();
    let all = policy["Statement"].as_array().unwrap().iter();
    let by_name: BTreeMap<String, &Json> = all.map(|one| (text(&one["Sid"]), one)).collect();
    let actions = |name: &&str| {
        let statement = by_name.get(*name).unwrap_or_else(|| panic!("no statement {name}"));
        statement["Action"].as_array().unwrap().iter().map(text).collect::<Vec<_>>()
    };
    statements.iter().flat_map(actions).collect()
}

/// A service behind a proxy that writes down what it is asked.
struct Asking {
    service: AwsConfig,
    asked: Arc<Mutex<BTreeSet<String>>>,
    _proxy: HttpFaults,
}

impl Asking {
    async fn of(server: SocketAddr) -> Self {
        let proxy = HttpFaults::start(server).await.unwrap();
        let asked = Arc::<Mutex<BTreeSet<String>>>::default();
        let noted = Arc::clone(&asked);
        proxy.hook(move |request| {
            let target = request.headers().get("x-amz-target")?.to_str().ok()?;
            let (service, call) = target.split_once('.')?;
            let service = if service.starts_with("Kinesis") { "kinesis" } else { "dynamodb" };
            noted.lock().unwrap().insert(format!("{service}:{call}"));
            None
        });
        Self { service: common::config(proxy.address()), asked, _proxy: proxy }
    }

    /// Compares what was asked with the page.
    #[track_caller]
    fn assert_is_what_is_allowed(&self, statements: &[&str]) {
        assert_eq!(*self.asked.lock().unwrap(), allowed(statements), "{statements:?}");
    }
}

const FIRST_RUN: Known<KinesisShard> =
    Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };

#[tokio::test]
async fn a_stream_needs_what_the_page_says() {
    let asking = Asking::of(common::shared()).await;
    let stream = NewStream::make(common::shared(), 2).await;
    stream.put([("key".to_owned(), "value".to_owned())]).await;
    let config = KinesisStreamConfig::new(asking.service.clone(), [&stream.name]);
    let source = KinesisStream::connect(config).await.unwrap();
    for split in source.discover(&FIRST_RUN).await.unwrap().new {
        source.open(split).await.unwrap().next().await.unwrap();
    }
    // A shard that ends tells its children, or lists have to.
    stream.split(&stream.open_shards().await[0]).await;
    let config = KinesisStreamConfig::new(asking.service.clone(), [&stream.name]);
    let source = KinesisStream::connect(config).await.unwrap();
    for split in source.discover(&FIRST_RUN).await.unwrap().new {
        source.open(split).await.unwrap().next().await.unwrap();
    }
    asking.assert_is_what_is_allowed(&["Stream"]);
}

#[tokio::test]
async fn a_sink_needs_what_the_page_says() {
    let stream = NewStream::make(common::shared(), 1).await;
    let attempt = SinkAttempt {
        job: JobId::new("job").unwrap(),
        uid: Uid::new("out").unwrap(),
        number: Position(1),
        generation: Generation(1),
        chunks: None,
    };
    for mode in [Mode::Direct, Mode::Numbered] {
        let asking = Asking::of(common::shared()).await;
        let mut config = KinesisSinkConfig::new(asking.service.clone(), &stream.name);
        config.mode = mode;
        let sink = KinesisSink::new(config).unwrap();
        sink.recover(&attempt, &[]).await.unwrap();
        let mut writer = sink.open(&attempt, WriterId(0)).await.unwrap();
        writer.write(&mut vec![KinesisPut::new("key", "value")]).await.unwrap();
        let prepared = writer.prepare(Epoch(1)).await.unwrap().into_iter();
        let listed =
            |committable| Pending { epoch: Epoch(1), attempt: Position(1), writer: WriterId(0), committable };
        let listed = prepared.map(|one| listed(one.committable)).collect();
        let permit =
            CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(attempt.uid.clone(), Epoch(1));
        sink.commit(&permit, listed).await.unwrap();
        asking.assert_is_what_is_allowed(&["StreamToWrite"]);
    }
}

#[tokio::test]
async fn leases_need_what_the_page_says() {
    let stream = NewStream::make(common::shared(), 1).await;
    let (reading, writing) = (Asking::of(TABLES.address()).await, Asking::of(TABLES.address()).await);
    // A table that is exported is one that can be imported.
    let mut config = KinesisStreamConfig::new(common::config(common::shared()), [&stream.name]);
    let mut export = LeaseExport::new(writing.service.clone(), "written");
    export.every_ms = 0;
    config.export = Some(export);
    let source = KinesisStream::connect(config.clone()).await.unwrap();
    let splits = source.discover(&FIRST_RUN).await.unwrap().new;
    source.acknowledge(&splits).await.unwrap();
    writing.assert_is_what_is_allowed(&["LeasesToWrite"]);
    let mut leases = LeasesConfig::new(reading.service.clone(), "written");
    (leases.watch_ms, leases.initial_position) = (0, Some(InitialPosition::TrimHorizon));
    (config.export, config.start) = (None, StreamStart::Leases(leases));
    let source = KinesisStream::connect(config).await.unwrap();
    assert_eq!(source.discover(&FIRST_RUN).await.unwrap().new.len(), splits.len());
    reading.assert_is_what_is_allowed(&["LeasesToBeginWith"]);
}
