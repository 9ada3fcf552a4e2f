//! The table as the start of a job.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use tidelock::{ErrorKind, Known, Source as _, Split as _};
use tidelock_kinesis::{
    Given, GivenAt, InitialPosition, KinesisShard, KinesisStream, KinesisStreamConfig, Leases, OnDataLoss,
    StreamStart,
};
use tidelock_testkit::Fault;

use crate::scene::{MADE_S, Scene, lease, shard};

const FIRST_RUN: Known<KinesisShard> =
    Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };

/// Where a job begins that takes the table.
async fn given(scene: &Scene, streams: &[&str]) -> tidelock::Result<Vec<Given>> {
    let streams: Vec<String> = streams.iter().map(|&stream| stream.to_owned()).collect();
    let leases = Leases::read(&scene.leases()).await?;
    leases.plan_of(&scene.leases(), &scene.service(), &streams).await?.given(false)
}

fn source(scene: &Scene, streams: &[&str]) -> KinesisStreamConfig {
    let mut config = KinesisStreamConfig::new(scene.service(), streams.iter().copied());
    config.start = StreamStart::Leases(scene.leases());
    config
}

#[tokio::test]
async fn a_job_begins_where_a_real_kcl_ended_after_a_split_and_within_an_aggregate() {
    let scene = Scene::of_dump().await;
    let given = given(&scene, &["flights"]).await.unwrap();
    assert_eq!(given.len(), 4);
    assert!(given.iter().all(|one| one.stream == "flights"));
    assert_eq!(given[0].at, GivenAt::Finished);
    let sub = |at: &GivenAt| {
        if let GivenAt::AfterSub { sub_sequence, .. } = at { Some(*sub_sequence) } else { None }
    };
    assert_eq!(given.iter().map(|one| sub(&one.at)).collect::<Vec<_>>(), [None, Some(2), Some(0), Some(0)]);
    // The source does the same by itself, in its very first discovery.
    let source = KinesisStream::connect(source(&scene, &["flights"])).await.unwrap();
    let found = source.discover(&FIRST_RUN).await.unwrap().new;
    let mut shards: Vec<String> = found.iter().map(|split| split.id().as_str().to_owned()).collect();
    shards.sort();
    assert_eq!(shards.len(), 4, "{shards:?}");
    // Never again: a table that is not there any more is not missed.
    scene.client.delete_table().table_name(&scene.table).send().await.unwrap();
    let later = Known { active: found, first_run: false, ..FIRST_RUN };
    assert_eq!(source.discover(&later).await.unwrap().new, []);
}

#[tokio::test]
async fn a_worker_that_is_alive_is_noticed_and_one_that_ended_is_not() {
    let scene = Scene::of_dump().await;
    let mut config = scene.leases();
    config.watch_ms = 1_500;
    let leases = Leases::read(&config).await.unwrap();
    assert!(leases.leases.iter().all(|lease| lease.owner.is_some()), "the names stay");
    leases.check_nobody_writes(&config).expect("nobody writes");
    // A worker renews its leases.
    let (client, table) = (scene.client.clone(), scene.table.clone());
    let worker = tokio::spawn(async move {
        loop {
            let update = client
                .update_item()
                .table_name(&table)
                .key("leaseKey", AttributeValue::S("shardId-000000000001".into()));
            let update = update.update_expression("ADD leaseCounter :one");
            let one = AttributeValue::N("1".into());
            update.expression_attribute_values(":one", one).send().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    config.watch_ms = 60_000;
    let leases = Leases::read(&config).await.unwrap();
    let error = leases.check_nobody_writes(&config).expect_err("it is alive");
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("worker-1"), "{error}");
    let mut taking = source(&scene, &["flights"]);
    taking.start = StreamStart::Leases(config.clone());
    let refusing = KinesisStream::connect(taking.clone()).await.unwrap();
    assert_eq!(refusing.discover(&FIRST_RUN).await.expect_err("it is alive").kind(), ErrorKind::Conflict);
    config.force = true;
    taking.start = StreamStart::Leases(config);
    let forced = KinesisStream::connect(taking).await.unwrap();
    assert_eq!(forced.discover(&FIRST_RUN).await.unwrap().new.len(), 4);
    worker.abort();
}

#[tokio::test]
async fn leases_of_several_streams_are_told_apart() {
    let scene = Scene::new(&[
        ("flights", json!([shard("shardId-0", None)])),
        ("planes", json!([shard("shardId-0", None)])),
    ])
    .await;
    scene.make("leaseKey").await;
    for (stream, checkpoint) in [("flights", "497"), ("planes", "498"), ("crews", "499")] {
        scene.put(lease(&format!("123456789012:{stream}:{MADE_S}:shardId-0"), checkpoint, None)).await;
    }
    let given = given(&scene, &["planes", "flights"]).await.unwrap();
    let at = |number: &str| GivenAt::AfterSub { sequence_number: number.into(), sub_sequence: 0 };
    let all: Vec<_> = given.iter().map(|one| (one.stream.as_str(), &one.at)).collect();
    assert_eq!(all, [("planes", &at("498")), ("flights", &at("497"))]);
}

#[tokio::test]
async fn a_table_that_does_not_name_its_stream_is_taken_for_one_stream_alone() {
    let scene = Scene::new(&[
        ("flights", json!([shard("shardId-0", None)])),
        ("planes", json!([shard("shardId-0", None)])),
    ])
    .await;
    scene.make("leaseKey").await;
    scene.put(lease("shardId-0", "497", None)).await;
    let error = given(&scene, &["flights", "planes"]).await.expect_err("which of them?");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("one stream"), "{error}");
    assert_eq!(given(&scene, &["flights"]).await.unwrap().len(), 1);
    scene.put(lease(&format!("1:flights:{MADE_S}:shardId-0"), "497", None)).await;
    let error = given(&scene, &["flights"]).await.expect_err("two applications");
    assert!(error.to_string().contains("two applications"), "{error}");
}

#[tokio::test]
async fn what_is_no_table_of_leases_is_an_error_that_says_so() {
    let scene = Scene::new(&[("flights", json!([shard("shardId-0", None)]))]).await;
    let error = given(&scene, &["flights"]).await.expect_err("no table");
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains(&scene.table), "{error}");
    scene.make("pk").await;
    scene.put([("pk".to_owned(), AttributeValue::S("x".into()))].into()).await;
    let error = given(&scene, &["flights"]).await.expect_err("another table");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("leaseKey"), "{error}");
    let error = given(&Scene::of_dump().await, &["planes"]).await.expect_err("no stream");
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("planes"), "{error}");
}

