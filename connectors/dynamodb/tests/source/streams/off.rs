//! A stream that is switched off, and on again: what is written meanwhile is nowhere, and that is told, whatever was read by then.

use tidelock::{Error, ErrorKind, Retry, Source as _, SplitReader as _};
use tidelock_dynamodb::{DynamoStream, OnDataLoss};

use super::drive::{Job, Read, first_of};
use crate::scripted::Scripted;

const LATER: &str = "2026-11-30T04:00:00.000";

async fn warning(stream: &Scripted) -> DynamoStream {
    stream.source(|config| config.on_data_loss = OnDataLoss::Warn).await
}

#[track_caller]
fn assert_loss(error: &Error, parts: &[&str]) {
    assert_eq!(error.retry(), Retry::Halt, "{error}");
    assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Expired), "{error}");
    for part in parts.iter().chain(&["on_data_loss", "table=table"]) {
        assert!(error.to_string().contains(part), "{part} is not in: {error}");
    }
}

/// A job that has read all of A, the only shard, when the stream is switched off.
async fn all_read(stream: &Scripted) -> Job {
    stream.script().open("A");
    stream.script().fill("A", 0..2);
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    assert_eq!(job.read_once(stream, &id, &mut reader).await.unwrap(), Read::Records);
    stream.script().switch_off();
    while let Some(batch) = reader.next().await.unwrap() {
        job.active.insert(id.clone(), batch.resume);
    }
    // Its end is told to a job that warns, and is stored.
    job.finish(&warning(stream).await, &id).await.unwrap();
    assert_eq!(job.names(), "");
    job.stored()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_switched_off_is_told_also_where_all_of_it_was_read() {
    let stream = Scripted::start().await;
    let mut job = all_read(&stream).await;
    let connected = {
        // The job runs on: it has connected when the stream was there.
        stream.script().is_on = true;
        let source = stream.source(|_| ()).await;
        stream.script().is_on = false;
        source
    };
    let error = job.discover(&connected, &[]).await.expect_err("what changes now is nowhere");
    assert_loss(&error, &["StreamSpecification"]);
    // A day later nothing is known of it any more, and it is still off.
    stream.script().vanish("A");
    job.discover(&warning(&stream).await, &[]).await.unwrap();
    assert!(job.ended.is_empty());
    assert_loss(&job.discover(&connected, &[]).await.expect_err("it is off"), &["StreamSpecification"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_stream_is_told_also_where_all_of_the_one_before_was_read() {
    let stream = Scripted::start().await;
    let mut job = all_read(&stream).await;
    stream.script().switch_on(LATER);
    stream.script().open("N");
    stream.script().fill("N", 0..2);
    let source = stream.source(|_| ()).await;
    let error = job.stored().run(&stream, &source).await.expect_err("nobody knows what was written between");
    assert_loss(&error, &["another stream", LATER]);
    job.run(&stream, &warning(&stream).await).await.unwrap();
    assert_eq!((job.names().as_str(), &job.seen[2..]), ("N", &["N:0".to_owned(), "N:1".to_owned()][..]));
    // It was accepted: the job may be as strict as before.
    stream.script().fill("N", 2..3);
    job.stored().run(&stream, &source).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_newer_stream_is_read_before_the_end_of_an_older_one() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..4);
    stream.script().close("A", &["B"]);
    stream.script().fill("B", 0..2);
    let mut job = Job::default();
    job.discover(&stream.source(|_| ()).await, &[]).await.unwrap();
    stream.script().switch_off();
    stream.script().switch_on(LATER);
    stream.script().open("N");
    stream.script().fill("N", 0..2);
    let source = warning(&stream).await;
    let mut job = job.stored();
    for expected in ["A", "B", "N"] {
        job.discover(&source, &[]).await.unwrap();
        assert_eq!(job.names(), expected, "an item's changes go on from one stream to the other");
        if expected == "N" {
            break;
        }
        let (id, shard) = first_of(&job);
        let mut reader = source.open(shard).await.unwrap();
        while job.read_once(&stream, &id, &mut reader).await.unwrap() != Read::End {}
        job.finish(&source, &id).await.unwrap();
        job = job.stored();
    }
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.seen, ["A:0", "A:1", "A:2", "A:3", "B:0", "B:1", "N:0", "N:1"]);
}
