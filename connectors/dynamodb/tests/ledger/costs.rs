//! What is paid for, as the server counts it.

use std::sync::{Arc, Mutex};

use serde_json::Value as Json;
use tidelock_dynamodb::ItemChange;

use super::place::{Place, WRITES, attempt, commit, counts, opened, prepared};

/// What it costs to commit these records, when the ledger has its lanes: requests and write units.
async fn cost(records: Vec<ItemChange>) -> (u32, f64) {
    let mut place = Place::new().await;
    let faults = place.behind_faults(WRITES).await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let first = prepared(&mut writer, &attempt(1), 1, counts(1_000, 1)).await;
    commit(&sink, 1, &first).await.unwrap();
    let second = prepared(&mut writer, &attempt(1), 2, records).await;
    let counted = Arc::<Mutex<(u32, f64)>>::default();
    let counts = Arc::clone(&counted);
    faults.hook(move |_| {
        let counts = Arc::clone(&counts);
        Some(Box::new(move |answer| {
            let answer: Json = serde_json::from_slice(answer.body()).unwrap_or_default();
            let mut counts = counts.lock().unwrap();
            counts.0 += 1;
            counts.1 += units_in(&answer["ConsumedCapacity"]);
        }))
    });
    commit(&sink, 2, &second).await.unwrap();
    let counted = counted.lock().unwrap();
    *counted
}

fn units_in(consumed: &Json) -> f64 {
    match consumed {
        Json::Array(all) => all.iter().map(units_in).sum(),
        one => one["CapacityUnits"].as_f64().unwrap_or_default(),
    }
}

#[tokio::test]
async fn a_change_costs_twice_what_it_costs_alone_and_a_chunk_one_more_for_the_ledger() {
    assert_eq!(cost(counts(1, 1)).await, (1, 2.0 * 2.0));
    assert_eq!(cost(counts(99, 1)).await, (1, 2.0 * 100.0));
    // Many changes of an item are one.
    let many: Vec<_> = (0..100).flat_map(|_| counts(99, 1)).collect();
    assert_eq!(cost(many).await, (1, 2.0 * 100.0));
    // Five lanes, each of one chunk, and the head that begins the epoch.
    assert_eq!(cost(counts(400, 1)).await, (1 + 5, 1.0 + 2.0 * (400.0 + 5.0)));
}
