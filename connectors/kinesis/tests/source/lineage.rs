//! Shards that go on in others.

use tidelock::{ErrorKind, Retry, Source as _, SplitReader as _};
use tidelock_kinesis::{Given, GivenAt, StreamStart, StreamStop};
use tokio::time::Instant;

use crate::drive::{Job, Read, first_of};
use crate::scripted::{STREAM, Script, Scripted, now_ms};

pub(crate) fn written(shards: &[(&str, u64)]) -> Vec<String> {
    shards
        .iter()
        .flat_map(|(shard, count)| (0..*count).map(move |place| format!("{shard}:{place}")))
        .collect()
}

/// A is split into B and C, both are merged into D, and D is split into E and F.
pub(crate) fn four_generations(script: &mut Script) {
    script.open("A");
    script.fill("A", 0..5);
    script.split("A", &["B", "C"]);
    script.fill("B", 0..3);
    script.fill("C", 0..2);
    script.merge(["B", "C"], "D");
    script.fill("D", 0..4);
    script.split("D", &["E", "F"]);
    script.fill("E", 0..1);
    script.fill("F", 0..2);
}

const ALL: [(&str, u64); 6] = [("A", 5), ("B", 3), ("C", 2), ("D", 4), ("E", 1), ("F", 2)];

const ORDER: [(&str, &str); 6] =
    [("A:4", "B:0"), ("A:4", "C:0"), ("B:2", "D:0"), ("C:1", "D:0"), ("D:3", "E:0"), ("D:3", "F:0")];

pub(crate) fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

fn place_of(seen: &[String], text: &str) -> usize {
    seen.iter().position(|one| one == text).unwrap_or_else(|| panic!("{text} is not in {seen:?}"))
}

