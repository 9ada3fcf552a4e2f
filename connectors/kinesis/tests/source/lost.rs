//! What was thrown away before it was read: a loss, and never a silent step forward.

use serde_json::Value;
use tidelock::{Error, ErrorKind, Retry, Source as _, SplitId, SplitReader as _, Stored};
use tidelock_kinesis::{KinesisShard, KinesisStream, OnDataLoss, StreamStart, StreamStop};

use crate::drive::{Job, Read, first_of};
use crate::scripted::{Scripted, Trimmed, now_ms};

async fn warning(stream: &Scripted) -> KinesisStream {
    stream.source(|config| config.on_data_loss = OnDataLoss::Warn).await
}

#[track_caller]
fn assert_loss(error: &Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!((error.kind(), error.retry()), (kind, Retry::Halt), "{error}");
    for part in parts.iter().chain(&["on_data_loss", "stream="]) {
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

/// A job that has read all of A, and has told that there was nothing more.
async fn caught_up(stream: &Scripted) -> Job {
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    assert_eq!(job.read_once(stream, &id, &mut reader).await.unwrap(), Read::Records);
    let batch = reader.next().await.unwrap().expect("it is told once");
    assert!(batch.records.is_empty());
    job.active.insert(id, batch.resume);
    job
}

/// What the first read of a job says.
async fn read_error(source: &KinesisStream, job: &Job) -> Error {
    match source.open(first_of(job).1).await {
        Ok(mut reader) => reader.next().await.expect_err("it is gone"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_trimmed_before_they_are_read_halt_the_job_or_are_told_whatever_the_server_says() {
    for trimmed in [
        Trimmed::Silent,
        Trimmed::Refused("InvalidArgumentException"),
        Trimmed::Refused("ResourceNotFoundException"),
    ] {
        let stream = Scripted::start().await;
        let job = begun(&stream).await;
        stream.script().trim("A", 7);
        stream.script().trimmed = trimmed;
        let error = read_error(&stream.source(|_| ()).await, &job).await;
        assert_loss(&error, ErrorKind::Expired, &["shard=A", "position=after 4959", "oldest_there=4959"]);
        for policy in [OnDataLoss::Warn, OnDataLoss::Ignore] {
            let mut job = job.stored();
            let source = stream.source(|config| config.on_data_loss = policy).await;
            job.run(&stream, &source).await.unwrap();
            assert_eq!(job.seen, ["A:0", "A:1", "A:2", "A:3", "A:7", "A:8", "A:9"], "{trimmed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_is_thrown_away_up_to_the_last_record_that_was_read_nothing_is_lost() {
    let stream = Scripted::start().await;
    let mut job = begun(&stream).await;
    stream.script().trim("A", 3);
    job.run(&stream, &stream.source(|_| ()).await).await.unwrap();
    assert_eq!(job.seen.len(), 10, "the last one proves it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_had_nothing_more_to_read_has_no_gap_when_its_last_record_is_thrown_away() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..3);
    let mut job = caught_up(&stream).await;
    stream.script().trim("A", 3);
    stream.script().fill("A", 3..5);
    let (id, shard) = first_of(&job);
    let mut late = job.stored();
    late.active.insert(id, hours_before(&shard, 25));
    job.run(&stream, &stream.source(|_| ()).await).await.unwrap();
    assert_eq!(job.seen, ["A:0", "A:1", "A:2", "A:3", "A:4"]);
    // The same a day later: what came between may be thrown away.
    let error = read_error(&stream.source(|_| ()).await, &late).await;
    assert_loss(&error, ErrorKind::Expired, &["shard=A", "caught_up_ms="]);
}

/// The same shard, as it was stored so long ago.
fn hours_before(shard: &KinesisShard, hours: i64) -> KinesisShard {
    let stored = Stored::encode(shard).unwrap();
    let mut json: Value = serde_json::from_str(stored.json.get()).unwrap();
    let earlier = |time: &mut Value| *time = (time.as_i64().unwrap() - hours * 3_600_000).into();
    for name in ["arrival_ms", "caught_up_ms"] {
        json.get_mut(name).into_iter().for_each(earlier);
    }
    for place in json["position"].as_object_mut().unwrap().values_mut() {
        place.get_mut("since_ms").into_iter().for_each(earlier);
    }
    let json = serde_json::value::to_raw_value(&json).unwrap();
    Stored { json, ..stored }.decode().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_trimmed_under_a_slow_reader_are_a_loss_too() {
    for policy in [OnDataLoss::Fail, OnDataLoss::Warn] {
        let stream = Scripted::start().await;
        stream.script().open("A");
        stream.script().fill("A", 0..6);
        // It lags behind by nearly as much as is kept.
        stream.script().age("A", 23);
        stream.script().fill("A", 6..10);
        let source = stream.source(|config| (config.batch_records, config.on_data_loss) = (1, policy)).await;
        let mut job = Job::default();
        job.discover(&source, &[]).await.unwrap();
        let (id, shard) = first_of(&job);
        let mut reader = source.open(shard).await.unwrap();
        for _ in 0..3 {
            assert_eq!(job.read_once(&stream, &id, &mut reader).await.unwrap(), Read::Records);
        }
        // An hour passes.
        stream.script().age("A", 1);
        job.read_once(&stream, &id, &mut reader).await.unwrap();
        stream.script().trim("A", 8);
        let read = job.read_once(&stream, &id, &mut reader).await;
        if policy == OnDataLoss::Fail {
            assert_loss(&read.expect_err("it is gone"), ErrorKind::Expired, &["shard=A"]);
        } else {
            assert_eq!(read.unwrap(), Read::Records);
            assert_eq!(job.seen, ["A:0", "A:1", "A:2", "A:3", "A:8"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_disappears_under_a_job_is_a_loss_and_not_its_end() {
    let stream = Scripted::start().await;
    let job = begun(&stream).await;
    stream.script().split("A", &["B", "C"]);
    stream.script().fill("B", 0..2);
    stream.script().vanish("A");
    let error = read_error(&stream.source(|_| ()).await, &job).await;
    assert_loss(&error, ErrorKind::NotFound, &["shard=A", "position=after 4959"]);
    let mut job = job;
    job.run(&stream, &warning(&stream).await).await.unwrap();
    assert_eq!(job.names(), "B C");
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
    stream.script().split("A", &["B"]);
    stream.script().fill("B", 0..2);
    stream.script().split("B", &["C"]);
    stream.script().fill("C", 0..2);
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    while job.read_once(&stream, &id, &mut reader).await.unwrap() != Read::End {}
    // It was stored that A has ended, and nothing of B. A day later both are gone, and grandchildren are there.
    let ended = job.active.remove(&id).unwrap();
    job.ended.insert(id, ended);
    ["A", "B"].iter().for_each(|shard| stream.script().vanish(shard));
    let error = job.stored().run(&stream, &stream.source(|_| ()).await).await.expect_err("B is gone");
    assert_loss(&error, ErrorKind::Expired, &["shards=B"]);
    job.run(&stream, &warning(&stream).await).await.unwrap();
    assert_eq!((job.names().as_str(), job.seen.len()), ("C", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_before_the_job_began_or_is_trimmed_while_it_begins_is_no_loss() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..4);
    stream.script().trim("A", 1);
    // The oldest of its records has not long to live.
    stream.script().open("B");
    stream.script().fill("B", 0..4);
    stream.script().age("B", 24);
    let mut job = Job::default();
    let source = stream.source(|_| ()).await;
    job.discover(&source, &[]).await.unwrap();
    stream.script().trim("B", 3);
    job.stored().run(&stream, &source).await.unwrap();
    // What was there when the job began, and would have been for long, is missed.
    stream.script().trim("A", 2);
    let error = read_error(&source, &job).await;
    assert_loss(&error, ErrorKind::Expired, &["shard=A", "position=at 4959"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_was_read_of_a_shard_for_longer_than_it_keeps_nobody_knows_what_is_lost() {
    for start in [StreamStart::Horizon, StreamStart::Latest, StreamStart::Timestamp(now_ms() - 60_000)] {
        let stream = Scripted::start().await;
        stream.script().open("A");
        let source = stream.source(|config| config.start = start.clone()).await;
        let mut job = Job::default();
        job.discover(&source, &[]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        stream.script().fill("A", 0..4);
        stream.script().trim("A", 1);
        let (id, shard) = first_of(&job);
        job.active.insert(id.clone(), hours_before(&shard, 23));
        job.stored().run(&stream, &source).await.expect("a day has not passed");
        job.active.insert(id, hours_before(&shard, 25));
        let error = read_error(&source, &job).await;
        assert_loss(&error, ErrorKind::Expired, &["shard=A", "longer than"]);
        job.run(&stream, &warning(&stream).await).await.unwrap();
        assert_eq!(job.seen, ["A:1", "A:2", "A:3"], "{start:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_deleted_or_made_again_is_a_loss_and_its_positions_are_not_used() {
    let stream = Scripted::start().await;
    let job = begun(&stream).await;
    let source = stream.source(|_| ()).await;
    stream.script().is_there = false;
    let error = job.stored().discover(&source, &[]).await.expect_err("it is deleted");
    assert_loss(&error, ErrorKind::NotFound, &["not there"]);
    let error = read_error(&source, &job).await;
    assert_loss(&error, ErrorKind::NotFound, &["deleted", "shard=A"]);

    {
        let mut script = stream.script();
        script.is_there = true;
        script.made_ms += 3_600_000;
        script.vanish("A");
        script.open("A");
        (0..6).for_each(|place| script.write("A", format!("new:{place}")));
    }
    let error = job.stored().discover(&stream.source(|_| ()).await, &[]).await.expect_err("made again");
    assert_loss(&error, ErrorKind::Expired, &["made again", "was_made_ms="]);
    let error = read_error(&stream.source(|_| ()).await, &job).await;
    assert_loss(&error, ErrorKind::NotFound, &["made again", "shard=A"]);
    let mut job = job;
    let source = warning(&stream).await;
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.seen.len(), 10, "four of the old one, and all of the new one: {:?}", job.seen);
    job.stored().run(&stream, &stream.source(|_| ()).await).await.expect("it is told once");
    job.discover(&source, &[]).await.unwrap();
    let left: Vec<&SplitId> = job.active.keys().chain(job.ended.keys()).collect();
    assert_eq!(left.len(), 1, "the old one is forgotten: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_names_any_more_is_a_mistake_while_shards_of_it_are_left() {
    let stream = Scripted::start().await;
    let job = begun(&stream).await;
    let source = stream.source(|_| ()).await;
    let mut config = stream.config();
    config.streams = vec!["other".into()];
    let other = tidelock_kinesis::KinesisStream::connect(config).await.unwrap();
    let error = job.stored().discover(&other, &[]).await.expect_err("another stream");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
    assert!(error.to_string().contains("stream/flights"), "{error}");
    job.stored().discover(&source, &[]).await.expect("the same stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_lags_behind_comes_through_a_time_without_records() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..6);
    stream.script().age("A", 23);
    let source = stream.source(|config| config.batch_records = 1).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    // It lags behind by as much as is kept: each place is doubted, and each answer covers a part of the time that is before the next record.
    stream.script().age("A", 1);
    stream.script().stretch = 2;
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.seen.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_service_does_not_know_any_more_is_missed_however_young_it_is() {
    for code in ["InvalidArgumentException", "ResourceNotFoundException"] {
        let stream = Scripted::start().await;
        stream.script().open("A");
        stream.script().fill("A", 0..10);
        let source = stream.source(|config| config.batch_records = 4).await;
        let mut job = Job::default();
        job.discover(&source, &[]).await.unwrap();
        let (id, shard) = first_of(&job);
        let mut reader = source.open(shard).await.unwrap();
        assert_eq!(job.read_once(&stream, &id, &mut reader).await.unwrap(), Read::Records);
        // Somebody lowers for how long records are kept, while the target is away.
        {
            let mut script = stream.script();
            script.trimmed = Trimmed::Refused(code);
            script.trim("A", 7);
            script.expire();
        }
        let error = job.read_once(&stream, &id, &mut reader).await.expect_err("it is gone");
        assert_loss(&error, ErrorKind::Expired, &["shard=A", "oldest_there=4959"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_while_an_answer_is_on_its_way_was_not_read() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..2);
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.run(&stream, &source).await.unwrap();
    // A process may be paused for any time between an answer and what it makes of it.
    let (id, shard) = first_of(&job);
    let mut reader = source.open(hours_before(&shard, 1)).await.unwrap();
    stream.script().arrives = Some("A:2".into());
    assert_eq!(job.read_once(&stream, &id, &mut reader).await.unwrap(), Read::Records);
    assert_eq!(job.seen.len(), 2, "that there is nothing is told first");
    let stored = Stored::encode(&first_of(&job).1).unwrap();
    let stored: Value = serde_json::from_str(stored.json.get()).unwrap();
    assert_eq!(job.read_once(&stream, &id, &mut reader).await.unwrap(), Read::Records);
    assert_eq!(job.seen.len(), 3);
    let read = Stored::encode(&first_of(&job).1).unwrap();
    let read: Value = serde_json::from_str(read.json.get()).unwrap();
    let (caught_up, arrival) = (&stored["caught_up_ms"], &read["arrival_ms"]);
    assert!(caught_up.as_i64().unwrap() <= arrival.as_i64().unwrap(), "{caught_up}, {arrival}");
}

#[tokio::test(flavor = "multi_thread")]
async fn that_records_are_kept_for_longer_now_brings_none_back() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..3);
    let mut job = caught_up(&stream).await;
    // The job is down for more than a day. Then somebody sees it, and has records kept for a week.
    let (id, shard) = first_of(&job);
    job.active.insert(id, hours_before(&shard, 30));
    stream.script().fill("A", 3..6);
    stream.script().trim("A", 4);
    stream.script().kept_hours = 168;
    let error = read_error(&stream.source(|_| ()).await, &job).await;
    assert_loss(&error, ErrorKind::Expired, &["shard=A", "caught_up_ms=", "kept_ms=86400000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_place_is_refused_and_that_a_list_lacks_is_not_given_up() {
    for code in ["InvalidArgumentException", "ResourceNotFoundException"] {
        let stream = Scripted::start().await;
        let mut job = begun(&stream).await;
        let source = warning(&stream).await;
        stream.script().trim("A", 7);
        stream.script().trimmed = Trimmed::Refused(code);
        stream.script().unlisted.insert("A".into(), 2);
        job.run(&stream, &source).await.unwrap();
        assert_eq!(job.names(), "A");
        assert_eq!(job.seen, ["A:0", "A:1", "A:2", "A:3", "A:7", "A:8", "A:9"], "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_job_ends_where_shards_were_lost_on_the_way() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..1);
    stream.script().split("A", &["B"]);
    stream.script().split("B", &["C"]);
    stream.script().fill("C", 0..2);
    let bounded = |config: &mut tidelock_kinesis::KinesisStreamConfig| {
        (config.stop, config.on_data_loss) = (StreamStop::Latest, OnDataLoss::Warn);
    };
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let source = stream.source(bounded).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    while job.read_once(&stream, &id, &mut reader).await.unwrap() != Read::End {}
    let ended = job.active.remove(&id).unwrap();
    job.ended.insert(id, ended);
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    stream.script().fill("C", 2..4);
    ["A", "B"].iter().for_each(|shard| stream.script().vanish(shard));
    job.run(&stream, &source).await.unwrap();
    assert_eq!((job.names().as_str(), job.is_complete), ("", true));
    assert_eq!(job.seen, ["A:0", "C:0", "C:1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_not_every_part_of_the_service_knows_yet_is_no_loss() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..1);
    stream.script().split("A", &["B"]);
    stream.script().fill("B", 0..2);
    let late = |lists| {
        let mut script = stream.script();
        script.unlisted.insert("B".into(), lists);
        script.unknown.insert("B".into(), 2);
    };
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    while job.read_once(&stream, &id, &mut reader).await.unwrap() != Read::End {}
    late(2);
    job.finish(&source, &id).await.expect("it is told a moment later");
    assert_eq!(job.names(), "B");
    late(3);
    job.run(&stream, &source).await.unwrap();
    assert_eq!((job.names().as_str(), job.seen), ("B", vec!["A:0".into(), "B:0".into(), "B:1".into()]));
}