#[tokio::test]
async fn an_empty_table_is_no_start_until_somebody_says_what_the_application_began_with() {
    let scene = Scene::new(&[("flights", json!([shard("shardId-0", None)]))]).await;
    scene.make("leaseKey").await;
    assert_eq!(given(&scene, &["flights"]).await.expect_err("no leases").kind(), ErrorKind::Config);
    let mut config = scene.leases();
    config.initial_position = Some(InitialPosition::AtTimestamp(7));
    let plan =
        Leases::read(&config).await.unwrap().plan_of(&config, &scene.service(), &["flights".into()]).await;
    assert_eq!(plan.unwrap().given(false).unwrap()[0].at, GivenAt::Time(7));
}

#[tokio::test]
async fn a_shard_that_was_not_processed_and_is_gone_is_a_loss_that_the_source_s_policy_decides() {
    let scene = Scene::new(&[("flights", json!([shard("shardId-1", None)]))]).await;
    scene.make("leaseKey").await;
    scene.put(lease("shardId-0", "497", None)).await;
    scene.put(lease("shardId-1", "498", None)).await;
    let mut config = source(&scene, &["flights"]);
    let failing = KinesisStream::connect(config.clone()).await.unwrap();
    let error = failing.discover(&FIRST_RUN).await.expect_err("a loss");
    assert!(error.kind() == ErrorKind::Expired && error.to_string().contains("shardId-0"), "{error}");
    config.on_data_loss = OnDataLoss::Warn;
    let warning = KinesisStream::connect(config).await.unwrap();
    assert_eq!(warning.discover(&FIRST_RUN).await.unwrap().new.len(), 1);
}

#[tokio::test]
async fn a_table_of_several_pages_is_read_whole_whatever_becomes_of_the_answers() {
    let shards: Vec<_> = (0..300).map(|at| shard(&format!("shardId-{at}"), None)).collect();
    let scene = Scene::new(&[("flights", json!(shards))]).await;
    scene.make("leaseKey").await;
    // More than a page has.
    let state = AttributeValue::B(vec![7; 6_000].into());
    for at in 0..300 {
        let mut row = lease(&format!("shardId-{at}"), &(1_000 + at).to_string(), Some("worker-1"));
        row.insert("pendingCheckpointState".into(), state.clone());
        scene.put(row).await;
    }
    scene.proxy.only(|request| {
        request.headers().get("x-amz-target").is_some_and(|target| target.as_bytes().ends_with(b".Scan"))
    });
    let nothing = Fault::Refused { status: 200, body: "{}".into() };
    for fault in [Fault::Cut, Fault::Lost, Fault::Half, Fault::Slow, nothing] {
        scene.proxy.plan(&fault, 1);
    }
    let given = given(&scene, &["flights"]).await.unwrap();
    assert_eq!(given.len(), 300);
    assert!(scene.proxy.count() >= 4, "{}", scene.proxy.count());
}
