//! The streams of a real server.

use std::collections::HashMap;
use std::time::Duration;

use tidelock::{ErrorKind, Known, Retry, Source as _, Split as _, SplitReader as _, Stored};
use tidelock_kinesis::{
    KinesisRecord, KinesisShard, KinesisStream, KinesisStreamConfig, OnDataLoss, StreamStart, StreamStop,
};
use tidelock_processes::PATIENCE;
use tokio::time::timeout;

use crate::common::{NewStream, config, fresh_name, shared};
use crate::scripted::{now_ms, text_of};

fn settings(stream: &NewStream) -> KinesisStreamConfig {
    let mut settings = KinesisStreamConfig::new(config(shared()), [&stream.name]);
    (settings.idle_wait_ms, settings.idle_wait_max_ms, settings.calls_per_second) = (5, 20, 200);
    settings
}

fn texts(keys: usize, from: usize, to: usize) -> Vec<(String, String)> {
    (from..to).map(|number| (format!("k{}", number % keys), format!("k{}:{number}", number % keys))).collect()
}

/// How long a reader is asked in its turn. One that had nothing by then is asked again.
const TURN: Duration = Duration::from_millis(50);

/// Reads so many records, or where that is not said until all shards have ended; one that ended gives its children. Then each is asked once more, so that what comes twice is
/// noticed.
async fn read(
    source: &KinesisStream,
    known: Known<KinesisShard>,
    wanted: Option<usize>,
) -> (Vec<KinesisRecord>, Known<KinesisShard>) {
    let reading = read_patiently(source, known, wanted);
    timeout(PATIENCE, reading).await.expect("all of it")
}

async fn read_patiently(
    source: &KinesisStream,
    mut known: Known<KinesisShard>,
    wanted: Option<usize>,
) -> (Vec<KinesisRecord>, Known<KinesisShard>) {
    let (mut records, mut readers) = (Vec::new(), Vec::new());
    known.active.extend(source.discover(&known).await.unwrap().new);
    known.first_run = false;
    for shard in known.active.clone() {
        readers.push((shard.id(), source.open(shard).await.unwrap()));
    }
    let mut is_last_round = false;
    while !readers.is_empty() && !is_last_round {
        is_last_round = wanted.is_some_and(|wanted| records.len() >= wanted);
        for (id, mut reader) in std::mem::take(&mut readers) {
            let place = known.active.iter().position(|shard| shard.id() == id).unwrap();
            match timeout(TURN, reader.next()).await {
                Err(_) => readers.push((id, reader)),
                Ok(batch) => match batch.unwrap() {
                    Some(batch) => {
                        records.extend(batch.records);
                        known.active[place] = Stored::encode(&batch.resume).unwrap().decode().unwrap();
                        readers.push((id, reader));
                    }
                    None => {
                        known.ended.push(known.active.remove(place));
                        known.finished.push(id);
                        let new = source.discover(&known).await.unwrap().new;
                        for shard in new {
                            readers.push((shard.id(), source.open(shard.clone()).await.unwrap()));
                            known.active.push(shard);
                        }
                    }
                },
            }
        }
    }
    (records, known)
}

fn nothing() -> Known<KinesisShard> {
    Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true }
}

