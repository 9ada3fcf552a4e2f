//! What was thrown away before it was read: a loss, and never a silent step forward.

use serde_json::Value;
use tidelock::{Error, ErrorKind, Retry, Source as _, SplitReader as _, Stored};
use tidelock_dynamodb::{DynamoShard, DynamoStream, OnDataLoss};

use super::drive::{Job, Read, first_of};
use crate::scripted::Scripted;

async fn warning(stream: &Scripted) -> DynamoStream {
    stream.source(|config| config.on_data_loss = OnDataLoss::Warn).await
}

#[track_caller]
fn assert_loss(error: &Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!((error.kind(), error.retry()), (kind, Retry::Halt), "{error}");
    for part in parts.iter().chain(&["on_data_loss", "table=table"]) {
        assert!(error.to_string().contains(part), "{part} is not in: {error}");
    }
}

/// A job that has read the first four records of A, of ten.
async fn begun(stream: &Scripted) -> Job {
    stream.script().open("A");
    stream.script().fill("A", 0..10);
    let source = stream.source(|config| config.batch_records = 4).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    assert_eq!(job.read_once(stream, &id, &mut reader).await.unwrap(), Read::Records);
    job.stored()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_trimmed_before_they_are_read_halt_the_job_or_are_told() {
    let stream = Scripted::start().await;
    let job = begun(&stream).await;
    stream.script().trim("A", 7);
    let source = stream.source(|_| ()).await;
    let error = source.open(first_of(&job).1).await.expect_err("it is gone");
    assert_loss(&error, ErrorKind::Expired, &["shard=A", "position=after 1000"]);
    let mut job = job;
    job.run(&stream, &warning(&stream).await).await.unwrap();
    assert_eq!(job.seen, ["A:0", "A:1", "A:2", "A:3", "A:7", "A:8", "A:9"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_trimmed_under_a_slow_reader_are_a_loss_too() {
    for policy in [OnDataLoss::Fail, OnDataLoss::Warn] {
        let stream = Scripted::start().await;
        let mut job = begun(&stream).await;
        let source = stream.source(|config| (config.batch_records, config.on_data_loss) = (1, policy)).await;
        let (id, shard) = first_of(&job);
        let mut reader = source.open(shard).await.unwrap();
        assert_eq!(job.read_once(&stream, &id, &mut reader).await.unwrap(), Read::Records);
        stream.script().trim("A", 8);
        let read = job.read_once(&stream, &id, &mut reader).await;
        if policy == OnDataLoss::Fail {
            assert_loss(&read.expect_err("it is gone"), ErrorKind::Expired, &["shard=A"]);
        } else {
            assert_eq!(read.unwrap(), Read::Records);
            assert_eq!(job.seen[3..], ["A:3", "A:4", "A:8"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_disappears_under_a_job_is_a_loss_and_not_its_end() {
    let stream = Scripted::start().await;
    let job = begun(&stream).await;
    stream.script().close("A", &["B"]);
    stream.script().fill("B", 0..2);
    stream.script().vanish("A");
    let source = stream.source(|_| ()).await;
    let error = source.open(first_of(&job).1).await.expect_err("it is gone");
    assert_loss(&error, ErrorKind::NotFound, &["shard=A", "position=after 1000"]);
    let mut job = job;
    job.run(&stream, &warning(&stream).await).await.unwrap();
    assert_eq!(job.names(), "B");
    assert_eq!(job.seen, ["A:0", "A:1", "A:2", "A:3", "B:0", "B:1"]);
    let source = stream.source(|_| ()).await;
    job.discover(&source, &[]).await.unwrap();
    assert!(job.ended.is_empty(), "what is lost is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_disappears_unread_is_missed_by_its_name() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..1);
    stream.script().close("A", &["B"]);
    stream.script().fill("B", 0..2);
    stream.script().close("B", &["C"]);
    stream.script().fill("C", 0..2);
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    while job.read_once(&stream, &id, &mut reader).await.unwrap() != Read::End {}
    // It was stored that A has ended, and nothing of B. A day later both are gone.
    let ended = job.active.remove(&id).unwrap();
    job.ended.insert(id, ended);
    for also_gone in [&["A", "B"][..], &["C"]] {
        also_gone.iter().for_each(|shard| stream.script().vanish(shard));
        let error = job.stored().run(&stream, &stream.source(|_| ()).await).await.expect_err("B is gone");
        assert_loss(&error, ErrorKind::Expired, &["shards=B"]);
    }
    stream.script().open("X");
    job.run(&stream, &warning(&stream).await).await.unwrap();
    assert_eq!((job.names().as_str(), job.ended.len()), ("X", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_between_a_shard_that_is_gone_and_one_that_is_there_is_a_loss() {
    let stream = Scripted::start().await;
    let mut job = begun(&stream).await;
    stream.script().close("A", &["B"]);
    stream.script().close("B", &["C"]);
    stream.script().fill("C", 0..4);
    stream.script().trim("C", 1);
    ["A", "B"].iter().for_each(|shard| stream.script().vanish(shard));
    let error = job.stored().discover(&stream.source(|_| ()).await, &[]).await.expect_err("B is gone");
    assert_loss(&error, ErrorKind::Expired, &["shards=B"]);
    job.run(&stream, &warning(&stream).await).await.unwrap();
    assert_eq!(job.seen[4..], ["C:1", "C:2", "C:3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_records_of_a_child_are_all_wanted() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().close("A", &["B"]);
    stream.script().fill("B", 0..4);
    let mut job = Job::default();
    let source = stream.source(|_| ()).await;
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    while job.read_once(&stream, &id, &mut reader).await.unwrap() != Read::End {}
    job.finish(&source, &id).await.unwrap();
    let mut job = job.stored();
    stream.script().trim("B", 2);
    let error = job.stored().run(&stream, &source).await.expect_err("it is gone");
    assert_loss(&error, ErrorKind::Expired, &["shard=B", "position=the first record"]);
    job.run(&stream, &warning(&stream).await).await.unwrap();
    assert_eq!(job.seen, ["B:2", "B:3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_before_the_job_began_or_is_trimmed_while_it_begins_is_no_loss() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..4);
    stream.script().trim("A", 1);
    // It has its records still, and the oldest of them has not long to live.
    stream.script().open("B");
    stream.script().fill("B", 0..4);
    stream.script().age("B", 24 * 3_600 - 60);
    let mut job = Job::default();
    let source = stream.source(|_| ()).await;
    job.discover(&source, &[]).await.unwrap();
    stream.script().trim("A", 2);
    stream.script().trim("B", 3);
    job.stored().run(&stream, &source).await.unwrap();
    let mut readers = Vec::new();
    for shard in job.active.values() {
        readers.push((shard.clone(), source.open(shard.clone()).await.unwrap()));
    }
    // Also where it is trimmed on the way from the place to the records.
    stream.script().trim("A", 3);
    for (shard, mut reader) in readers {
        let batch = reader.next().await.unwrap().unwrap();
        assert_eq!(batch.records.len(), 1, "{shard:?}");
    }
}

/// The same shard, found so long ago.
fn found_before(shard: &DynamoShard, hours: i64) -> DynamoShard {
    let stored = Stored::encode(shard).unwrap();
    let mut json: Value = serde_json::from_str(stored.json.get()).unwrap();
    let position = json["position"].as_object_mut().unwrap();
    for place in position.values_mut() {
        let since = &mut place["since_ms"];
        *since = (since.as_i64().unwrap() - hours * 3_600_000).into();
    }
    let json = serde_json::value::to_raw_value(&json).unwrap();
    Stored { json, ..stored }.decode().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_was_read_of_a_shard_for_longer_than_a_day_nobody_knows_what_is_lost() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..4);
    stream.script().trim("A", 1);
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    source.open(found_before(&shard, 23)).await.expect("a day has not passed");
    let error = source.open(found_before(&shard, 25)).await.expect_err("a day has passed");
    assert_loss(&error, ErrorKind::Expired, &["shard=A", "longer than a day"]);
    job.active.insert(id, found_before(&shard, 25));
    job.run(&stream, &warning(&stream).await).await.unwrap();
    assert_eq!(job.seen, ["A:1", "A:2", "A:3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_stream_of_the_same_table_is_a_loss_and_another_table_is_a_mistake() {
    let stream = Scripted::start().await;
    let job = begun(&stream).await;
    stream.script().vanish("A");
    stream.script().label = "2026-11-30T04:00:00.000".into();
    stream.script().open("N");
    stream.script().fill("N", 0..2);
    let error = job.stored().run(&stream, &stream.source(|_| ()).await).await.expect_err("another stream");
    assert_loss(&error, ErrorKind::Expired, &["another stream", "T04:00:00", "T03:00:00"]);
    let mut went_on = job.stored();
    went_on.run(&stream, &warning(&stream).await).await.unwrap();
    assert_eq!(went_on.names(), "N");
    assert_eq!(went_on.seen[4..], ["N:0", "N:1"]);

    stream.script().table = "other".into();
    let error = job.stored().run(&stream, &warning(&stream).await).await.expect_err("another table");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
}
