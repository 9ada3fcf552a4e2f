//! Records of which each is many: a job dies in the middle of one, is given a position there, or meets one that is not its shard's.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use tidelock::{Known, Source as _, SplitReader as _, Stored};
use tidelock_kinesis::{Given, GivenAt, KinesisRecord, KinesisShard, KinesisStream, StreamStart};

use crate::scripted::{STREAM, Scripted, now_ms};

#[derive(Deserialize)]
struct Sample {
    name: String,
    data_base64: String,
    user_records: serde_json::Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Put {
    sub: u64,
    key: String,
    hash_key: Option<String>,
    data: Vec<u8>,
}

/// The bytes of an aggregate that a public aggregator made, and what a KCL made of it.
fn sample(name: &str) -> (Vec<u8>, Vec<Put>) {
    let samples: Vec<Sample> = serde_json::from_str(include_str!("../kpl/samples.json")).unwrap();
    let sample = samples.into_iter().find(|sample| sample.name == name).unwrap();
    let bytes = |text: &serde_json::Value| BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap();
    let text = |text: &serde_json::Value| text.as_str().map(str::to_owned);
    let put = |put: &serde_json::Value| Put {
        sub: put["sub"].as_u64().unwrap_or_default(),
        key: text(&put["partition_key"]).unwrap(),
        hash_key: text(&put["explicit_hash_key"]),
        data: bytes(&put["data_base64"]),
    };
    let puts = sample.user_records.as_array().unwrap().iter().map(put);
    (BASE64_STANDARD.decode(&sample.data_base64).unwrap(), puts.collect())
}

fn put_of(record: &KinesisRecord) -> Put {
    Put {
        sub: record.sub_sequence,
        key: record.partition_key.clone(),
        hash_key: record.explicit_hash_key.clone(),
        data: record.data.to_vec(),
    }
}

fn plain(data: &str) -> Put {
    Put { sub: 0, key: "key".into(), hash_key: None, data: data.into() }
}

async fn first_of(source: &KinesisStream) -> KinesisShard {
    let known = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    source.discover(&known).await.unwrap().new.remove(0)
}

/// What is read until so many records came, and the position after each batch.
async fn read(
    source: &KinesisStream,
    shard: KinesisShard,
    count: usize,
) -> (Vec<Put>, Vec<(usize, KinesisShard)>) {
    let mut reader = source.open(shard).await.unwrap();
    let (mut puts, mut places) = (Vec::new(), Vec::new());
    while puts.len() < count {
        let batch = tokio::time::timeout(std::time::Duration::from_secs(60), reader.next()).await;
        let batch = batch.expect("an answer").unwrap().expect("it does not end");
        puts.extend(batch.records.iter().map(put_of));
        places.push((puts.len(), Stored::encode(&batch.resume).unwrap().decode().unwrap()));
    }
    (puts, places)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_dies_in_the_middle_of_an_aggregate_goes_on_there() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    let mut all = Vec::new();
    for name in ["hundred", "three_keys", "keys_but_no_records", "mixed_ehk_and_tag", "explicit_hash_keys"] {
        let (bytes, puts) = sample(name);
        stream.script().write_bytes("A", "key", &bytes);
        stream.script().write("A", name);
        all.extend(puts.into_iter().chain([plain(name)]));
    }
    let source = stream.source(|config| config.batch_records = 7).await;
    let (puts, places) = read(&source, first_of(&source).await, all.len()).await;
    assert_eq!(puts, all);
    assert!(places.len() > 15, "{}", places.len());
    for (count, place) in places {
        if count < all.len() {
            let source = stream.source(|_| ()).await;
            let (rest, _) = read(&source, place, all.len() - count).await;
            assert_eq!(rest, all[count..], "after {count}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_somebody_else_was_in_an_aggregate_is_where_it_goes_on() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    let (bytes, puts) = sample("hundred");
    stream.script().write_bytes("A", "key", &bytes);
    stream.script().write("A", "after");
    let number = stream.script().number_of("A", 0);
    for sub_sequence in [0, 41, 98, 99] {
        let at = GivenAt::AfterSub { sequence_number: number.clone(), sub_sequence };
        let start = StreamStart::Given(vec![Given { stream: STREAM.into(), shard: "A".into(), at }]);
        let source = stream.source(|config| config.start = start).await;
        let rest = usize::try_from(sub_sequence).unwrap() + 1..puts.len();
        let (read, _) = read(&source, first_of(&source).await, rest.len() + 1).await;
        let expected: Vec<Put> = puts[rest].iter().cloned().chain([plain("after")]).collect();
        assert_eq!(read, expected, "after {sub_sequence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_of_another_shard_is_left_out_whole_and_the_position_moves_over_it() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    stream.script().split("A", &["B", "C"]);
    let (bytes, puts) = sample("hundred");
    for shard in ["B", "C"] {
        stream.script().write_bytes(shard, "key", &bytes);
    }
    stream.script().merge(["B", "C"], "D");
    stream.script().write_bytes("D", "key", &bytes);
    let start_ms = now_ms() - 60_000;
    let source = stream.source(|config| config.start = StreamStart::Timestamp(start_ms)).await;
    let mut job = crate::drive::Job::default();
    job.run(&stream, &source).await.unwrap();
    assert_eq!(job.names(), "D");
    // What nobody would put again is read where all of it belongs.
    assert_eq!(job.seen.len(), puts.len());
    assert!(job.stored().active.values().all(|shard| format!("{shard:?}").contains("sub_sequence: 99")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_an_aggregate_is_a_record() {
    let stream = Scripted::start().await;
    stream.script().open("A");
    let names = ["empty_protobuf", "bad_md5", "magic_but_plain", "only_magic"];
    for name in names {
        stream.script().write_bytes("A", "key", &sample(name).0);
    }
    let source = stream.source(|_| ()).await;
    let (read, _) = read(&source, first_of(&source).await, names.len()).await;
    for (read, name) in read.iter().zip(names) {
        let data = sample(name).0;
        assert_eq!(*read, Put { data, ..plain("") }, "{name}");
    }
}
