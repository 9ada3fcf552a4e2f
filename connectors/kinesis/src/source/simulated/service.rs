//! The service.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_sdk_kinesis::config::{Builder, HttpClient, RuntimeComponents};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use tidelock_aws::{AwsConfig, load};
use tokio::time::{Instant, sleep};

use crate::hash_key::HashRange;
use crate::source::config::KinesisStreamConfig;
use crate::source::fetch::Child;
use crate::source::stream::KinesisStream;

const ARN: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/simulated";

/// A call takes so long on the way and back.
const AWAY: Duration = Duration::from_millis(10);

/// What the service allows for a shard in a second.
const CALLS_PER_SECOND: f64 = 5.0;
const BYTES_PER_SECOND: f64 = 2_000_000.0;

/// What a call has at most.
const BYTES_MAX: u64 = 10_000_000;

/// How sequence numbers begin: with 22 more they have as many digits as those of the service.
const NUMBER: &str = "4959033827149025660855969253836157";

/// How many shards a list has on a page.
const PAGE: usize = 1_000;

#[derive(Debug, Clone)]
pub(super) struct Service {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(super) struct State {
    began: Instant,
    shards: Vec<Shard>,
    /// The data of every record.
    data: String,
    record_bytes: u64,
    /// How often each call was made, by the second in which it came.
    calls: BTreeMap<(String, u64), u64>,
    /// Those of them that the service would have refused.
    pub(super) refused: u64,
}

#[derive(Debug)]
struct Shard {
    id: String,
    parents: Vec<String>,
    range: (u128, u128),
    records_per_second: u64,
    /// How many calls may be made now, and since when that was so.
    free: (f64, Instant),
    /// The time for what was given is over then.
    paid_at: Instant,
    calls: u64,
    given: u64,
}

impl Service {
    /// With so many shards, each of which gets so many records of so many bytes in a second.
    pub(super) fn with_shards(
        shards: usize,
        records_per_second: impl Fn(usize) -> u64,
        record_bytes: usize,
    ) -> Self {
        let width = u128::MAX / shards as u128;
        let shard = |at: usize| Shard {
            id: format!("shardId-{at:012}"),
            parents: Vec::new(),
            range: (width * at as u128, width * at as u128 + (width - 1)),
            records_per_second: records_per_second(at),
            free: (CALLS_PER_SECOND, Instant::now()),
            paid_at: Instant::now(),
            calls: 0,
            given: 0,
        };
        let state = State {
            began: Instant::now(),
            shards: (0..shards).map(shard).collect(),
            data: base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![7; record_bytes]),
            record_bytes: record_bytes as u64,
            calls: BTreeMap::new(),
            refused: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) async fn client(&self) -> Client {
        let mut config = AwsConfig::new().with_credentials("key", "secret");
        (config.region, config.endpoint) = (Some("eu-central-1".into()), Some("http://127.0.0.1:1".into()));
        let loaded = load(&config).await.expect("a configuration");
        Client::from_conf(Builder::from(&loaded).http_client(self.clone()).build())
    }

    /// What reads from it.
    pub(super) async fn source(&self, change: impl FnOnce(&mut KinesisStreamConfig)) -> KinesisStream {
        let mut config = KinesisStreamConfig::new(AwsConfig::new(), ["simulated"]);
        change(&mut config);
        KinesisStream::of(config, &self.client().await)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("whole")
    }
}

impl State {
    pub(super) fn forget_calls(&mut self) {
        self.calls.clear();
    }

    /// Records come from now on.
    pub(super) fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// What goes on from each shard.
    pub(super) fn children(&self) -> BTreeMap<String, Vec<Child>> {
        let mut children = BTreeMap::<String, Vec<Child>>::new();
        for shard in &self.shards {
            for parent in &shard.parents {
                let (start, end) = shard.range;
                let child = Child {
                    id: shard.id.clone(),
                    parents: shard.parents.clone(),
                    range: HashRange { start, end },
                };
                children.entry(parent.clone()).or_default().push(child);
            }
        }
        children
    }

    /// How often it was called, and the most within a second.
    pub(super) fn calls(&self, name: &str) -> (u64, u64) {
        let of = self.calls.iter().filter(|((call, _), _)| call == name).map(|(_, count)| *count);
        (of.clone().sum(), of.max().unwrap_or_default())
    }

    /// How often each shard was asked for records, and how many it gave.
    pub(super) fn read(&self) -> impl Iterator<Item = (u64, u64)> {
        self.shards.iter().map(|shard| (shard.calls, shard.given))
    }

    /// Every shard is split.
    pub(super) fn split_all(&mut self) {
        let parents = std::mem::take(&mut self.shards);
        for parent in &parents {
            let (start, end) = parent.range;
            let middle = start + (end - start) / 2;
            for range in [(start, middle), (middle + 1, end)] {
                let at = parents.len() + self.shards.len();
                self.shards.push(Shard {
                    id: format!("shardId-{at:012}"),
                    parents: vec![parent.id.clone()],
                    range,
                    free: parent.free,
                    ..*parent
                });
            }
        }
        self.shards.splice(0..0, parents);
    }

