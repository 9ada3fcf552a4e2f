//! What a sink in the mode `versioned` deleted: it leaves a mark in the table, and to readers it is not there.

use tidelock::{
    Epoch, Generation, JobId, Known, Lookup as _, Position, Sink as _, SinkAttempt, SinkWriter as _,
    Source as _, SplitReader as _, Uid, WriterId,
};
use tidelock_dynamodb::{
    DynamoEvent, DynamoLookup, DynamoLookupConfig, DynamoScan, DynamoScanConfig, DynamoSink,
    DynamoSinkConfig, DynamoStream, DynamoStreamConfig, EventKind, Item, ItemChange, Value, key,
};
use tidelock_processes::PATIENCE;
use tokio::time::timeout;

use crate::common::{NewTable, client, config, shared};

fn first_run<S>() -> Known<S> {
    Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true }
}

fn put(of: &str, value: u64) -> ItemChange {
    ItemChange::put(key([("pk", of.into()), ("value", value.into())]))
}

fn gone(of: &str) -> ItemChange {
    ItemChange::delete(key([("pk", of.into())]))
}

/// Writes to a table, one call after the other.
async fn written(sink: DynamoSinkConfig, calls: Vec<Vec<ItemChange>>) {
    let sink = DynamoSink::new(sink).unwrap();
    let attempt = SinkAttempt {
        job: JobId::new("job").unwrap(),
        uid: Uid::new("out").unwrap(),
        number: Position(1),
        generation: Generation(1),
        chunks: None,
    };
    sink.recover(&attempt, &[]).await.unwrap();
    let mut writer = sink.open(&attempt, WriterId(0)).await.unwrap();
    for mut call in calls {
        writer.write(&mut call).await.unwrap();
        writer.prepare(Epoch(1)).await.unwrap();
    }
}

/// All items that a scan gives, without versions.
async fn scanned(config: DynamoScanConfig) -> Vec<Item> {
    let scan = DynamoScan::connect(config).await.unwrap();
    let mut items = Vec::new();
    for segment in scan.discover(&first_run()).await.unwrap().new {
        let mut reader = scan.open(segment).await.unwrap();
        while let Some(batch) = reader.next().await.unwrap() {
            items.extend(batch.records);
        }
    }
    items.iter_mut().for_each(|item| drop(item.remove("tidelock_version")));
    items.sort();
    items
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_and_scans_leave_out_what_a_sink_deleted_whatever_is_asked_for() {
    let table = NewTable::fresh().make(&client(shared()).await).await;
    let calls = vec![vec![put("a", 1), put("b", 2), gone("c")], vec![gone("a")]];
    written(DynamoSinkConfig::new(config(shared()), &table), calls).await;
    let keys = ["a", "b", "c"].map(str::to_owned);
    let items = |all: &[&[(&str, Value)]]| -> Vec<Item> {
        all.iter().map(|item| key(item.iter().cloned())).collect()
    };
    for (attributes, item) in [
        (vec![], items(&[&[("pk", "b".into()), ("value", 2.into())]])),
        (vec!["value"], items(&[&[("pk", "b".into()), ("value", 2.into())]])),
        (vec!["pk"], items(&[&[("pk", "b".into())]])),
    ] {
        let attributes: Vec<String> = attributes.into_iter().map(str::to_owned).collect();
        let mut looking = DynamoLookupConfig::new(config(shared()), &table);
        looking.attributes.clone_from(&attributes);
        let lookup = DynamoLookup::open_by_value(looking).await.unwrap();
        let mut found = lookup.lookup(&keys).await.unwrap();
        found.iter_mut().flatten().for_each(|item| drop(item.remove("tidelock_version")));
        assert_eq!(found, [None, Some(item[0].clone()), None], "{attributes:?}");
        let mut scanning = DynamoScanConfig::new(config(shared()), &table);
        scanning.attributes.clone_from(&attributes);
        // A page for each item: some of them have nothing.
        scanning.batch_items = 1;
        assert_eq!(scanned(scanning).await, item, "{attributes:?}");
    }
    // Who wants to see them does.
    let mut looking = DynamoLookupConfig::new(config(shared()), &table);
    looking.deleted_attribute = String::new();
    let lookup = DynamoLookup::open_by_value(looking).await.unwrap();
    let found = lookup.lookup(&keys).await.unwrap();
    assert!(
        found.iter().all(Option::is_some)
            && found[0].as_ref().unwrap()["tidelock_deleted"] == Value::from(true)
    );
    let mut scanning = DynamoScanConfig::new(config(shared()), &table);
    scanning.deleted_attribute = String::new();
    assert_eq!(scanned(scanning).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_what_a_sink_deleted_as_removed_and_what_it_makes_anew_as_inserted() {
    let table = NewTable::fresh().with_stream().make(&client(shared()).await).await;
    let mut sink = DynamoSinkConfig::new(config(shared()), &table);
    sink.deleted_attribute = "gone".into();
    let calls = vec![vec![put("a", 1)], vec![put("a", 2)], vec![gone("a")], vec![put("a", 3)]];
    written(sink, calls).await;
    let mut told = Vec::new();
    for deleted_attribute in ["gone", ""] {
        let mut reading = DynamoStreamConfig::new(config(shared()), &table);
        reading.deleted_attribute = deleted_attribute.into();
        let stream = DynamoStream::connect(reading).await.unwrap();
        let shard = stream.discover(&first_run()).await.unwrap().new.remove(0);
        let mut reader = stream.open(shard).await.unwrap();
        let mut events: Vec<DynamoEvent> = Vec::new();
        while events.len() < 4 {
            events.extend(timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap().records);
        }
        let value = |image: Option<Item>| image.and_then(|image| image.get("value").cloned());
        told.push(
            events
                .into_iter()
                .map(|event| (event.kind, value(event.old), value(event.new)))
                .collect::<Vec<_>>(),
        );
    }
    let value = |value: u64| Some(Value::from(value));
    use EventKind::{Insert, Modify, Remove};
    let seen = [
        (Insert, None, value(1)),
        (Modify, value(1), value(2)),
        (Remove, value(2), None),
        (Insert, None, value(3)),
    ];
    assert_eq!(told[0], seen);
    assert_eq!(told[1].iter().map(|event| event.0).collect::<Vec<_>>(), [Insert, Modify, Modify, Modify]);
}
