//! The promises of the contract.

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, ScalarAttributeType, WriteRequest};
use futures::{StreamExt as _, stream};
use tidelock::Result;
use tidelock_dynamodb::{DynamoScan, DynamoScanConfig, Item, Value};
use tidelock_testkit::conformance;
use tidelock_testkit::harness::{Endings, SourceFacets, SourceHarness};
use tidelock_testkit::oracle::Input;
use tokio::sync::Mutex;

use crate::common::{NewTable, client, config, shared};

/// Few, as some checks append ten times as many.
const BATCH_ITEMS: u32 = 40;

/// A table with a partition in each of its segments, for each split one.
struct Scanned {
    client: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many items each split has.
    splits: BTreeMap<String, u64>,
    table: Option<String>,
}

async fn boot() -> Result<Option<Scanned>> {
    Ok(Some(Scanned { client: client(shared()).await, state: Mutex::default() }))
}

impl Scanned {
    async fn write(&self, table: &str, items: Vec<(String, u64, String)>) {
        let write = |(pk, sk, input): &(String, u64, String)| {
            let put = PutRequest::builder()
                .item("pk", AttributeValue::S(pk.clone()))
                .item("sk", AttributeValue::N(sk.to_string()))
                .item("input", AttributeValue::S(input.clone()));
            WriteRequest::builder().put_request(put.build().unwrap()).build()
        };
        let requests = items.chunks(25).map(|some| async {
            let writes = some.iter().map(write).collect();
            self.client.batch_write_item().request_items(table, writes).send().await.unwrap();
        });
        stream::iter(requests.collect::<Vec<_>>()).buffer_unordered(4).collect::<Vec<()>>().await;
    }

    async fn fresh_table(&self) -> String {
        NewTable::fresh().sorted(ScalarAttributeType::N).make(&self.client).await
    }

    /// A partition key of each of so many segments, as the server cuts a table.
    async fn partitions(&self, segments: usize) -> Vec<String> {
        let table = self.fresh_table().await;
        let candidates = (0..100).map(|number| (format!("partition {number}"), 0, String::new()));
        self.write(&table, candidates.collect()).await;
        let mut partitions = Vec::new();
        for segment in 0..segments {
            let scan = self.client.scan().table_name(&table).segment(i32::try_from(segment).unwrap());
            let page = scan.total_segments(i32::try_from(segments).unwrap()).send().await.unwrap();
            let first = page.items().first().expect("a hundred keys are in every one of a few segments");
            partitions.push(first["pk"].as_s().unwrap().clone());
        }
        partitions
    }

    /// The table, written with the first source that is made: a table cannot be cut as it grows.
    async fn table(&self) -> (String, u32) {
        let mut state = self.state.lock().await;
        let segments = u32::try_from(state.splits.len()).unwrap();
        if let Some(table) = &state.table {
            return (table.clone(), segments);
        }
        let table = self.fresh_table().await;
        let partitions = self.partitions(state.splits.len()).await;
        for ((split, count), partition) in state.splits.iter().zip(partitions) {
            let item = |place| (partition.clone(), place, Input::new(split, place).to_string());
            self.write(&table, (0..*count).map(item).collect()).await;
        }
        state.table = Some(table.clone());
        (table, segments)
    }
}

#[async_trait]
impl SourceHarness for Scanned {
    type Source = DynamoScan;

    async fn source(&self) -> Result<DynamoScan> {
        let (table, segments) = self.table().await;
        let mut settings = DynamoScanConfig::new(config(shared()), table);
        (settings.batch_items, settings.segments, settings.consistent) = (BATCH_ITEMS, segments, true);
        DynamoScan::connect(settings).await
    }

    async fn append(&self, split: &str, places: Range<u64>) -> Result<()> {
        let mut state = self.state.lock().await;
        assert!(state.table.is_none() && places.start == 0, "a split is appended to once, before it is read");
        state.splits.insert(split.to_owned(), places.end);
        Ok(())
    }

    fn identify(&self, record: &Item) -> Input {
        let Value::S(input) = &record["input"] else { panic!("{record:?}") };
        input.parse().unwrap()
    }

    fn facets(&self) -> SourceFacets<'_, DynamoScan> {
        SourceFacets::new(BATCH_ITEMS as usize).without_growth().without_newcomers().with_endings(self)
    }
}

#[async_trait]
impl Endings for Scanned {
    async fn end(&self, _: &str) -> Result<()> {
        Ok(())
    }
}

conformance::source!(boot, without [growth, newcomers, latest, retention]);
