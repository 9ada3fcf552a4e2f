//! A stream that is told what becomes of its shards: they are split and merged, their records are thrown away, and they disappear; lists of them come in pages and
//! lack some, iterators expire, and the stream is made again under its name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tidelock_kinesis::{KinesisRecord, KinesisStream, KinesisStreamConfig};

use super::fake::{Answer, Fake, refuse};

/// Longer than any integer, as those of the service are. Some have a digit less than others.
const NUMBER_BEFORE: &str = "4959033827149025660855969253836157109592157598913";

/// A stream, and the server that tells of it.
pub(crate) struct Scripted {
    pub(crate) fake: Fake,
    script: Arc<Mutex<Script>>,
}

/// What the server says when it is asked for a record that was thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trimmed {
    /// It goes on with the oldest one, without a word.
    Silent,
    /// It refuses, with this code.
    Refused(&'static str),
}

/// What there is.
pub(crate) struct Script {
    pub(crate) is_there: bool,
    pub(crate) made_ms: i64,
    pub(crate) kept_hours: i64,
    pub(crate) shards: BTreeMap<String, Shard>,
    pub(crate) trimmed: Trimmed,
    /// How many shards a list has at most, before it goes on with another page.
    pub(crate) page: usize,
    /// So many lists lack these shards from now on.
    pub(crate) unlisted: BTreeMap<String, usize>,
    /// So many times no place is known in these shards from now on.
    pub(crate) unknown: BTreeMap<String, usize>,
    /// Whether every other answer has no records, though there are some.
    pub(crate) has_holes: bool,
    /// So many answers have no records after a place was sought: there is a long time without any.
    pub(crate) stretch: usize,
    /// A record that arrives in a shard when it was just answered that it has nothing, and before that answer is heard.
    pub(crate) arrives: Option<String>,
    /// Whether the answer that ends a shard names what goes on from it.
    pub(crate) tells_children: bool,
    /// So many answers say nothing.
    pub(crate) empty_answers: usize,
    /// How often there was nothing more to read of a shard.
    pub(crate) idle: BTreeMap<String, usize>,
    /// What was asked, by the name of the call and perhaps the shard.
    pub(crate) asked: BTreeMap<String, usize>,
    numbers: u64,
    given: usize,
    /// Iterators that were given before are too old.
    good_since: usize,
    holes: usize,
}

pub(crate) struct Shard {
    parents: Vec<String>,
    range: (u128, u128),
    records: Vec<(String, i64, Value)>,
    trimmed: usize,
    closed: bool,
}

