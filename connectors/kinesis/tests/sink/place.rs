//! A stream of its own, a sink that writes to it, and what is seen of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use tidelock::{
    CommitPermit, Epoch, Generation, JobId, Pending, Position, Rejecting as _, Rejects, Result, Sink,
    SinkAttempt, SinkWriter as _, Uid, WriterId,
};
use tidelock_kinesis::{AwsConfig, KinesisPut, KinesisSink, KinesisSinkConfig, KinesisWriter, Mode};
use tidelock_testkit::harness::{IdempotentHarness, RejectingHarness, Row, Shape, SinkFacets, SinkHarness};
use tidelock_testkit::{Fault, HttpFaults};

use super::common::{self, NewStream};
use super::reading::{bare, read};

pub(crate) type Listed = Pending<<KinesisSink as Sink>::Committable>;

/// How the server is reached by sinks. It is waited for however busy the machine is: what is given up is put twice, and a test counts what a fault doubles.
fn service(address: SocketAddr) -> AwsConfig {
    let mut config = common::config(address);
    config.call_timeout_ms = 120_000;
    config
}

/// A stream of its own.
pub(crate) struct Place {
    pub(crate) stream: NewStream,
    pub(crate) config: KinesisSinkConfig,
}

impl Place {
    pub(crate) async fn new(mode: Mode, shards: i32) -> Self {
        let stream = NewStream::make(common::shared(), shards).await;
        let mut config = KinesisSinkConfig::new(service(common::shared()), &stream.name);
        config.mode = mode;
        Self { stream, config }
    }

    pub(crate) async fn direct(shards: i32) -> Self {
        Self::new(Mode::Direct, shards).await
    }

    pub(crate) async fn numbered(shards: i32) -> Self {
        Self::new(Mode::Numbered, shards).await
    }

    /// Sinks of the place go by a proxy from now on, whose faults are for what they put.
    pub(crate) async fn behind_faults(&mut self) -> HttpFaults {
        let faults = HttpFaults::start(common::shared()).await.unwrap();
        self.config.kinesis = service(faults.address());
        faults.only(|request| {
            let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
            target.is_some_and(|target| target.ends_with(".PutRecords"))
        });
        faults
    }

    pub(crate) fn sink(&self) -> KinesisSink {
        KinesisSink::new(self.config.clone()).unwrap()
    }

    /// What our source hands over, as text by key.
    pub(crate) async fn seen(&self) -> BTreeMap<String, Vec<String>> {
        by_key(read(&self.stream).await.into_iter().map(|record| (record.partition_key, record.data)))
    }

    /// What anybody sees, as text by key. Of what comes more than once the first counts.
    pub(crate) async fn first_seen(&self) -> BTreeMap<String, Vec<String>> {
        let records = bare(&self.stream).await.into_iter();
        let mut all = by_key(records.map(|record| (record.partition_key, record.data)));
        for texts in all.values_mut() {
            let mut there = std::collections::BTreeSet::new();
            texts.retain(|text| there.insert(text.clone()));
        }
        all
    }
}

fn by_key(records: impl IntoIterator<Item = (String, Bytes)>) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, data) in records {
        all.entry(key).or_default().push(String::from_utf8(data.into()).unwrap());
    }
    all
}

/// A record with a text.
pub(crate) fn put(key: &str, text: impl ToString) -> KinesisPut {
    KinesisPut::new(key, text.to_string())
}

/// So many records, of so many keys, numbered from this on.
pub(crate) fn puts(keys: u64, from: u64, to: u64) -> Vec<KinesisPut> {
    (from..to).map(|at| put(&format!("k{}", at % keys), at)).collect()
}

/// What these are by key.
pub(crate) fn expected(puts: &[KinesisPut]) -> BTreeMap<String, Vec<String>> {
    by_key(puts.iter().map(|put| (put.partition_key.clone(), put.data.clone())))
}

