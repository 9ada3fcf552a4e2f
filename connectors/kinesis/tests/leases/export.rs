//! Positions, written as leases.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use tidelock::{ErrorKind, Known, Source as _};
use tidelock_kinesis::{
    Given, GivenAt, KinesisShard, KinesisStream, KinesisStreamConfig, LeaseExport, Leases, StreamStart,
};
use tidelock_testkit::Fault;

use crate::scene::{MADE_S, Scene, checkpoint, shard};

fn given(stream: &str, shard: &str, at: GivenAt) -> Given {
    Given { stream: stream.into(), shard: shard.into(), at }
}

fn after(number: &str, sub_sequence: u64) -> GivenAt {
    GivenAt::AfterSub { sequence_number: number.into(), sub_sequence }
}

/// A source that exports at once.
async fn source(scene: &Scene, streams: &[&str], start: Vec<Given>) -> KinesisStream {
    let mut config = KinesisStreamConfig::new(scene.service(), streams.iter().copied());
    config.start = StreamStart::Given(start);
    let mut export = LeaseExport::new(scene.service(), &scene.table);
    export.every_ms = 0;
    config.export = Some(export);
    KinesisStream::connect(config).await.unwrap()
}

fn known(active: Vec<KinesisShard>, ended: Vec<KinesisShard>, first_run: bool) -> Known<KinesisShard> {
    use tidelock::Split as _;
    Known { finished: ended.iter().map(KinesisShard::id).collect(), active, ended, first_run }
}

async fn begin(source: &KinesisStream) -> Vec<KinesisShard> {
    source.discover(&known(Vec::new(), Vec::new(), true)).await.unwrap().new
}

fn text(row: &crate::scene::Row, name: &str) -> String {
    row[name].as_s().unwrap().clone()
}

fn split() -> Value {
    json!([
        shard("shardId-0", None),
        shard("shardId-1", Some("shardId-0")),
        shard("shardId-2", Some("shardId-0")),
        shard("shardId-3", None),
    ])
}

#[tokio::test]
async fn positions_are_written_as_leases_that_an_import_takes_for_the_same() {
    let scene = Scene::new(&[("flights", split())]).await;
    let start = vec![
        given("flights", "shardId-0", GivenAt::Finished),
        given("flights", "shardId-1", after("497", 2)),
        given("flights", "shardId-2", GivenAt::Oldest),
        given("flights", "shardId-3", after("498", 0)),
    ];
    let source = source(&scene, &["flights"], start.clone()).await;
    let mut active = begin(&source).await;
    let at = active.iter().position(|shard| format!("{shard:?}").contains("\"shardId-0\"")).unwrap();
    // What is over is finished as soon as it is opened.
    let ended = vec![active.remove(at)];
    source.discover(&known(active.clone(), ended, false)).await.unwrap();
    source.acknowledge(&active).await.unwrap();
    let rows = scene.rows().await;
    let said: Vec<String> = rows.iter().map(|(key, row)| format!("{key}={}", checkpoint(row))).collect();
    assert_eq!(
        said,
        ["shardId-0=SHARD_END/0", "shardId-1=497/2", "shardId-2=TRIM_HORIZON/0", "shardId-3=498/0"]
    );
    for row in rows.values() {
        assert_eq!(text(row, "entityType"), "LEASE");
        assert_eq!(text(row, "endingHashKey"), "340282366920938463463374607431768211455");
        assert!(!row.contains_key("leaseOwner"), "any worker may take it");
    }
    assert_eq!(rows["shardId-1"]["parentShardId"], AttributeValue::Ss(vec!["shardId-0".into()]));
    let leases = Leases::read(&scene.leases()).await.unwrap();
    let plan = leases.plan_of(&scene.leases(), &scene.service(), &["flights".into()]).await.unwrap();
    assert_eq!(plan.given(false).unwrap(), start);
}

