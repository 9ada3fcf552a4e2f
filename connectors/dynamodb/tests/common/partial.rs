//! Batches of which a part is not done, as DynamoDB has them when it is throttled. No server for tests does that by itself.

use std::sync::{Mutex, PoisonError};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value as Json, json};
use tidelock_testkit::HttpFaults;

/// From now on some entries of each batch are not done, and the answer says so. Each batch has one that is.
pub fn leave_some_undone(faults: &HttpFaults, seed: u64) {
    let chance = Mutex::new(SmallRng::seed_from_u64(seed));
    faults.hook(move |request| {
        let target = request.headers().get("x-amz-target")?.to_str().ok()?;
        let (_, operation) = target.split_once('.')?;
        let (inner, undone_as) = match operation {
            "BatchWriteItem" => (None, "UnprocessedItems"),
            "BatchGetItem" => (Some("Keys"), "UnprocessedKeys"),
            _ => return None,
        };
        let mut body: Json = serde_json::from_slice(request.body()).ok()?;
        let mut undone = Map::new();
        let mut is_first = true;
        for (table, asked) in body["RequestItems"].as_object_mut()? {
            let mut rest = asked.clone();
            let entries = match inner {
                Some(name) => asked[name].as_array_mut()?,
                None => asked.as_array_mut()?,
            };
            let mut left = Vec::new();
            entries.retain(|entry| {
                let mut chance = chance.lock().unwrap_or_else(PoisonError::into_inner);
                let is_done = std::mem::take(&mut is_first) || chance.random_bool(0.5);
                if !is_done {
                    left.push(entry.clone());
                }
                is_done
            });
            if left.is_empty() {
                continue;
            }
            match inner {
                Some(name) => rest[name] = left.into(),
                None => rest = left.into(),
            }
            undone.insert(table.clone(), rest);
        }
        // A table of which nothing is left to do would be no request.
        body["RequestItems"]
            .as_object_mut()?
            .retain(|_, asked| *asked != json!([]) && asked["Keys"] != json!([]));
        *request.body_mut() = body.to_string().into();
        Some(Box::new(move |answer| {
            if let Ok(mut said) = serde_json::from_slice::<Json>(answer.body())
                && answer.status().is_success()
            {
                said[undone_as] = undone.into();
                *answer.body_mut() = said.to_string().into();
            }
        }))
    });
}
