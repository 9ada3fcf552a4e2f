//! What is paid for, as the server counts it.

use std::sync::{Arc, Mutex};

use serde_json::Value as Json;
use tidelock_dynamodb::{ItemChange, Mode};

use super::place::{Place, attempt, gone, opened, put_item, set, write};

/// What it costs to write these records, in one call, after others: requests and write units.
async fn cost(mode: Mode, before: Vec<ItemChange>, records: Vec<ItemChange>) -> (u32, f64) {
    let mut place = Place::new(mode).await;
    let faults = place.behind_faults().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    write(&mut writer, before).await.unwrap();
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
    write(&mut writer, records).await.unwrap();
    let counted = counted.lock().unwrap();
    *counted
}

fn units_in(consumed: &Json) -> f64 {
    match consumed {
        Json::Array(all) => all.iter().map(units_in).sum(),
        one => one["CapacityUnits"].as_f64().unwrap_or_default(),
    }
}

fn puts(bytes: usize) -> Vec<ItemChange> {
    (0..50).map(|at| put_item(&format!("k{at}"), [("value", "x".repeat(bytes).into())])).collect()
}

fn each(change: fn(&str) -> ItemChange) -> Vec<ItemChange> {
    (0..50).map(|at| change(&format!("k{at}"))).collect()
}

#[tokio::test]
async fn a_change_costs_what_its_item_has_in_kilobytes_and_a_version_is_a_part_of_it() {
    let update = |of: &str| set(of, "more", 1);
    for (mode, before, records, requests, units) in [
        (Mode::Versioned, Vec::new(), puts(100), 50, 50.0),
        (Mode::Batched, Vec::new(), puts(100), 2, 50.0),
        // Of 1,000 bytes, and a version beside them.
        (Mode::Versioned, Vec::new(), puts(1_000), 50, 100.0),
        (Mode::Batched, Vec::new(), puts(1_000), 2, 50.0),
        (Mode::Versioned, puts(100), each(update), 50, 50.0),
        (Mode::Versioned, puts(100), each(gone), 50, 50.0),
        (Mode::Batched, puts(100), each(gone), 2, 50.0),
        // What comes together for a key is one change.
        (Mode::Versioned, Vec::new(), [puts(100), puts(200), each(update)].concat(), 50, 50.0),
        // It meets the tombstone, is refused, and sent once more as a put. What a refusal costs the server does not say.
        (Mode::Versioned, each(gone), each(update), 100, 50.0),
    ] {
        let told = format!("{mode:?}: {} changes after {}", records.len(), before.len());
        assert_eq!(cost(mode, before, records).await, (requests, units), "{told}");
    }
}
