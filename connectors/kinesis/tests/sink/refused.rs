//! Requests of which the service refuses some records, as it does when a shard is throttled. No server for tests does that by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value as Json, json};
use tidelock_testkit::HttpFaults;

/// A record of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
}

/// What the proxy saw.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// How many records each request had.
    pub(crate) requests: Vec<usize>,
    /// How often a record of each key was refused.
    pub(crate) refused: BTreeMap<String, usize>,
    /// What must not be.
    pub(crate) wrong: Vec<String>,
}

/// From now on the records of which this gives a code are refused with it, and the others go on. Two of one key in one request are noted as wrong.
pub(crate) fn refuse_some(
    faults: &HttpFaults,
    refuse: impl Fn(&Asked) -> Option<&'static str> + Send + Sync + 'static,
) -> Arc<Mutex<Watched>> {
    let watched = Arc::<Mutex<Watched>>::default();
    let watching = Arc::clone(&watched);
    faults.hook(move |request| {
        let target = request.headers().get("x-amz-target")?.to_str().ok()?;
        if !target.ends_with(".PutRecords") {
            return None;
        }
        let mut body: Json = serde_json::from_slice(request.body()).ok()?;
        let records = body["Records"].as_array_mut()?;
        let mut watched = watching.lock().unwrap();
        watched.requests.push(records.len());
        let (mut codes, mut keys) = (Vec::new(), BTreeSet::new());
        records.retain(|record| {
            let key = record["PartitionKey"].as_str().unwrap().to_owned();
            let data = BASE64.decode(record["Data"].as_str().unwrap()).unwrap();
            if !keys.insert(key.clone()) {
                watched.wrong.push(format!("two records of {key} in one request"));
            }
            let asked = Asked { key, data };
            let code = refuse(&asked);
            if code.is_some() {
                *watched.refused.entry(asked.key).or_default() += 1;
            }
            codes.push(code);
            code.is_none()
        });
        let is_none_left = records.is_empty();
        if is_none_left {
            // A request without records is none: one goes to a stream that nobody has.
            body = json!({ "StreamName": "nobody-has-it", "Records": [{ "PartitionKey": "k", "Data": "" }] });
        }
        *request.body_mut() = body.to_string().into();
        Some(Box::new(move |answer| {
            let mut said: Json = serde_json::from_slice(answer.body()).unwrap_or_default();
            let put = said["Records"].as_array().cloned().unwrap_or_default();
            if is_none_left {
                *answer.status_mut() = 200_u16.try_into().unwrap();
            } else if !answer.status().is_success() {
                return;
            }
            let (mut put, mut all) = (put.into_iter(), Vec::new());
            for code in &codes {
                all.push(match code {
                    Some(code) => json!({ "ErrorCode": code, "ErrorMessage": "it was told to" }),
                    None => put.next().unwrap_or_default(),
                });
            }
            let failed = codes.iter().flatten().count();
            said = json!({ "FailedRecordCount": failed, "Records": all });
            *answer.body_mut() = said.to_string().into();
        }))
    });
    watched
}
