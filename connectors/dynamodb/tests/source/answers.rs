//! Answers that are lost, cut, slow, refusals, or nothing at all: nothing that is there is left out, and nothing is taken for an end or a miss.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use aws_sdk_dynamodb::Client;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tidelock::{ErrorKind, Known, Lookup as _, Retry, Source as _, SplitReader as _};
use tidelock_dynamodb::{
    DynamoLookup, DynamoLookupConfig, DynamoScan, DynamoScanConfig, DynamoStream, DynamoStreamConfig, Item,
    Value,
};
use tidelock_processes::{count, seed};
use tidelock_testkit::{Fault, HttpFaults};

use crate::common::partial::leave_some_undone;
use crate::common::{NewTable, client, config, put, shared};
use crate::scripted::Scripted;
use crate::streams::drive::Job;

/// Answers that say that all is well, and nothing else: what stands between us and the service may give them.
fn nothing() -> [Fault; 2] {
    [Bytes::new(), "{}".into()].map(|body| Fault::Refused { status: 200, body })
}

fn refused(status: u16, code: &str) -> Fault {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"why"}}"#);
    Fault::Refused { status, body: body.into() }
}

/// What may happen to a request, and how often.
fn chances() -> Vec<(Fault, f64)> {
    let [empty, braces] = nothing();
    let faults = [
        Fault::Cut,
        Fault::Lost,
        Fault::Half,
        Fault::Doubled,
        Fault::Late(3),
        Fault::Slow,
        refused(400, "ThrottlingException"),
        refused(400, "ProvisionedThroughputExceededException"),
        refused(500, "InternalServerError"),
        Fault::Refused { status: 503, body: "<html>busy</html>".into() },
        Fault::Refused { status: 200, body: "<html>hello</html>".into() },
        empty,
        braces,
    ];
    faults.map(|fault| (fault, 0.04)).into()
}

/// A proxy before the server that faults are for, when this is called.
async fn before(address: SocketAddr, call: &'static str) -> HttpFaults {
    let faults = HttpFaults::start(address).await.unwrap();
    faults.only(move |request| {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        target.is_some_and(|target| target.rsplit('.').next() == Some(call))
    });
    faults
}

fn item(number: u64) -> Item {
    [("pk".to_owned(), Value::from(format!("k{number}"))), ("number".to_owned(), number.into())].into()
}

/// A table of so many items.
async fn filled(client: &Client, items: u64) -> String {
    let table = NewTable::fresh().make(client).await;
    let written = (0..items).map(|number| put(client, &table, item(number)));
    stream::iter(written.collect::<Vec<_>>()).buffer_unordered(16).collect::<Vec<()>>().await;
    table
}

fn first_run<S>() -> Known<S> {
    Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true }
}

