//! The stream of a real server. It has one shard, which never ends.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tidelock::{ErrorKind, Known, Retry, Source as _, SplitReader as _};
use tidelock_dynamodb::{
    DynamoEvent, DynamoShard, DynamoStream, DynamoStreamConfig, DynamoStreamReader, EventKind, Item,
    StreamStart, Value,
};
use tidelock_processes::{DynamoServer, Moment, PATIENCE, Pace, Process, count, seed};
use tokio::time::timeout;

use crate::common::{NewTable, client, config, put, shared};
use crate::job::{What, World};

async fn first_of(source: &DynamoStream) -> DynamoShard {
    let known = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let mut found = source.discover(&known).await.unwrap().new;
    assert_eq!(found.len(), 1, "it has one shard");
    found.remove(0)
}

/// The next so many events, and where reading goes on.
async fn read(reader: &mut DynamoStreamReader, count: usize) -> (Vec<DynamoEvent>, DynamoShard) {
    let mut events = Vec::new();
    loop {
        let batch =
            timeout(PATIENCE, reader.next()).await.expect("an answer").unwrap().expect("it never ends");
        events.extend(batch.records);
        if events.len() >= count {
            return (events, batch.resume);
        }
    }
}

fn item(key: &str, attributes: &[(&str, Value)]) -> Item {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    attributes.chain([("pk".to_owned(), key.into())]).collect()
}

/// One value of every kind.
fn rich(key: &str) -> Item {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    item(
        key,
        &[
            ("number", Value::N("-1234567890123456789012345678901234567.8".into())),
            ("empty", "".into()),
            ("bytes", Value::B(Bytes::from_static(&[0, 255]))),
            ("no bytes", Value::B(Bytes::new())),
            ("ss", Value::Ss(texts(&["ä", "b"]))),
            ("ns", Value::Ns(texts(&["1", "2.5"]))),
            ("bs", Value::Bs([Bytes::from_static(b"x")].into())),
            ("null", Value::Null),
            ("yes", true.into()),
            ("map", Value::M(item("in", &[("l", Value::L(vec![Value::Null, Value::L(Vec::new())]))]))),
        ],
    )
}

async fn delete(client: &Client, table: &str, key: &str) {
    let request = client.delete_item().table_name(table).key("pk", Value::from(key).into());
    request.send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_their_order_with_both_images_and_every_value_as_it_was_written() {
    let client = client(shared()).await;
    let table = NewTable::fresh().with_stream().make(&client).await;
    let key = "Zürich \u{1f6e9} \"1\"";
    put(&client, &table, rich(key)).await;
    put(&client, &table, item(key, &[("n", 1.into())])).await;
    delete(&client, &table, key).await;
    let source = DynamoStream::connect(DynamoStreamConfig::new(config(shared()), &table)).await.unwrap();
    let mut reader = source.open(first_of(&source).await).await.unwrap();
    let (events, _) = read(&mut reader, 3).await;
    let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Insert, EventKind::Modify, EventKind::Remove]);
    assert!(events.iter().all(|event| event.keys == item(key, &[]) && !event.is_expiry));
    assert!(
        events.iter().all(|event| event.created_ms.is_some_and(|at| at > 1_700_000_000_000)),
        "{events:?}"
    );
    let images = |event: &DynamoEvent| (event.old.clone(), event.new.clone());
    let after = item(key, &[("n", 1.into())]);
    assert_eq!(images(&events[0]), (None, Some(rich(key))));
    assert_eq!(images(&events[1]), (Some(rich(key)), Some(after.clone())));
    assert_eq!(images(&events[2]), (Some(after), None));
    let numbers: Vec<u128> = events.iter().map(|event| event.sequence_number.parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_now_on_is_after_what_was_written_and_is_decided_once() {
    let client = client(shared()).await;
    let table = NewTable::fresh().with_stream().make(&client).await;
    let mut settings = DynamoStreamConfig::new(config(shared()), &table);
    (settings.start, settings.batch_records) = (StreamStart::Now, 2);
    let connect = async || DynamoStream::connect(settings.clone()).await.unwrap();
    put(&client, &table, item("before", &[])).await;
    let shard = first_of(&connect().await).await;
    for key in ["a", "b", "c"] {
        put(&client, &table, item(key, &[])).await;
    }
    let (events, resume) = read(&mut connect().await.open(shard).await.unwrap(), 2).await;
    let keys =
        |events: &[DynamoEvent]| events.iter().map(|event| event.keys["pk"].clone()).collect::<Vec<_>>();
    assert_eq!(keys(&events), ["a".into(), "b".into()]);
    let (events, _) = read(&mut connect().await.open(resume).await.unwrap(), 1).await;
    assert_eq!(keys(&events), ["c".into()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_when_the_source_connects() {
    let client = client(shared()).await;
    let without = NewTable::fresh().make(&client).await;
    for (table, named) in [(without.as_str(), "StreamSpecification"), ("nowhere", "nowhere")] {
        let error = DynamoStream::connect(DynamoStreamConfig::new(config(shared()), table)).await;
        let error = error.expect_err("it is not there");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let mut server = DynamoServer::on_disk(folder.path());
    let there = client(server.address()).await;
    let table = NewTable::fresh().with_stream().make(&there).await;
    put(&there, &table, item("a", &[])).await;
    let source =
        DynamoStream::connect(DynamoStreamConfig::new(config(server.address()), &table)).await.unwrap();
    let mut reader = source.open(first_of(&source).await).await.unwrap();
    read(&mut reader, 1).await;
    server.kill();
    let restart = async {
        // Long enough that the reader asks while it is away; nothing depends on it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.start_again();
        put(&client(server.address()).await, &table, item("b", &[])).await;
    };
    let ((events, _), ()) = tokio::join!(read(&mut reader, 1), restart);
    assert_eq!(events[0].keys, item("b", &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_another_process_writes_loses_nothing_and_keeps_the_order_of_each_key() {
    let mut random = StdRng::seed_from_u64(seed("killed under a real stream"));
    let client = client(shared()).await;
    let table = NewTable::fresh().with_stream().make(&client).await;
    let mut world = World::new(config(shared()), &table, What::Stream);
    let log = world.log().await;
    let mut changes = BTreeMap::new();
    let mut written = 0;
    let kills = count(3, 40);
    for _ in 0..kills {
        let moment = Moment::choose(&mut random, Duration::from_millis(20));
        let before = log.position().await;
        let mut process = world.start();
        let writing = async {
            for _ in 0..300 {
                let key = format!("k{}", random.random_range(0..9));
                let change: &mut u64 = changes.entry(key.clone()).or_default();
                put(&client, &table, item(&key, &[("number", (*change).into())])).await;
                *change += 1;
                written += 1;
            }
        };
        let entries = async |process: &mut Process| log.wait_for_entry(process, 2).await;
        tokio::join!(writing, moment.wait_for(&log, &mut process, before, entries));
        process.kill();
    }
    world.pace(Pace::full());
    let mut process = world.start();
    world.sees(&mut process, written).await;
    world.stop(process).await;
    world.check(&changes);
    println!("{kills} kills, {:?}", log.recoveries().await);
}