/// Puts a row once more, as this makes it.
async fn change(scene: &Scene, key: &str, how: impl FnOnce(&mut crate::scene::Row)) {
    let mut row = scene.rows().await.remove(key).unwrap();
    how(&mut row);
    scene.put(row).await;
}

#[tokio::test]
async fn once_a_worker_has_taken_a_lease_nothing_is_written_any_more_and_the_job_goes_on() {
    let scene = Scene::new(&[("flights", split())]).await;
    let both = |number: &str| {
        vec![given("flights", "shardId-0", after(number, 0)), given("flights", "shardId-3", after(number, 0))]
    };
    let source = source(&scene, &["flights"], both("497")).await;
    source.acknowledge(&begin(&source).await).await.unwrap();
    // The job goes on, while somebody starts KCL on its table.
    let later = self::source(&scene, &["flights"], both("600")).await;
    let later = begin(&later).await;
    change(&scene, "shardId-3", |row| {
        row.insert("leaseOwner".into(), AttributeValue::S("worker-1".into()));
        row.insert("checkpoint".into(), AttributeValue::S("777".into()));
    })
    .await;
    source.acknowledge(&later).await.expect("monitors are not worth a job");
    assert_eq!(checkpoint(&scene.rows().await["shardId-3"]), "777/0");
    // What was written is written once more, if at all.
    change(&scene, "shardId-0", |row| {
        row.insert("checkpoint".into(), AttributeValue::S("650".into()));
    })
    .await;
    source.acknowledge(&later).await.unwrap();
    assert_eq!(checkpoint(&scene.rows().await["shardId-0"]), "650/0");
    // Whoever starts anew is told.
    let mut config = KinesisStreamConfig::new(scene.service(), ["flights"]);
    config.export = Some(LeaseExport::new(scene.service(), &scene.table));
    let error = KinesisStream::connect(config).await.expect_err("it is taken");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("has taken"), "{error}");
}

#[tokio::test]
async fn the_table_of_an_application_is_never_written() {
    let scene = Scene::of_dump().await;
    let before = scene.rows().await;
    let mut config = KinesisStreamConfig::new(scene.service(), ["flights"]);
    config.export = Some(LeaseExport::new(scene.service(), &scene.table));
    let error = KinesisStream::connect(config.clone()).await.expect_err("an application's");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("of their own"), "{error}");
    // Its leases without owners are its leases, too.
    for key in before.keys() {
        change(&scene, key, |row| {
            row.remove("leaseOwner");
        })
        .await;
    }
    let error = KinesisStream::connect(config).await.expect_err("an application's");
    assert!(error.to_string().contains("an application of KCL"), "{error}");
}

#[tokio::test]
async fn two_sources_do_not_write_over_each_other() {
    let scene = Scene::new(&[
        ("flights", json!([shard("shardId-0", None)])),
        ("planes", json!([shard("shardId-0", None)])),
    ])
    .await;
    let flights = source(&scene, &["flights"], vec![given("flights", "shardId-0", after("497", 0))]).await;
    let planes = source(&scene, &["planes"], vec![given("planes", "shardId-0", after("498", 0))]).await;
    flights.acknowledge(&begin(&flights).await).await.unwrap();
    planes.acknowledge(&begin(&planes).await).await.unwrap();
    assert_eq!(checkpoint(&scene.rows().await["shardId-0"]), "497/0");
    let mut config = KinesisStreamConfig::new(scene.service(), ["planes"]);
    config.export = Some(LeaseExport::new(scene.service(), &scene.table));
    let error = KinesisStream::connect(config).await.expect_err("another's");
    assert!(error.to_string().contains("another source"), "{error}");
}