/// The numbers of all items. Before each page `meet` is called.
async fn scanned(faults: &HttpFaults, table: &str, meet: impl Fn()) -> Vec<u64> {
    let mut settings = DynamoScanConfig::new(config(faults.address()), table);
    (settings.segments, settings.batch_items) = (3, 5);
    let scan = DynamoScan::connect(settings).await.unwrap();
    let mut numbers = Vec::new();
    for segment in scan.discover(&first_run()).await.unwrap().new {
        let mut reader = scan.open(segment).await.unwrap();
        loop {
            meet();
            let Some(batch) = reader.next().await.unwrap() else { break };
            numbers.extend(batch.records.iter().map(|item| match &item["number"] {
                Value::N(number) => number.parse::<u64>().unwrap(),
                other => panic!("{other:?}"),
            }));
        }
    }
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_nothing_is_no_end_of_a_segment() {
    let table = filled(&client(shared()).await, 60).await;
    for fault in nothing() {
        let faults = before(shared(), "Scan").await;
        let read = scanned(&faults, &table, || faults.plan(&fault, 1)).await;
        assert_eq!(read, (0..60).collect::<Vec<_>>(), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_nothing_is_no_miss() {
    let table = filled(&client(shared()).await, 3).await;
    let faults = before(shared(), "BatchGetItem").await;
    let lookup =
        DynamoLookup::open_by_value(DynamoLookupConfig::new(config(faults.address()), &table)).await.unwrap();
    let keys = ["k0", "k2", "nobody"].map(str::to_owned);
    for fault in nothing() {
        faults.plan(&fault, 1);
        let error = lookup.lookup(&keys).await.expect_err("no answer");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error}");
        assert_eq!(lookup.lookup(&keys).await.unwrap(), [Some(item(0)), Some(item(2)), None]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_nothing_is_no_end_of_a_shard() {
    for fault in nothing() {
        let stream = Scripted::start().await;
        stream.script().open("A");
        stream.script().fill("A", 0..10);
        stream.script().close("A", &["B"]);
        stream.script().fill("B", 0..2);
        let faults = before(stream.fake.address(), "GetRecords").await;
        let mut config = stream.config();
        (config.dynamodb.endpoint, config.batch_records) = (Some(faults.endpoint()), 4);
        let source = DynamoStream::connect(config).await.unwrap();
        let mut job = Job::default();
        job.discover(&source, &[]).await.unwrap();
        faults.plan(&fault, 2);
        job.run(&stream, &source).await.unwrap();
        let all = (0..10).map(|place| format!("A:{place}")).chain(["B:0".into(), "B:1".into()]);
        assert_eq!(job.seen, all.collect::<Vec<_>>(), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_answers_every_item_is_read_once() {
    let mut random = StdRng::seed_from_u64(seed("faults in a scan"));
    let table = filled(&client(shared()).await, 200).await;
    for _ in 0..count(3, 30) {
        let faults = before(shared(), "Scan").await;
        faults.random(random.next_u64(), chances());
        assert_eq!(scanned(&faults, &table, || ()).await, (0..200).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_answers_a_key_has_its_item_or_the_host_asks_again() {
    let mut random = StdRng::seed_from_u64(seed("faults in lookups"));
    let table = filled(&client(shared()).await, 300).await;
    let faults = before(shared(), "BatchGetItem").await;
    let lookup =
        DynamoLookup::open_by_value(DynamoLookupConfig::new(config(faults.address()), &table)).await.unwrap();
    for _ in 0..count(6, 60) {
        leave_some_undone(&faults, random.next_u64());
        // A lookup is many requests, and all of them must be answered.
        faults.random(random.next_u64(), chances().into_iter().map(|(fault, chance)| (fault, chance / 4.0)));
        let numbers: BTreeSet<u64> = (0..250).map(|_| random.random_range(0..450)).collect();
        let keys: Vec<String> = numbers.iter().map(|number| format!("k{number}")).collect();
        let found = loop {
            match lookup.lookup(&keys).await {
                Ok(found) => break found,
                Err(error) => assert_eq!(error.retry(), Retry::Retry, "{error}"),
            }
        };
        let expected = numbers.iter().map(|number| (*number < 300).then(|| item(*number)));
        assert!(found.into_iter().eq(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_answers_every_change_is_read_once_and_in_its_order() {
    let mut random = StdRng::seed_from_u64(seed("faults in a stream"));
    let client = client(shared()).await;
    let table = NewTable::fresh().with_stream().make(&client).await;
    let mut written: BTreeMap<Value, Vec<Value>> = BTreeMap::new();
    for number in 0..150_u64 {
        let key = format!("k{}", random.random_range(0..9));
        let changed = [("pk".to_owned(), Value::from(key.as_str())), ("number".to_owned(), number.into())];
        put(&client, &table, Item::from(changed)).await;
        written.entry(key.into()).or_default().push(number.into());
    }
    for _ in 0..count(3, 30) {
        let faults = HttpFaults::start(shared()).await.unwrap();
        let mut settings = DynamoStreamConfig::new(config(faults.address()), &table);
        (settings.batch_records, settings.idle_wait_ms) = (4, 5);
        let source = DynamoStream::connect(settings).await.unwrap();
        faults.random(random.next_u64(), chances());
        let shard = source.discover(&first_run()).await.unwrap().new.remove(0);
        let mut reader = source.open(shard).await.unwrap();
        let (mut read, mut left) = (BTreeMap::<Value, Vec<Value>>::new(), 150);
        while left > 0 {
            for mut event in reader.next().await.unwrap().expect("it never ends").records {
                let number = event.new.take().unwrap().remove("number").unwrap();
                read.entry(event.keys.remove("pk").unwrap()).or_default().push(number);
                left -= 1;
            }
        }
        assert_eq!(read, written);
    }
}