/// All of them once, and those of each key in their order.
#[track_caller]
fn assert_all(records: &[KinesisRecord], expected: &[(String, String)]) {
    let mut by_key: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut expected_by_key = by_key.clone();
    records.iter().for_each(|record| by_key.entry(&record.partition_key).or_default().push(text_of(record)));
    expected.iter().for_each(|(key, text)| expected_by_key.entry(key).or_default().push(text));
    assert_eq!(by_key, expected_by_key);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_as_they_were_put_in_the_order_of_their_shard() {
    let stream = NewStream::make(shared(), 1).await;
    let put = texts(7, 0, 900);
    let numbers = stream.put(put.clone()).await;
    for name in
        [stream.name.clone(), format!("arn:aws:kinesis:eu-central-1:000000000000:stream/{}", stream.name)]
    {
        let mut settings = settings(&stream);
        (settings.streams, settings.batch_records) = (vec![name], 256);
        let source = KinesisStream::connect(settings).await.unwrap();
        let (records, _) = read(&source, nothing(), Some(put.len())).await;
        assert_all(&records, &put);
        assert!(records.iter().map(|record| &record.sequence_number).eq(&numbers));
        let first = &records[0];
        assert_eq!((&*first.stream, &*first.shard), (stream.name.as_str(), "shardId-000000000000"));
        assert!(
            first.arrival_ms.is_some_and(|at| (now_ms() - 600_000..=now_ms()).contains(&at)),
            "{first:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_split_and_merged_while_the_job_is_down_and_all_is_read_in_order() {
    let stream = NewStream::make(shared(), 2).await;
    let mut put = texts(20, 0, 200);
    stream.put(put.clone()).await;
    let source = KinesisStream::connect(settings(&stream)).await.unwrap();
    let (mut records, mut known) = read(&source, nothing(), Some(put.len())).await;
    for generation in 1..4 {
        let open = stream.open_shards().await;
        stream.split(&open[0]).await;
        let more = texts(20, generation * 300, generation * 300 + 150);
        stream.put(more.clone()).await;
        put.extend(more);
        // Once more before anything was read of it.
        let open = stream.open_shards().await;
        stream.merge(&open[1], &open[2]).await;
        let more = texts(20, generation * 300 + 150, generation * 300 + 300);
        stream.put(more.clone()).await;
        put.extend(more);
        let source = KinesisStream::connect(settings(&stream)).await.unwrap();
        let (more, after) = read(&source, known, Some(300)).await;
        records.extend(more);
        known = after;
        assert_all(&records, &put);
    }
    assert_eq!(known.active.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_shards_is_changed_while_the_job_is_down() {
    let stream = NewStream::make(shared(), 2).await;
    let mut put = texts(20, 0, 200);
    stream.put(put.clone()).await;
    let source = KinesisStream::connect(settings(&stream)).await.unwrap();
    let (mut records, known) = read(&source, nothing(), Some(200)).await;
    for shards in [4, 2] {
        let request = stream.client.update_shard_count().stream_name(&stream.name).target_shard_count(shards);
        let uniform = aws_sdk_kinesis::types::ScalingType::UniformScaling;
        request.scaling_type(uniform).send().await.expect("changed");
        stream.until_active().await;
    }
    let more = texts(20, 200, 400);
    stream.put(more.clone()).await;
    put.extend(more);
    let (more, known) = read(&source, known, Some(200)).await;
    records.extend(more);
    assert_all(&records, &put);
    assert_eq!(known.active.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_latest_record_on_is_decided_once_and_a_time_is_a_time() {
    let stream = NewStream::make(shared(), 2).await;
    stream.put(texts(7, 0, 50)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let between_ms = now_ms();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let start = async |start: StreamStart| {
        let mut settings = settings(&stream);
        settings.start = start;
        KinesisStream::connect(settings).await.unwrap()
    };
    let latest = start(StreamStart::Latest).await;
    let active = latest.discover(&nothing()).await.unwrap().new;
    stream.put(texts(7, 50, 120)).await;
    let known = Known { active, first_run: false, ..nothing() };
    let (records, _) = read(&start(StreamStart::Latest).await, known, Some(70)).await;
    assert_all(&records, &texts(7, 50, 120));
    let (records, _) = read(&start(StreamStart::Timestamp(between_ms)).await, nothing(), Some(70)).await;
    assert_all(&records, &texts(7, 50, 120));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_source_ends_where_each_shard_was_when_it_began() {
    let stream = NewStream::make(shared(), 3).await;
    stream.put(texts(20, 0, 300)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut settings = settings(&stream);
    settings.stop = StreamStop::Latest;
    let source = KinesisStream::connect(settings).await.unwrap();
    let active = source.discover(&nothing()).await.unwrap().new;
    stream.put(texts(20, 300, 400)).await;
    let known = Known { active, first_run: false, ..nothing() };
    let (records, known) = read(&source, known, None).await;
    assert_all(&records, &texts(20, 0, 300));
    assert!(known.active.is_empty());
    assert!(source.discover(&known).await.unwrap().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_shards_are_listed_in_pages() {
    // A page has a thousand.
    let stream = NewStream::make(shared(), 1_000).await;
    stream.split(&stream.open_shards().await[0]).await;
    let source = KinesisStream::connect(settings(&stream)).await.unwrap();
    assert_eq!(source.discover(&nothing()).await.unwrap().new.len(), 1_000, "of 1,002 two are children");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_the_server_does_not_have_is_a_loss() {
    let stream = NewStream::make(shared(), 1).await;
    stream.put(texts(3, 0, 10)).await;
    let source = KinesisStream::connect(settings(&stream)).await.unwrap();
    let (_, known) = read(&source, nothing(), Some(10)).await;
    // The server throws nothing away, so that the number is changed instead.
    let stored = Stored::encode(&known.active[0]).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(stored.json.get()).unwrap();
    let number = json["position"]["after"]["sequence_number"].as_str().unwrap().to_owned();
    json["position"]["after"]["sequence_number"] = format!("{}1", &number[..number.len() - 2]).into();
    json["caught_up_ms"] = 7.into();
    let json = serde_json::value::to_raw_value(&json).unwrap();
    let shard: KinesisShard = Stored { json, ..stored }.decode().unwrap();
    let error = match source.open(shard).await {
        Ok(mut reader) => reader.next().await.expect_err("it is not there"),
        Err(error) => error,
    };
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_there_or_made_again_is_told() {
    let stream = NewStream::make(shared(), 1).await;
    let nowhere = KinesisStreamConfig::new(config(shared()), [fresh_name()]);
    let error = KinesisStream::connect(nowhere).await.expect_err("it is not there");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
    stream.put(texts(3, 0, 10)).await;
    let source = KinesisStream::connect(settings(&stream)).await.unwrap();
    let (_, known) = read(&source, nothing(), Some(10)).await;
    stream.delete().await;
    stream.create(1).await;
    stream.put(texts(3, 10, 15)).await;
    let error = source.discover(&known).await.expect_err("another one");
    assert!(error.to_string().contains("made again"), "{error}");
    let mut warning = settings(&stream);
    warning.on_data_loss = OnDataLoss::Warn;
    let source = KinesisStream::connect(warning).await.unwrap();
    let (records, _) = read(&source, known, Some(5)).await;
    assert_all(&records, &texts(3, 10, 15));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_streams_are_read_side_by_side_and_one_that_is_added_later_from_its_oldest_record() {
    let (one, other) = (NewStream::make(shared(), 2).await, NewStream::make(shared(), 1).await);
    one.put(texts(7, 0, 50)).await;
    other.put(texts(7, 50, 80)).await;
    let of = |records: &[KinesisRecord], stream: &NewStream| -> Vec<KinesisRecord> {
        records.iter().filter(|record| *record.stream == *stream.name).cloned().collect()
    };
    let mut both = settings(&one);
    both.streams.push(other.name.clone());
    let source = KinesisStream::connect(both.clone()).await.unwrap();
    let (records, _) = read(&source, nothing(), Some(80)).await;
    assert_all(&of(&records, &one), &texts(7, 0, 50));
    assert_all(&of(&records, &other), &texts(7, 50, 80));

    let mut alone = settings(&one);
    alone.start = StreamStart::Latest;
    let source = KinesisStream::connect(alone).await.unwrap();
    let (_, known) = read(&source, nothing(), Some(0)).await;
    both.start = StreamStart::Latest;
    let source = KinesisStream::connect(both).await.unwrap();
    one.put(texts(7, 80, 90)).await;
    let (records, known) = read(&source, known, Some(40)).await;
    assert_all(&of(&records, &one), &texts(7, 80, 90));
    assert_all(&of(&records, &other), &texts(7, 50, 80));
    // Who takes one of them away is told, for as long as something of it is left to read.
    let source = KinesisStream::connect(settings(&one)).await.unwrap();
    let error = source.discover(&known).await.expect_err("nobody names the other one");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
