//! A proxy before the server that adds up what its answers say was consumed.

use std::sync::{Arc, Mutex};

use serde_json::Value as Json;
use tidelock_dynamodb::AwsConfig;
use tidelock_testkit::{Fault, HttpFaults, Rewrite};

use crate::common;

const READS: [&str; 3] = ["GetItem", "BatchGetItem", "Scan"];
const WRITES: [&str; 4] = ["PutItem", "UpdateItem", "BatchWriteItem", "TransactWriteItems"];

/// What requests for items cost.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) requests: u32,
    pub(crate) read: f64,
    pub(crate) write: f64,
    /// Requests of which the server does not say what they cost.
    pub(crate) refused: u32,
}

pub(crate) struct Meter {
    proxy: HttpFaults,
    counted: Arc<Mutex<Cost>>,
}

impl Meter {
    pub(crate) async fn start() -> Self {
        let proxy = HttpFaults::start(common::shared()).await.unwrap();
        let counted = Arc::<Mutex<Cost>>::default();
        let counts = Arc::clone(&counted);
        proxy.hook(move |request| {
            let call = request.headers().get("x-amz-target")?.to_str().ok()?.rsplit('.').next()?;
            let is_read = READS.contains(&call);
            if !is_read && !WRITES.contains(&call) {
                return None;
            }
            let counts = Arc::clone(&counts);
            let count: Rewrite = Box::new(move |answer| {
                let mut cost = counts.lock().unwrap();
                cost.requests += 1;
                if !answer.status().is_success() {
                    cost.refused += 1;
                    return;
                }
                let answer: Json = serde_json::from_slice(answer.body()).unwrap();
                let units = units_in(&answer["ConsumedCapacity"]);
                *(if is_read { &mut cost.read } else { &mut cost.write }) += units;
            });
            Some(count)
        });
        Self { proxy, counted }
    }

    /// How the server is reached by way of it.
    pub(crate) fn config(&self) -> AwsConfig {
        common::config(self.proxy.address())
    }

    /// What was consumed since it was asked before.
    pub(crate) fn take(&self) -> Cost {
        std::mem::take(&mut *self.counted.lock().unwrap())
    }

    /// The server does what it is asked next, and nobody learns of that.
    pub(crate) fn lose_an_answer(&self) {
        self.proxy.plan(&Fault::Lost, 1);
    }
}

fn units_in(consumed: &Json) -> f64 {
    match consumed {
        Json::Array(all) => all.iter().map(units_in).sum(),
        one => one["CapacityUnits"].as_f64().expect("the server says what was consumed"),
    }
}
