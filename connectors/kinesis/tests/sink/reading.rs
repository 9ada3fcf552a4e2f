//! What is in a stream: as anybody sees it, and as our source hands it over.

use std::time::Duration;

use aws_sdk_kinesis::types::ShardIteratorType;
use bytes::Bytes;
use tidelock::{Known, Source as _, Split as _, SplitReader as _, Stored};
use tidelock_kinesis::{KinesisRecord, KinesisShard, KinesisStream, KinesisStreamConfig, StreamStop};

use tokio::time::timeout;

use super::common::{self, NewStream};

/// So long a shard has nothing new at its end, however busy the machine is.
const QUIET: Duration = Duration::from_secs(3);

/// A record as it is in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bare {
    pub(crate) shard: String,
    pub(crate) partition_key: String,
    pub(crate) data: Bytes,
}

/// All records of a stream, shard by shard.
pub(crate) async fn bare(stream: &NewStream) -> Vec<Bare> {
    let mut records = Vec::new();
    for shard in stream.shards().await {
        let shard = shard.shard_id().to_owned();
        let first = stream.client.get_shard_iterator().stream_name(&stream.name).shard_id(&shard);
        let first = first.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
        let mut next = first.shard_iterator;
        while let Some(iterator) = next {
            let page = stream.client.get_records().shard_iterator(iterator).send().await.unwrap();
            next = page.next_shard_iterator.filter(|_| !page.records.is_empty());
            records.extend(page.records.into_iter().map(|record| Bare {
                shard: shard.clone(),
                partition_key: record.partition_key,
                data: record.data.into_inner().into(),
            }));
        }
    }
    records
}

/// All records of a stream that are there now, as our source hands them over: those shards first that others go on from. Each position is stored and read back.
pub(crate) async fn read(stream: &NewStream) -> Vec<KinesisRecord> {
    read_on(stream, nothing()).await.0
}

pub(crate) fn nothing() -> Known<KinesisShard> {
    Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true }
}

/// What ended at a time, as if it had been stopped there: to go on from. It ends a minute later, and whoever reads ends earlier.
pub(crate) fn going_on(known: Known<KinesisShard>) -> Known<KinesisShard> {
    let unstopped = |shard: KinesisShard| {
        let stored = Stored::encode(&shard).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(stored.json.get()).unwrap();
        json.as_object_mut().unwrap().remove("end");
        json["stop_ms"] = (json["stop_ms"].as_i64().unwrap() + 60_000).into();
        let json = serde_json::value::to_raw_value(&json).unwrap();
        Stored { json, ..stored }.decode().unwrap()
    };
    Known { active: known.ended.into_iter().map(unstopped).collect(), first_run: false, ..nothing() }
}

/// The same from where an earlier call came to.
pub(crate) async fn read_on(
    stream: &NewStream,
    mut known: Known<KinesisShard>,
) -> (Vec<KinesisRecord>, Known<KinesisShard>) {
    // It ends before what arrived in its own millisecond.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let mut config = KinesisStreamConfig::new(common::config(common::shared()), [&stream.name]);
    (config.idle_wait_ms, config.idle_wait_max_ms, config.calls_per_second) = (5, 20, 200);
    config.stop = StreamStop::Latest;
    let source = KinesisStream::connect(config).await.unwrap();
    let mut waits = known.active.clone();
    waits.extend(source.discover(&known).await.unwrap().new);
    known.first_run = false;
    let mut records = Vec::new();
    while let Some(shard) = waits.pop() {
        let (id, mut last) = (shard.id(), shard.clone());
        let mut reader = source.open(shard).await.unwrap();
        // What goes on from a snapshot ends later than this test.
        while let Ok(batch) = timeout(QUIET, reader.next()).await
            && let Some(batch) = batch.unwrap()
        {
            records.extend(batch.records);
            last = Stored::encode(&batch.resume).unwrap().decode().unwrap();
        }
        known.finished.push(id);
        known.ended.push(last);
        known.active = waits.clone();
        waits.extend(source.discover(&known).await.unwrap().new);
    }
    (records, known)
}
