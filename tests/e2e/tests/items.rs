//! The example with DynamoDB: rows go to a table there, each exactly once, and it is killed on the way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use flights::answer::{self, Row};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tidelock::{Known, Source as _, SplitReader as _};
use tidelock_dynamodb::{AwsConfig, DynamoScan, DynamoScanConfig, record_of};
use tidelock_e2e::{World, killed_again_and_again, seed};
use tidelock_processes::DynamoServer;
use tidelock_testkit::HttpFaults;

const RATE: &str = "4500";
const TABLE: &str = "flights_by_hour";

/// How often each row was put by a transaction that was done, as far as its answer was seen: who is killed meanwhile cuts that off.
type Puts = Arc<Mutex<BTreeMap<(String, String), u32>>>;

/// Looks at what passes by.
fn puts_that_pass(proxy: &HttpFaults) -> Puts {
    let puts = Puts::default();
    let counted = Arc::clone(&puts);
    proxy.hook(move |request| {
        let asked: Value = serde_json::from_slice(request.body()).expect("JSON");
        let actions = asked["TransactItems"].as_array()?;
        let text = |value: &Value| value["S"].as_str().expect("a text").to_owned();
        let items = actions.iter().map(|action| &action["Put"]["Item"]).filter(|item| !item.is_null());
        let keys: Vec<_> = items.map(|item| (text(&item["origin"]), text(&item["window_start"]))).collect();
        let counted = Arc::clone(&counted);
        Some(Box::new(move |answer| {
            if answer.status().is_success() {
                let mut counted = counted.lock().expect("no panic");
                keys.into_iter().for_each(|key| *counted.entry(key).or_default() += 1);
            }
        }))
    });
    puts
}

/// Every row of the table.
async fn rows(server: &DynamoServer) -> Vec<Row> {
    let mut dynamodb = AwsConfig::new().with_credentials("test", "s3cret");
    (dynamodb.region, dynamodb.endpoint) = (Some("any".into()), Some(server.endpoint()));
    let mut config = DynamoScanConfig::new(dynamodb, TABLE);
    config.consistent = true;
    let scan = DynamoScan::connect(config).await.expect("the table");
    let first_run = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let mut rows = Vec::new();
    for split in scan.discover(&first_run).await.expect("splits").new {
        let mut reader = scan.open(split).await.expect("a reader");
        while let Some(batch) = reader.next().await.expect("items") {
            rows.extend(batch.records.into_iter().map(|item| record_of::<Row>(item).expect("a row")));
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_whose_rows_go_to_dynamodb_are_exact_and_put_once_however_often_the_job_is_killed() {
    let server = DynamoServer::start();
    let proxy = HttpFaults::start(server.address()).await.expect("a proxy");
    let puts = puts_that_pass(&proxy);
    let table = format!("{}/{TABLE}", proxy.endpoint());
    let tested = tokio::task::spawn_blocking(move || {
        let world = World::with_files(2);
        let expected = world.expected();
        let mut random = StdRng::seed_from_u64(seed());
        let count = ["--to-dynamodb", &table, "--rate", RATE, "--workers", "2"];
        let epochs = killed_again_and_again(&world, &expected, &mut random, "count", &count);
        assert!(epochs.len() > 1, "none was killed");
        assert!(epochs.is_sorted_by(|before, after| before < after), "an attempt went back: {epochs:?}");
        let mut again = world.start_elsewhere("count", &count);
        again.ended().assert_success();
        assert!(again.notes().concat().contains("nothing left"), "{:?}", again.notes());
        expected
    });
    let expected = tested.await.expect("no panic");
    let seen = rows(&server).await;
    let difference = answer::compare(&expected, &seen);
    assert!(difference.is_none(), "{} rows: {difference:?}", seen.len());
    let puts = puts.lock().expect("no panic");
    let twice: Vec<_> = puts.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "put more than once: {twice:?}");
    assert!(puts.len() > expected.len() / 2, "of {} rows {} were seen to pass", expected.len(), puts.len());
}
