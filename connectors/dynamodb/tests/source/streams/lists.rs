//! Lists of shards that lack what can be read, or what they had: nothing is read beside what it goes on from, and nothing twice.

use tidelock_dynamodb::{DynamoStream, StreamStart};

use super::drive::Job;
use super::lineage::{place_of, sorted, three_generations, written};
use crate::scripted::Scripted;

/// More than anybody asks for.
const ALWAYS: usize = 1_000_000;

/// A, then B, then D, which is open.
async fn chain() -> Scripted {
    let stream = Scripted::start().await;
    {
        let mut script = stream.script();
        script.open("A");
        script.fill("A", 0..5);
        script.close("A", &["B"]);
        script.fill("B", 0..3);
        script.close("B", &["D"]);
        script.fill("D", 0..2);
    }
    stream
}

async fn from_now(stream: &Scripted) -> DynamoStream {
    stream.source(|config| config.start = StreamStart::Now).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_no_list_has_is_not_read_beside_the_one_that_it_goes_on_from() {
    let stream = Scripted::start().await;
    three_generations(&mut stream.script());
    stream.script().unlisted.insert("B".into(), ALWAYS);
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    for _ in 0..2 {
        job.discover(&source, &[]).await.unwrap();
        assert_eq!(job.names(), "A", "what B goes on from is told by a list alone");
    }
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.names(), "C", "D goes on from B, which may go on from any shard that is read");
    stream.script().unlisted.clear();
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.names(), "C D");
    assert_eq!(sorted(job.seen.clone()), written(&[("A", 5), ("B", 3), ("C", 2), ("D", 4)]));
    for (before, after) in [("A:4", "B:0"), ("A:4", "C:0"), ("B:2", "D:0")] {
        assert!(place_of(&job.seen, before) < place_of(&job.seen, after), "{:?}", job.seen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_no_list_has_is_read_where_there_is_nothing_that_it_could_go_on_from() {
    let stream = chain().await;
    stream.script().vanish("A");
    stream.script().unlisted.insert("B".into(), ALWAYS);
    let mut job = Job::default();
    let source = stream.source(|_| ()).await;
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.names(), "D");
    assert_eq!(sorted(job.seen), written(&[("B", 3), ("D", 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_a_job_that_began_now_stays_unread_whatever_a_list_lacks() {
    let stream = chain().await;
    let source = from_now(&stream).await;
    let mut job = Job::default();
    job.run(&stream, &source).await.unwrap();
    stream.script().fill("D", 2..4);
    stream.script().close("D", &["E"]);
    stream.script().fill("E", 0..2);
    job.run(&stream, &source).await.unwrap();
    let mut job = job.stored();
    for lacking in ["A", "B", "D", "A B", "B D", "A D", "A B D"] {
        for shard in lacking.split(' ') {
            stream.script().unlisted.insert(shard.into(), 1);
        }
        job.discover(&source, &[]).await.unwrap();
        assert_eq!(job.names(), "E", "without {lacking}");
    }
    // A day later they disappear, and not in their order.
    for shard in ["B", "D", "A"] {
        stream.script().vanish(shard);
        job.discover(&source, &[]).await.unwrap();
        assert_eq!(job.names(), "E", "without {shard}");
    }
    stream.script().fill("E", 2..3);
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.seen, ["D:2", "D:3", "E:0", "E:1", "E:2"]);
    assert!(job.ended.is_empty(), "they are forgotten: {:?}", job.ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_began_now_when_a_list_lacked_a_shard_does_not_miss_it_when_it_disappears() {
    for lists in [1, ALWAYS] {
        let stream = chain().await;
        stream.script().unlisted.insert("B".into(), lists);
        let source = from_now(&stream).await;
        let mut job = Job::default();
        job.discover(&source, &[]).await.unwrap();
        stream.script().unlisted.clear();
        job.run(&stream, &source).await.unwrap();
        stream.script().fill("D", 2..3);
        ["A", "B"].iter().for_each(|shard| stream.script().vanish(shard));
        let mut job = job.stored();
        job.run(&stream, &from_now(&stream).await).await.unwrap();
        assert_eq!((job.names().as_str(), job.seen), ("D", vec!["D:2".to_owned()]), "{lists} lists");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_lists_lack_now_and_then_is_not_forgotten_and_not_read_again() {
    let stream = chain().await;
    let source = stream.source(|_| ()).await;
    let mut job = Job::default();
    job.run(&stream, &source).await.unwrap();
    for lacking in ["A", "B", "A B", "B", "A"] {
        for shard in lacking.split(' ') {
            stream.script().unlisted.insert(shard.into(), 1);
        }
        job.discover(&source, &[]).await.unwrap();
        assert_eq!((job.names().as_str(), job.ended.len()), ("D", 2), "without {lacking}");
    }
    job.stored().run(&stream, &source).await.unwrap();
    assert_eq!(sorted(job.seen), written(&[("A", 5), ("B", 3), ("D", 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_goes_on_after_a_shard_without_a_name_has_ended() {
    let stream = chain().await;
    stream.script().ends_with_empty_text = true;
    let mut job = Job::default();
    job.run(&stream, &stream.source(|_| ()).await).await.unwrap();
    assert_eq!(sorted(job.seen), written(&[("A", 5), ("B", 3), ("D", 2)]));
}
