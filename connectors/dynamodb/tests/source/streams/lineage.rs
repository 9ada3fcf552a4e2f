//! Shards that go on in others.

use tidelock::{ErrorKind, Retry, Source as _, SplitReader as _};
use tidelock_dynamodb::{OnDataLoss, StreamStart};

use super::drive::{Job, Read, first_of};
use crate::scripted::{Script, Scripted};

pub(super) fn written(shards: &[(&str, u64)]) -> Vec<String> {
    shards
        .iter()
        .flat_map(|(shard, count)| (0..*count).map(move |place| format!("{shard}:{place}")))
        .collect()
}

/// A, then B and C, then D of B: the first generation has ended before anything is read.
pub(super) fn three_generations(script: &mut Script) {
    script.open("A");
    script.fill("A", 0..5);
    script.close("A", &["B", "C"]);
    script.fill("B", 0..3);
    script.close("B", &["D"]);
    script.fill("C", 0..2);
    script.fill("D", 0..4);
}

pub(super) fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

pub(super) fn place_of(seen: &[String], text: &str) -> usize {
    seen.iter().position(|one| one == text).unwrap_or_else(|| panic!("{text} is not in {seen:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn children_are_read_after_their_parents_over_several_generations() {
    // Lists of one shard a page, and answers without records, make no difference.
    for (page, has_holes) in [(100, false), (1, true)] {
        let stream = Scripted::start().await;
        three_generations(&mut stream.script());
        (stream.script().page, stream.script().has_holes) = (page, has_holes);
        let source = stream.source(|_| ()).await;
        let mut job = Job::default();
        job.discover(&source, &[]).await.unwrap();
        assert_eq!(job.names(), "A", "the others wait");
        job.run(&stream, &source).await.unwrap();
        assert_eq!(job.names(), "C D");
        assert_eq!(sorted(job.seen.clone()), written(&[("A", 5), ("B", 3), ("C", 2), ("D", 4)]));
        for (before, after) in [("A:4", "B:0"), ("A:4", "C:0"), ("B:2", "D:0")] {
            assert!(place_of(&job.seen, before) < place_of(&job.seen, after), "{:?}", job.seen);
        }
        stream.script().fill("D", 4..6);
        stream.script().close("C", &["E"]);
        stream.script().fill("E", 0..1);
        job.run(&stream, &source).await.unwrap();
        assert_eq!(job.names(), "D E");
        assert_eq!(sorted(job.seen), written(&[("A", 5), ("B", 3), ("C", 2), ("D", 6), ("E", 1)]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_not_finished_before_its_children_are_told() {
    let stream = Scripted::start().await;
    three_generations(&mut stream.script());
    stream.script().children_held = Some("A".into());
    let source = stream.source(|config| config.retry_for_ms = 300).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    assert_eq!(job.read_once(&stream, &id, &mut reader).await.unwrap(), Read::Records);
    let error = reader.next().await.expect_err("nobody tells its children");
    assert_eq!(error.retry(), Retry::Restart, "{error}");
    assert!(error.to_string().contains("shard=A"), "{error}");
    assert!(stream.script().times_asked("children of A") > 1);
    // They are told at last.
    stream.script().children_held = None;
    let mut job = job.stored();
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.names(), "C D");
    assert_eq!(sorted(job.seen), written(&[("A", 5), ("B", 3), ("C", 2), ("D", 4)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_dies_when_a_shard_has_ended_finds_its_children_whatever_was_stored() {
    let stream = Scripted::start().await;
    three_generations(&mut stream.script());
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    // After each step: the records are stored, the end is, the end and the children are.
    let mut snapshots = vec![job.stored()];
    while job.read_once(&stream, &id, &mut reader).await.unwrap() != Read::End {
        snapshots.push(job.stored());
    }
    job.finish(&source, &id).await.unwrap();
    assert_eq!(job.names(), "B C");
    snapshots.push(job.stored());
    assert_eq!(snapshots.len(), 4, "records, the names of the children, both");
    for (number, mut restored) in snapshots.into_iter().enumerate() {
        restored.run(&stream, &stream.source(|_| ()).await).await.unwrap();
        assert_eq!(restored.names(), "C D", "{number}");
        assert_eq!(sorted(restored.seen), written(&[("A", 5), ("B", 3), ("C", 2), ("D", 4)]), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_lack_shards_for_a_while_lose_none_of_them() {
    // Whichever lists lack whichever shard: a parent, a child, the last one.
    for (shard, lists) in [("A", 1), ("A", 3), ("B", 1), ("B", 4), ("C", 2), ("D", 2), ("D", 5)] {
        let stream = Scripted::start().await;
        three_generations(&mut stream.script());
        stream.script().unlisted.insert(shard.into(), lists);
        let source = stream.source(|_| ()).await;
        let mut job = Job::default();
        job.discover(&source, &[]).await.unwrap();
        assert_eq!(
            job.names(),
            "A",
            "without {shard} {lists} times: none is taken for one that goes on from nothing"
        );
        job.run(&stream, &source).await.unwrap();
        // What was not listed at the end of its parent is listed later.
        stream.script().unlisted.clear();
        job.run(&stream, &source).await.unwrap();
        assert_eq!(job.names(), "C D", "without {shard} {lists} times");
        let all = written(&[("A", 5), ("B", 3), ("C", 2), ("D", 4)]);
        assert_eq!(sorted(job.seen.clone()), all, "without {shard} {lists} times");
        for (before, after) in [("A:4", "B:0"), ("A:4", "C:0"), ("B:2", "D:0")] {
            assert!(
                place_of(&job.seen, before) < place_of(&job.seen, after),
                "without {shard}: {:?}",
                job.seen
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_were_read_disappear_and_are_forgotten_and_the_job_goes_on() {
    let stream = Scripted::start().await;
    three_generations(&mut stream.script());
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.ended.len(), 2, "A and B are known for as long as they are listed");
    stream.script().vanish("A");
    job.discover(&source, &[]).await.unwrap();
    assert_eq!((job.names().as_str(), job.ended.len()), ("C D", 1));
    stream.script().close("D", &["E"]);
    stream.script().fill("E", 0..1);
    stream.script().vanish("B");
    job.run(&stream, &source).await.unwrap();
    job.discover(&source, &[]).await.unwrap();
    assert_eq!((job.names().as_str(), job.ended.len()), ("C E", 1), "D is listed still");
    stream.script().vanish("D");
    let mut job = job.stored();
    job.run(&stream, &stream.source(|_| ()).await).await.unwrap();
    assert_eq!((job.names().as_str(), job.ended.len()), ("C E", 0));
    assert_eq!(sorted(job.seen), written(&[("A", 5), ("B", 3), ("C", 2), ("D", 4), ("E", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn from_now_on_is_after_what_was_written_and_what_comes_in_every_shard_after_that_is_read() {
    let stream = Scripted::start().await;
    three_generations(&mut stream.script());
    let source = stream.source(|config| config.start = StreamStart::Now).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    assert_eq!(job.names(), "A B C D", "something goes on from A and B: they have ended");
    stream.script().fill("C", 2..4);
    stream.script().close("C", &["E", "F"]);
    stream.script().fill("E", 0..2);
    // What was there before disappears, in whatever order.
    stream.script().vanish("A");
    let mut job = job.stored();
    job.run(&stream, &stream.source(|config| config.start = StreamStart::Now).await).await.unwrap();
    stream.script().vanish("B");
    stream.script().fill("D", 4..5);
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.names(), "D E F");
    assert_eq!(sorted(job.seen), ["C:2", "C:3", "D:4", "E:0", "E:1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_began_now_and_read_nothing_for_longer_than_an_iterator_lives_misses_nothing() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..3);
    stream.script().age("A", 3_600);
    stream.script().fill("A", 3..4);
    let source = stream.source(|config| config.start = StreamStart::Now).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    stream.script().fill("A", 4..6);
    stream.script().expire();
    let mut job = job.stored();
    job.run(&stream, &stream.source(|config| config.start = StreamStart::Now).await).await.unwrap();
    // What is from just before now is told, too: the clocks may be apart. What is older is not.
    assert_eq!(job.seen, ["A:3", "A:4", "A:5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn iterators_that_expire_are_had_anew_at_the_last_record() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..5);
    let source = stream.source(|config| config.batch_records = 2).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    stream.script().expire();
    for _ in 0..3 {
        assert_eq!(job.read_once(&stream, &id, &mut reader).await.unwrap(), Read::Records);
        stream.script().expire();
    }
    assert_eq!(job.seen, written(&[("A", 5)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_under_which_a_shard_is_listed_need_not_be_one_of_a_record() {
    let stream = Scripted::start().await;
    three_generations(&mut stream.script());
    stream.script().first_is_none = true;
    let mut job = Job::default();
    job.run(&stream, &stream.source(|_| ()).await).await.unwrap();
    assert_eq!(sorted(job.seen), written(&[("A", 5), ("B", 3), ("C", 2), ("D", 4)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_switched_off_is_read_to_its_end_where_that_is_wanted() {
    let stream = Scripted::start().await;
    three_generations(&mut stream.script());
    stream.script().close("C", &[]);
    stream.script().close("D", &[]);
    let mut job = Job::default();
    let source = stream.source(|_| ()).await;
    job.discover(&source, &[]).await.unwrap();
    stream.script().is_on = false;
    let error = job.stored().run(&stream, &source).await.expect_err("what changes now is nowhere");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("StreamSpecification"), "{error}");
    let source = stream.source(|config| config.on_data_loss = OnDataLoss::Warn).await;
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.names(), "", "nothing goes on");
    assert_eq!(sorted(job.seen), written(&[("A", 5), ("B", 3), ("C", 2), ("D", 4)]));
}