#[tokio::test]
async fn what_a_worker_that_gave_its_lease_back_left_beside_it_is_not_taken_for_ours() {
    let scene = Scene::new(&[("flights", json!([shard("shardId-0", None)]))]).await;
    let start = |number| vec![given("flights", "shardId-0", after(number, 0))];
    let source = source(&scene, &["flights"], start("400")).await;
    source.acknowledge(&begin(&source).await).await.unwrap();
    change(&scene, "shardId-0", |row| {
        row.insert("pendingCheckpoint".into(), AttributeValue::S("450".into()));
        row.insert("pendingCheckpointSubSequenceNumber".into(), AttributeValue::N("1".into()));
        row.insert("pendingCheckpointState".into(), AttributeValue::N("1".into()));
    })
    .await;
    let later = begin(&self::source(&scene, &["flights"], start("497")).await).await;
    source.acknowledge(&later).await.unwrap();
    let row = &scene.rows().await["shardId-0"];
    assert_eq!(checkpoint(row), "497/0");
    assert!(!row.keys().any(|name| name.starts_with("pending")), "{row:?}");
    assert_eq!(row["leaseCounter"], AttributeValue::N("2".into()), "whoever looked before takes nothing");
}

#[tokio::test]
async fn several_streams_are_called_as_kcl_calls_them() {
    let scene = Scene::new(&[
        ("flights", json!([shard("shardId-0", None)])),
        ("planes", json!([shard("shardId-0", None)])),
    ])
    .await;
    let start =
        vec![given("flights", "shardId-0", after("497", 0)), given("planes", "shardId-0", after("498", 1))];
    let source = source(&scene, &["flights", "planes"], start).await;
    source.acknowledge(&begin(&source).await).await.unwrap();
    let rows = scene.rows().await;
    let of = |stream: &str| &rows[&format!("123456789012:{stream}:{MADE_S}:shardId-0")];
    assert_eq!((checkpoint(of("flights")), checkpoint(of("planes"))), ("497/0".into(), "498/1".into()));
    assert_eq!(text(of("planes"), "streamName"), format!("123456789012:planes:{MADE_S}"));
    assert_eq!((text(of("planes"), "shardId"), rows.len()), ("shardId-0".into(), 2));
}

#[tokio::test]
async fn a_write_that_was_lost_or_answered_with_nothing_is_made_again() {
    let scene = Scene::new(&[("flights", json!([shard("shardId-0", None)]))]).await;
    let source = source(&scene, &["flights"], vec![given("flights", "shardId-0", after("497", 0))]).await;
    let active = begin(&source).await;
    let nothing = Fault::Refused { status: 200, body: "{}".into() };
    for fault in [Fault::Cut, Fault::Lost, nothing] {
        scene.proxy.plan(&fault, 1);
    }
    source.acknowledge(&active).await.unwrap();
    assert_eq!(checkpoint(&scene.rows().await["shardId-0"]), "497/0");
    assert_eq!(scene.proxy.count(), 3);
}

#[tokio::test]
async fn a_table_that_cannot_be_written_is_no_failure_of_the_job_but_one_of_its_start() {
    let scene = Scene::new(&[("flights", json!([shard("shardId-0", None)]))]).await;
    let source = source(&scene, &["flights"], vec![given("flights", "shardId-0", after("497", 0))]).await;
    let active = begin(&source).await;
    scene.client.delete_table().table_name(&scene.table).send().await.unwrap();
    source.acknowledge(&active).await.expect("monitors are not worth a job");
    scene.make("pk").await;
    let mut config = KinesisStreamConfig::new(scene.service(), ["flights"]);
    config.export = Some(LeaseExport::new(scene.service(), &scene.table));
    let error = KinesisStream::connect(config).await.expect_err("another table");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("leaseKey"), "{error}");
}

#[tokio::test]
async fn a_table_that_is_imported_is_not_the_one_that_is_written() {
    let scene = Scene::of_dump().await;
    let mut config = KinesisStreamConfig::new(scene.service(), ["flights"]);
    config.start = StreamStart::Leases(scene.leases());
    config.export = Some(LeaseExport::new(scene.service(), &scene.table));
    let error = KinesisStream::connect(config).await.expect_err("the same");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("setting=export"), "{error}");
}
