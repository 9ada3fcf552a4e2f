//! The first start at the horizon, which moves: what is thrown away before it, or while the job begins, is no loss.

use tidelock::{ErrorKind, Retry};
use tidelock_dynamodb::OnDataLoss;

use super::drive::Job;
use super::lineage::{sorted, written};
use crate::scripted::Scripted;

/// A, then B, then C, which is open. So many records of A are left, and where there are none, the second half of those of B.
async fn aged(left_of_a: usize) -> Scripted {
    let stream = Scripted::start().await;
    {
        let mut script = stream.script();
        script.open("A");
        script.fill("A", 0..3);
        script.close("A", &["B"]);
        script.fill("B", 0..4);
        script.close("B", &["C"]);
        script.fill("C", 0..2);
        script.trim("A", 3 - left_of_a);
        if left_of_a == 0 {
            script.trim("B", 2);
        }
    }
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_of_which_nothing_is_left_when_the_job_begins_are_passed_over() {
    // A is listed still: it gives no records, or it is not there any more.
    for is_expired in [false, true] {
        let stream = aged(0).await;
        if is_expired {
            stream.script().expired.insert("A".into());
        }
        let source = stream.source(|_| ()).await;
        let mut job = Job::default();
        job.discover(&source, &[]).await.unwrap();
        let mut job = job.stored();
        job.run(&stream, &source).await.unwrap();
        assert_eq!(job.names(), "C");
        assert_eq!(job.seen, ["B:2", "B:3", "C:0", "C:1"]);
        stream.script().vanish("A");
        job.discover(&source, &[]).await.unwrap();
        assert_eq!((job.names().as_str(), job.ended.len()), ("C", 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_generations_of_which_nothing_is_left_are_passed_over() {
    let stream = aged(0).await;
    stream.script().trim("B", 4);
    stream.script().trim("C", 1);
    let mut job = Job::default();
    job.run(&stream, &stream.source(|_| ()).await).await.unwrap();
    assert_eq!((job.names().as_str(), job.seen), ("C", vec!["C:1".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_disappears_while_the_job_begins_had_nothing_that_is_missed() {
    let stream = aged(1).await;
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    assert_eq!(job.names(), "A");
    stream.script().vanish("A");
    let mut job = job.stored();
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.names(), "C");
    assert_eq!(sorted(job.seen), written(&[("B", 4), ("C", 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_oldest_records_are_thrown_away_again_and_again_is_read_from_the_next_ones() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..30);
    stream.script().close("A", &["B"]);
    stream.script().fill("B", 0..2);
    stream.script().trim("A", 1);
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    stream.script().trims_at_read.insert("A".into(), 8);
    let mut job = job.stored();
    job.run(&stream, &source).await.unwrap();
    let all = (9..30).map(|place| format!("A:{place}")).chain(["B:0".into(), "B:1".into()]);
    assert_eq!(job.seen, all.collect::<Vec<_>>(), "what is there is not passed over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_records_are_thrown_away_before_any_can_be_read_is_a_loss() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..1_000);
    stream.script().close("A", &["B"]);
    stream.script().fill("B", 0..2);
    stream.script().trim("A", 1);
    let mut job = Job::default();
    job.discover(&stream.source(|_| ()).await, &[]).await.unwrap();
    stream.script().trims_at_read.insert("A".into(), 500);
    let error = job.stored().run(&stream, &stream.source(|_| ()).await).await.expect_err("none can be read");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt), "{error}");
    for part in ["shard=A", "on_data_loss"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    stream.script().trims_at_read.insert("A".into(), 500);
    job.run(&stream, &stream.source(|config| config.on_data_loss = OnDataLoss::Warn).await).await.unwrap();
    assert_eq!((job.names().as_str(), job.seen), ("B", vec!["B:0".to_owned(), "B:1".to_owned()]));
}