#[track_caller]
pub(crate) fn assert_all(seen: &[String], when: &str) {
    assert_eq!(sorted(seen.to_vec()), written(&ALL), "{when}");
    for (before, after) in ORDER {
        assert!(place_of(seen, before) < place_of(seen, after), "{when}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_are_read_after_all_their_parents_over_several_generations() {
    // Lists of one shard a page, answers without records, and ends that name no children make no difference.
    for (page, has_holes, tells_children) in [(1_000, false, true), (1, true, true), (2, false, false)] {
        let when = format!("pages of {page}, holes {has_holes}, children told {tells_children}");
        let stream = Scripted::start().await;
        four_generations(&mut stream.script());
        {
            let mut script = stream.script();
            (script.page, script.has_holes, script.tells_children) = (page, has_holes, tells_children);
        }
        let source = stream.source(|config| config.batch_records = 2).await;
        let mut job = Job::default();
        job.discover(&source, &[]).await.unwrap();
        assert_eq!(job.names(), "A", "the others wait");
        job.run(&stream, &source).await.unwrap();
        assert_eq!(job.names(), "E F");
        assert_all(&job.seen, &when);
        stream.script().fill("E", 1..2);
        stream.script().split("F", &["G"]);
        stream.script().fill("G", 0..1);
        job.run(&stream, &source).await.unwrap();
        assert_eq!((job.names().as_str(), job.seen.len()), ("E G", 19));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_dies_when_a_shard_has_ended_finds_its_children_whatever_was_stored() {
    let stream = Scripted::start().await;
    four_generations(&mut stream.script());
    let source = stream.source(|config| config.batch_records = 2).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    // After each step: some records are stored, the end is, the end and the children are; of a split as of a merge.
    let mut snapshots = vec![job.stored()];
    while let Some((id, shard)) = job.active.iter().next().map(|(id, shard)| (id.clone(), shard.clone())) {
        let mut reader = source.open(shard).await.unwrap();
        match job.read_once(&stream, &id, &mut reader).await.unwrap() {
            Read::Records => snapshots.push(job.stored()),
            Read::Nothing => break,
            Read::End => job.finish(&source, &id).await.unwrap(),
        }
    }
    assert!(snapshots.len() > 10, "{}", snapshots.len());
    for (number, mut restored) in snapshots.into_iter().enumerate() {
        restored.run(&stream, &stream.source(|_| ()).await).await.unwrap();
        assert_eq!(restored.names(), "E F", "{number}");
        assert_all(&restored.seen, &format!("snapshot {number}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_not_finished_before_its_children_are_told() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..5);
    stream.script().close("A");
    let source = stream.source(|config| config.retry_for_ms = 300).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let (id, shard) = first_of(&job);
    let mut reader = source.open(shard).await.unwrap();
    assert_eq!(job.read_once(&stream, &id, &mut reader).await.unwrap(), Read::Records);
    let error = reader.next().await.expect_err("nobody tells its children");
    assert_eq!(error.retry(), Retry::Restart, "{error}");
    assert!(error.to_string().contains("shard=A"), "{error}");
    // They are told at last.
    stream.script().split("A", &["B"]);
    stream.script().fill("B", 0..1);
    let mut job = job.stored();
    job.run(&stream, &source).await.unwrap();
    assert_eq!((job.names().as_str(), job.seen), ("B", written(&[("A", 5), ("B", 1)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_nothing_is_not_the_end_of_anything() {
    let stream = Scripted::start().await;
    four_generations(&mut stream.script());
    let source = stream.source(|config| config.batch_records = 2).await;
    let mut job = Job::default();
    for _ in 0..24 {
        stream.script().empty_answers = 1;
        job.discover(&source, &[]).await.unwrap();
        let Some((id, shard)) = job.active.iter().next().map(|(id, shard)| (id.clone(), shard.clone()))
        else {
            panic!("none is left")
        };
        stream.script().empty_answers = 1;
        let mut reader = source.open(shard).await.unwrap();
        stream.script().empty_answers = 2;
        if job.read_once(&stream, &id, &mut reader).await.unwrap() == Read::End {
            stream.script().empty_answers = 1;
            job.finish(&source, &id).await.unwrap();
        }
    }
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.names(), "E F");
    assert_all(&job.seen, "empty answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_lack_shards_for_a_while_lose_none_of_them() {
    for (shard, lists) in [("A", 1), ("A", 3), ("B", 1), ("B", 4), ("C", 2), ("D", 2), ("D", 5), ("F", 9)] {
        let stream = Scripted::start().await;
        four_generations(&mut stream.script());
        stream.script().unlisted.insert(shard.into(), lists);
        let source = stream.source(|_| ()).await;
        let mut job = Job::default();
        job.run(&stream, &source).await.unwrap();
        stream.script().unlisted.clear();
        job.run(&stream, &source).await.unwrap();
        assert_eq!(job.names(), "E F", "without {shard} {lists} times");
        assert_all(&job.seen, &format!("without {shard} {lists} times"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_were_read_disappear_and_are_forgotten_and_the_job_goes_on() {
    let stream = Scripted::start().await;
    four_generations(&mut stream.script());
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.ended.len(), 4, "they are known for as long as they are listed");
    for (shard, left) in [("A", 3), ("C", 2), ("B", 1), ("D", 0)] {
        stream.script().vanish(shard);
        job.discover(&source, &[]).await.unwrap();
        assert_eq!((job.names().as_str(), job.ended.len()), ("E F", left), "without {shard}");
    }
    stream.script().fill("E", 1..2);
    let mut job = job.stored();
    job.run(&stream, &stream.source(|_| ()).await).await.unwrap();
    assert_eq!((job.names().as_str(), job.seen.len()), ("E F", 18));
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_whose_parents_were_thrown_away_before_the_job_began_are_read_at_once() {
    let stream = Scripted::start().await;
    four_generations(&mut stream.script());
    ["A", "B", "C"].iter().for_each(|shard| stream.script().vanish(shard));
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    assert_eq!(job.names(), "D");
    job.run(&stream, &source).await.unwrap();
    assert_eq!(sorted(job.seen), written(&ALL[3..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_of_two_of_which_one_was_thrown_away_before_the_job_began_is_read_after_the_other() {
    let stream = Scripted::start().await;
    four_generations(&mut stream.script());
    ["A", "B"].iter().for_each(|shard| stream.script().vanish(shard));
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let mut job = job.stored();
    job.run(&stream, &source).await.expect("B was none of its shards");
    assert_eq!(job.names(), "E F");
    assert_eq!(sorted(job.seen), written(&ALL[2..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_latest_record_on_is_a_time_in_every_shard_and_decided_once() {
    let stream = Scripted::start().await;
    four_generations(&mut stream.script());
    let latest = async || stream.source(|config| config.start = StreamStart::Latest).await;
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let mut job = Job::default();
    job.discover(&latest().await, &[]).await.unwrap();
    assert_eq!(job.names(), "A B C D E F", "those from which others go on have ended");
    stream.script().fill("E", 1..3);
    stream.script().split("E", &["G", "H"]);
    stream.script().fill("H", 0..2);
    // It dies before anything is read, and more than once.
    for _ in 0..2 {
        job = job.stored();
        let source = latest().await;
        source.open(job.active.values().next_back().unwrap().clone()).await.unwrap();
    }
    job.run(&stream, &latest().await).await.unwrap();
    assert_eq!(job.names(), "F G H");
    assert_eq!(job.seen, ["E:1", "E:2", "H:0", "H:1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_time_on_is_the_same_time_in_the_children_of_shards_that_had_nothing_since() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().fill("A", 0..2);
    stream.script().split("A", &["B", "C"]);
    for shard in ["B", "C"] {
        stream.script().fill(shard, 0..2);
    }
    ["A", "B", "C"].iter().for_each(|shard| stream.script().age(shard, 3));
    stream.script().fill("B", 2..4);
    stream.script().merge(["B", "C"], "D");
    stream.script().fill("D", 0..1);
    let start = StreamStart::Timestamp(now_ms() - 3_600_000);
    let source = stream.source(|config| config.start = start).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    assert_eq!(job.names(), "A");
    job.run(&stream, &source).await.unwrap();
    assert_eq!((job.names().as_str(), job.seen), ("D", vec!["B:2".into(), "B:3".into(), "D:0".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_job_ends_before_what_comes_after_its_stop_whatever_becomes_of_shards() {
    for is_split in [false, true] {
        let stream = Scripted::start().await;
        four_generations(&mut stream.script());
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let bounded = async || {
            stream.source(|config| (config.stop, config.batch_records) = (StreamStop::Latest, 2)).await
        };
        let mut job = Job::default();
        job.discover(&bounded().await, &[]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        stream.script().fill("E", 1..3);
        // It goes on from nothing that is known.
        stream.script().open("X");
        stream.script().fill("X", 0..2);
        if is_split {
            stream.script().split("E", &["G", "H"]);
            stream.script().fill("H", 0..2);
        }
        let mut job = job.stored();
        job.run_to_its_end(&bounded().await).await.unwrap();
        assert_eq!((job.names().as_str(), job.is_complete), ("", true));
        assert_all(&job.seen, "bounded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_somebody_else_was_is_where_it_begins_and_what_is_not_given_follows() {
    let stream = Scripted::start().await;
    four_generations(&mut stream.script());
    let number = |place: usize| stream.script().number_of("C", place);
    let given = |shard: &str, at| Given { stream: STREAM.into(), shard: shard.into(), at };
    let after = GivenAt::AfterSub { sequence_number: number(0), sub_sequence: 0 };
    let start = StreamStart::Given(vec![given("B", GivenAt::Finished), given("C", after)]);
    let source = stream.source(|config| config.start = start.clone()).await;
    let mut job = Job::default();
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.names(), "E F");
    let mut expected = written(&ALL[3..]);
    expected.insert(0, "C:1".into());
    assert_eq!(sorted(job.seen), sorted(expected));

    let start = StreamStart::Given(vec![given("B", GivenAt::Oldest)]);
    let source = stream.source(|config| config.start = start).await;
    let error = Job::default().discover(&source, &[]).await.expect_err("C may have been read");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("shards=C"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn iterators_that_expire_are_had_anew_behind_the_last_record() {
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
    // The target was away for longer than an iterator lives, and nothing came meanwhile.
    while job.read_once(&stream, &id, &mut reader).await.unwrap() == Read::Records {}
    stream.script().expire();
    stream.script().fill("A", 5..6);
    assert_eq!(job.read_once(&stream, &id, &mut reader).await.unwrap(), Read::Records);
    assert_eq!(job.seen, written(&[("A", 6)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_has_nothing_is_not_asked_as_fast_as_it_answers() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    let slow = |config: &mut tidelock_kinesis::KinesisStreamConfig| {
        (config.idle_wait_ms, config.idle_wait_max_ms, config.calls_per_second) = (50, 200, 5);
    };
    let source = stream.source(slow).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let mut reader = source.open(first_of(&job).1).await.unwrap();
    reader.next().await.unwrap().expect("that there is nothing is told once");
    let (before, begun) = (stream.script().times_asked("GetRecords"), Instant::now());
    let _ = tokio::time::timeout(std::time::Duration::from_millis(700), reader.next()).await;
    let calls = stream.script().times_asked("GetRecords") - before;
    let allowed = 1 + usize::try_from(begun.elapsed().as_millis() / 200).unwrap();
    assert!(calls <= allowed, "{calls} calls, and {allowed} are allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_record_is_read_and_no_more_is_asked_for_until_the_shard_may_give_more() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    let large = vec![b'x'; 10 << 20];
    stream.script().write_bytes("A", "key", &large);
    stream.script().write("A", "small");
    let source = stream.source(|config| config.batch_records = 1).await;
    let mut job = Job::default();
    job.discover(&source, &[]).await.unwrap();
    let begun = Instant::now();
    let mut reader = source.open(first_of(&job).1).await.unwrap();
    let batch = reader.next().await.unwrap().unwrap();
    assert!(batch.records[0].data == large, "it is as it was put");
    assert!(reader.heap_bytes() >= large.len() as u64);
    let batch = reader.next().await.unwrap().unwrap();
    assert_eq!(batch.records[0].data, "small");
    // Two megabytes in a second: the service would refuse a call before.
    assert!(begun.elapsed().as_millis() >= 5_200, "{:?}", begun.elapsed());
}