    fn answer(&mut self, call: &str, asked: &Value) -> (u16, Value) {
        let second = self.began.elapsed().as_secs();
        *self.calls.entry((call.to_owned(), second)).or_default() += 1;
        match call {
            "DescribeStreamSummary" => {
                let summary = json!({ "StreamName": "simulated", "StreamARN": ARN, "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24,
                    "StreamCreationTimestamp": 1.0, "EnhancedMonitoring": [], "OpenShardCount": self.shards.len() });
                (200, json!({ "StreamDescriptionSummary": summary }))
            }
            "ListShards" => self.list(asked),
            "GetShardIterator" => {
                let shard = asked["ShardId"].as_str().expect("a shard");
                let at: usize = shard["shardId-".len()..].parse().expect("a number");
                let number = asked["StartingSequenceNumber"].as_str().map(|number| &number[NUMBER.len()..]);
                let number = number.map_or(0, |number| number.parse::<u64>().expect("digits"));
                let place = match asked["ShardIteratorType"].as_str().expect("a type") {
                    // Nothing has come before the source begins.
                    "TRIM_HORIZON" | "AT_TIMESTAMP" | "AT_SEQUENCE_NUMBER" => number,
                    "AFTER_SEQUENCE_NUMBER" => number + 1,
                    other => panic!("{other} is not simulated"),
                };
                (200, json!({ "ShardIterator": format!("{at}/{place}") }))
            }
            "GetRecords" => self.records(asked),
            other => panic!("{other} is asked"),
        }
    }

    fn list(&self, asked: &Value) -> (u16, Value) {
        let from: usize = asked["NextToken"].as_str().map_or(0, |token| token.parse().expect("a number"));
        let page: Vec<Value> = self.shards.iter().skip(from).take(PAGE).map(listed).collect();
        let to = from + page.len();
        let mut said = json!({ "Shards": page });
        if to < self.shards.len() {
            said["NextToken"] = to.to_string().into();
        }
        (200, said)
    }

    fn records(&mut self, asked: &Value) -> (u16, Value) {
        let (at, place) =
            asked["ShardIterator"].as_str().and_then(|it| it.split_once('/')).expect("an iterator");
        let (at, place): (usize, u64) = (at.parse().expect("a number"), place.parse().expect("a number"));
        let (record_bytes, came) = (self.record_bytes, self.came(at));
        let shard = &mut self.shards[at];
        shard.calls += 1;
        if !shard.may_be_called() {
            self.refused += 1;
            return (
                400,
                json!({ "__type": "ProvisionedThroughputExceededException", "message": "too often" }),
            );
        }
        let limit = asked["Limit"].as_u64().expect("a limit").min(BYTES_MAX / record_bytes);
        let count = came.saturating_sub(place).min(limit);
        shard.given += count;
        shard.paid_at =
            Instant::now() + Duration::from_secs_f64((count * record_bytes) as f64 / BYTES_PER_SECOND);
        let arrived = jiff::Timestamp::now().as_second();
        let record = |number: u64| {
            json!({ "SequenceNumber": format!("{NUMBER}{number:022}"), "Data": self.data,
                "PartitionKey": "key", "ApproximateArrivalTimestamp": arrived })
        };
        let records: Vec<Value> = (place..place + count).map(record).collect();
        let behind = if place + count < came { 1_000 } else { 0 };
        let next = format!("{at}/{}", place + count);
        (200, json!({ "Records": records, "NextShardIterator": next, "MillisBehindLatest": behind }))
    }

    /// How many records came to a shard so far.
    fn came(&self, shard: usize) -> u64 {
        (self.began.elapsed().as_secs_f64() * self.shards[shard].records_per_second as f64) as u64
    }
}

impl Shard {
    fn may_be_called(&mut self) -> bool {
        let now = Instant::now();
        let (free, since) = self.free;
        let free = (free + (now - since).as_secs_f64() * CALLS_PER_SECOND).min(CALLS_PER_SECOND);
        self.free = (free, now);
        let may_be = free >= 1.0 && now >= self.paid_at;
        if may_be {
            self.free.0 -= 1.0;
        }
        may_be
    }
}

fn listed(shard: &Shard) -> Value {
    let (start, end) = shard.range;
    let mut listed = json!({ "ShardId": shard.id,
        "HashKeyRange": { "StartingHashKey": start.to_string(), "EndingHashKey": end.to_string() },
        "SequenceNumberRange": { "StartingSequenceNumber": "49590338271490256608559692538361571095921575989136588898" } });
    if let Some(parent) = shard.parents.first() {
        listed["ParentShardId"] = parent.as_str().into();
    }
    listed
}

impl HttpClient for Service {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Service {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let service = self.clone();
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").expect("a call").to_owned();
            let call = target.rsplit('.').next().expect("a name");
            let asked = serde_json::from_slice(request.body().bytes().expect("whole")).expect("JSON");
            sleep(AWAY).await;
            let (status, said) = service.state().answer(call, &asked);
            sleep(AWAY).await;
            let body = SdkBody::from(said.to_string());
            Ok(HttpResponse::new(status.try_into().expect("a status"), body))
        })
    }
}