impl Scripted {
    pub(crate) async fn start() -> Self {
        let script = Arc::new(Mutex::new(Script {
            is_there: true,
            made_ms: 1_764_471_600_000,
            kept_hours: 24,
            shards: BTreeMap::new(),
            trimmed: Trimmed::Silent,
            page: 1_000,
            unlisted: BTreeMap::new(),
            unknown: BTreeMap::new(),
            has_holes: false,
            stretch: 0,
            arrives: None,
            tells_children: true,
            empty_answers: 0,
            idle: BTreeMap::new(),
            asked: BTreeMap::new(),
            numbers: 0,
            given: 0,
            good_since: 0,
            holes: 0,
        }));
        let told = Arc::clone(&script);
        let fake = Fake::start(move |call, asked| told.lock().unwrap().answer(call, asked)).await;
        Self { fake, script }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(crate) fn config(&self) -> KinesisStreamConfig {
        let mut config = KinesisStreamConfig::new(self.fake.config(), [STREAM]);
        (config.idle_wait_ms, config.idle_wait_max_ms, config.calls_per_second) = (2, 2, 1_000);
        config.retry_for_ms = 2_000;
        config
    }

    pub(crate) async fn source(&self, change: impl FnOnce(&mut KinesisStreamConfig)) -> KinesisStream {
        let mut config = self.config();
        change(&mut config);
        KinesisStream::connect(config).await.unwrap()
    }
}

/// The name of the stream.
pub(crate) const STREAM: &str = "flights";

fn arn() -> String {
    format!("arn:aws:kinesis:eu-central-1:123456789012:stream/{STREAM}")
}

/// What a record was written with.
pub(crate) fn text_of(record: &KinesisRecord) -> &str {
    std::str::from_utf8(&record.data).unwrap()
}

pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl Script {
    fn number(&mut self) -> String {
        self.numbers += 1;
        format!("{NUMBER_BEFORE}{:06}", self.numbers)
    }

    /// An open shard that goes on from nothing.
    pub(crate) fn open(&mut self, shard: &str) {
        self.go_on(shard, &[], (0, u128::MAX));
    }

    fn go_on(&mut self, shard: &str, parents: &[&str], range: (u128, u128)) {
        let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
        let new = Shard { parents, range, records: Vec::new(), trimmed: 0, closed: false };
        assert!(self.shards.insert(shard.to_owned(), new).is_none(), "{shard} is there");
    }

    pub(crate) fn write(&mut self, shard: &str, text: impl Into<String>) {
        self.write_key(shard, "key", &text.into());
    }

    pub(crate) fn write_key(&mut self, shard: &str, key: &str, text: &str) {
        self.write_bytes(shard, key, text.as_bytes());
    }

    pub(crate) fn write_bytes(&mut self, shard: &str, key: &str, data: &[u8]) {
        let number = self.number();
        let shard = self.shards.get_mut(shard).unwrap();
        assert!(!shard.closed);
        let record = json!({ "PartitionKey": key, "Data": BASE64_STANDARD.encode(data) });
        shard.records.push((number, now_ms(), record));
    }

    /// Writes `shard:from` up to before `shard:to`.
    pub(crate) fn fill(&mut self, shard: &str, places: std::ops::Range<u64>) {
        places.for_each(|place| self.write(shard, format!("{shard}:{place}")));
    }

    /// Nothing is written to it any more, and these go on from it.
    pub(crate) fn split(&mut self, shard: &str, children: &[&str]) {
        self.close(shard);
        let (start, end) = self.shards[shard].range;
        let width = (end - start) / children.len().max(1) as u128;
        for (number, child) in children.iter().enumerate() {
            let from = start + width * number as u128;
            self.go_on(
                child,
                &[shard],
                (from, if number + 1 == children.len() { end } else { from + width - 1 }),
            );
        }
    }

    /// Nothing is written to both any more, and this one goes on from them.
    pub(crate) fn merge(&mut self, shards: [&str; 2], child: &str) {
        let [one, other] = shards.map(|shard| {
            self.close(shard);
            self.shards[shard].range
        });
        self.go_on(child, &shards, (one.0.min(other.0), one.1.max(other.1)));
    }

    pub(crate) fn close(&mut self, shard: &str) {
        self.shards.get_mut(shard).unwrap().closed = true;
    }

    /// The first records are thrown away: so many of all that were ever written.
    pub(crate) fn trim(&mut self, shard: &str, records: usize) {
        self.shards.get_mut(shard).unwrap().trimmed = records;
    }

    /// A shard disappears with its records.
    pub(crate) fn vanish(&mut self, shard: &str) {
        self.shards.remove(shard).unwrap();
    }

    /// Every record is so much older.
    pub(crate) fn age(&mut self, shard: &str, hours: i64) {
        for (_, arrival_ms, _) in &mut self.shards.get_mut(shard).unwrap().records {
            *arrival_ms -= hours * 3_600_000;
        }
    }

    /// Every iterator that was given is too old.
    pub(crate) fn expire(&mut self) {
        self.good_since = self.given;
    }

    pub(crate) fn times_asked(&self, what: &str) -> usize {
        self.asked.get(what).copied().unwrap_or_default()
    }

    fn answer(&mut self, call: &str, asked: &Value) -> Answer {
        *self.asked.entry(call.to_owned()).or_default() += 1;
        if self.empty_answers > 0 {
            self.empty_answers -= 1;
            return (200, json!({}));
        }
        if !self.is_there {
            return refuse("ResourceNotFoundException");
        }
        match call {
            "DescribeStreamSummary" => self.describe(),
            "ListShards" => self.list(asked),
            "GetShardIterator" => self.iterator(asked),
            "GetRecords" => self.records(asked),
            other => panic!("{other} is asked"),
        }
    }

    fn describe(&self) -> Answer {
        let summary = json!({
            "StreamName": STREAM,
            "StreamARN": arn(),
            "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": self.kept_hours,
            "StreamCreationTimestamp": self.made_ms as f64 / 1_000.0,
            "EnhancedMonitoring": [],
            "OpenShardCount": self.shards.values().filter(|shard| !shard.closed).count(),
        });
        (200, json!({ "StreamDescriptionSummary": summary }))
    }

    fn list(&mut self, asked: &Value) -> Answer {
        // The service refuses a call that has both.
        let after = match (asked["NextToken"].as_str(), asked["StreamARN"].as_str()) {
            (Some(after), None) => after,
            (None, Some(arn_)) if arn_ == arn() => "",
            _ => return refuse("InvalidArgumentException"),
        };
        let is_asked_for =
            |(id, _): &(&String, &Shard)| !self.unlisted.contains_key(*id) && id.as_str() > after;
        let mut shards: Vec<Value> = self.shards.iter().filter(is_asked_for).map(listed).collect();
        let has_more = shards.len() > self.page;
        shards.truncate(self.page);
        let token = has_more.then(|| shards[shards.len() - 1]["ShardId"].clone());
        if !has_more {
            self.unlisted.values_mut().for_each(|times| *times -= 1);
            self.unlisted.retain(|_, times| *times > 0);
        }
        let mut said = json!({ "Shards": shards });
        if let Some(token) = token {
            said["NextToken"] = token;
        }
        (200, said)
    }

    fn iterator(&mut self, asked: &Value) -> Answer {
        let id = asked["ShardId"].as_str().unwrap();
        *self.asked.entry(format!("iterator of {id}")).or_default() += 1;
        if let Some(times) = self.unknown.get_mut(id).filter(|times| **times > 0) {
            *times -= 1;
            return refuse("ResourceNotFoundException");
        }
        let Some(shard) = self.shards.get(id) else { return refuse("ResourceNotFoundException") };
        let number = || asked["StartingSequenceNumber"].as_str().unwrap();
        let place_of = |number: &str| shard.records.iter().position(|(one, ..)| one == number);
        let place = match asked["ShardIteratorType"].as_str().unwrap() {
            "TRIM_HORIZON" => Some(shard.trimmed),
            "AT_TIMESTAMP" => {
                let since_ms = (asked["Timestamp"].as_f64().unwrap() * 1_000.0).round() as i64;
                let first = shard.records.iter().position(|(_, arrival_ms, _)| *arrival_ms >= since_ms);
                Some(first.unwrap_or(shard.records.len()).max(shard.trimmed))
            }
            "AT_SEQUENCE_NUMBER" => place_of(number()),
            "AFTER_SEQUENCE_NUMBER" => place_of(number()).map(|place| place + 1),
            other => panic!("{other} is asked for"),
        };
        match (place, self.trimmed) {
            (None, _) => refuse("InvalidArgumentException"),
            (Some(place), Trimmed::Refused(code)) if place < shard.trimmed => refuse(code),
            (Some(place), _) => {
                let place = place.max(shard.trimmed);
                let iterator = self.give(id, place, self.stretch);
                (200, json!({ "ShardIterator": iterator }))
            }
        }
    }

    fn give(&mut self, shard: &str, place: usize, stretch: usize) -> String {
        self.given += 1;
        format!("{}/{shard}/{place}/{stretch}", self.given)
    }

    fn records(&mut self, asked: &Value) -> Answer {
        let given: Vec<&str> = asked["ShardIterator"].as_str().unwrap().split('/').collect();
        let [given, id, place, stretch] = given[..] else { return refuse("InvalidArgumentException") };
        if given.parse::<usize>().unwrap() <= self.good_since {
            return refuse("ExpiredIteratorException");
        }
        let Some(shard) = self.shards.get_mut(id) else { return refuse("ResourceNotFoundException") };
        let place = place.parse::<usize>().unwrap().max(shard.trimmed);
        self.holes += 1;
        let stretch: usize = stretch.parse().unwrap();
        let is_hole = stretch > 0 || (self.has_holes && self.holes % 2 == 1);
        let count = if is_hole { 0 } else { usize::try_from(asked["Limit"].as_u64().unwrap()).unwrap() };
        let records = shard.records.iter().skip(place).take(count);
        let records: Vec<Value> = records
            .map(|(number, arrival_ms, record)| {
                let mut record = record.clone();
                record["SequenceNumber"] = number.as_str().into();
                record["ApproximateArrivalTimestamp"] = (*arrival_ms as f64 / 1_000.0).into();
                record
            })
            .collect();
        let next = place + records.len();
        let is_end = next == shard.records.len();
        let has_ended = is_end && shard.closed;
        if is_end && records.is_empty() && !is_hole && !has_ended {
            match self.arrives.take() {
                Some(text) => {
                    self.write(id, text);
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                None => *self.idle.entry(id.to_owned()).or_default() += 1,
            }
        }
        let behind_ms = if is_end && !is_hole { 0 } else { 1_000 };
        let mut said = json!({ "Records": records, "MillisBehindLatest": behind_ms });
        if has_ended {
            *self.asked.entry(format!("end of {id}")).or_default() += 1;
        }
        if !has_ended {
            said["NextShardIterator"] = self.give(id, next, stretch.saturating_sub(1)).into();
        } else if self.tells_children {
            said["ChildShards"] = self
                .shards
                .iter()
                .filter(|(_, one)| one.parents.iter().any(|one| one == id))
                .map(child)
                .collect();
        }
        (200, said)
    }

    /// The place of the record that a position names, if it names one.
    pub(crate) fn place_in(&self, shard: &str, position: &str) -> Option<usize> {
        self.shards[shard].records.iter().position(|(number, ..)| position.contains(number.as_str()))
    }

    /// The number of a record, counted from the first one that was ever written.
    pub(crate) fn number_of(&self, shard: &str, place: usize) -> String {
        self.shards[shard].records[place].0.clone()
    }
}

fn range(shard: &Shard) -> Value {
    let (start, end) = shard.range;
    json!({ "StartingHashKey": start.to_string(), "EndingHashKey": end.to_string() })
}

fn child((id, shard): (&String, &Shard)) -> Value {
    json!({ "ShardId": id, "ParentShards": shard.parents, "HashKeyRange": range(shard) })
}

fn listed((id, shard): (&String, &Shard)) -> Value {
    let mut numbers = json!({ "StartingSequenceNumber": "1" });
    if shard.closed {
        numbers["EndingSequenceNumber"] = "9223372036854775807".into();
    }
    let mut listed = json!({ "ShardId": id, "SequenceNumberRange": numbers, "HashKeyRange": range(shard) });
    for (name, parent) in ["ParentShardId", "AdjacentParentShardId"].into_iter().zip(&shard.parents) {
        listed[name] = parent.as_str().into();
    }
    listed
}