/// An answer of the service that refuses.
pub(crate) fn refused(status: u16, code: &str) -> Fault {
    Fault::Refused { status, body: format!(r#"{{"__type":"{code}","message":"it was told to"}}"#).into() }
}

/// An attempt of a job's sink.
pub(crate) fn attempt_of(job: &str, generation: u64, number: u64) -> SinkAttempt {
    SinkAttempt {
        job: JobId::new(job).unwrap(),
        uid: Uid::new("out").unwrap(),
        number: Position(number),
        generation: Generation(generation),
        chunks: None,
    }
}

pub(crate) fn attempt(number: u64) -> SinkAttempt {
    attempt_of("job", 1, number)
}

/// Recovers with nothing pending, and opens a writer.
pub(crate) async fn opened(sink: &KinesisSink, attempt: &SinkAttempt) -> KinesisWriter {
    sink.recover(attempt, &[]).await.unwrap();
    sink.open(attempt, WriterId(0)).await.unwrap()
}

/// Writes in the mode `direct`: all is in the stream then.
pub(crate) async fn write(writer: &mut KinesisWriter, mut records: Vec<KinesisPut>) -> Result<()> {
    writer.write(&mut records).await?;
    assert!(records.is_empty());
    assert!(writer.prepare(Epoch(1)).await?.is_empty(), "nothing waits for a commit");
    Ok(())
}

/// Writes and prepares an epoch in the mode `numbered`.
pub(crate) async fn prepared(
    writer: &mut KinesisWriter,
    attempt: &SinkAttempt,
    epoch: u64,
    mut records: Vec<KinesisPut>,
) -> Vec<Listed> {
    writer.write(&mut records).await.unwrap();
    assert!(records.is_empty());
    let prepared = writer.prepare(Epoch(epoch)).await.unwrap().into_iter();
    let listed = |committable| Pending {
        epoch: Epoch(epoch),
        attempt: attempt.number,
        writer: WriterId(0),
        committable,
    };
    prepared.map(|one| listed(one.committable)).collect()
}

pub(crate) async fn commit(sink: &KinesisSink, epoch: u64, listed: &[Listed]) -> Result<()> {
    let uid = Uid::new("out").unwrap();
    let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid, Epoch(epoch));
    sink.commit(&permit, listed.to_vec()).await.map(drop)
}

/// A row as a record.
fn record_of(row: &Row) -> KinesisPut {
    put(&row.key, row.value)
}

fn row_of(key: String, text: &str) -> Row {
    Row::new(key, text.parse().unwrap())
}

/// The harness of the suites, in either mode: what a reader sees who uses our source. In the mode `direct` that is of each key the last record, since it promises no more
/// of how often each is there.
#[async_trait]
impl SinkHarness for Place {
    type Sink = KinesisSink;

    async fn sink(&self) -> Result<KinesisSink> {
        KinesisSink::new(self.config.clone())
    }

    fn record(&self, row: &Row) -> KinesisPut {
        record_of(row)
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        let all = self.seen().await.into_iter();
        if self.config.mode == Mode::Direct {
            return Ok(all.map(|(key, texts)| row_of(key, texts.last().unwrap())).collect());
        }
        let rows = |(key, texts): (String, Vec<String>)| {
            texts.into_iter().map(|text| row_of(key.clone(), &text)).collect::<Vec<_>>()
        };
        Ok(all.flat_map(rows).collect())
    }

    fn facets(&self) -> SinkFacets<'_> {
        SinkFacets::new(if self.config.mode == Mode::Direct { Shape::Table } else { Shape::Log })
    }
}

impl IdempotentHarness for Place {
    fn delete(&self, _row: &Row) -> Option<KinesisPut> {
        None
    }
}

impl RejectingHarness for Place {
    /// With a hash key that is none.
    fn bad(&self, row: &Row) -> KinesisPut {
        KinesisPut { explicit_hash_key: Some("none".into()), ..record_of(row) }
    }

    fn row(&self, record: &KinesisPut) -> Row {
        row_of(record.partition_key.clone(), std::str::from_utf8(&record.data).unwrap())
    }

    fn reject_to(&self, writer: &mut KinesisWriter, rejects: Rejects<KinesisPut>) {
        writer.reject_to(rejects);
    }
}
