//! A stream that is told what becomes of its shards: they are closed and go on, their records are thrown away, and they disappear; lists of them lag behind,
//! and iterators expire. No server that could be had does any of this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tidelock_dynamodb::{DynamoEvent, DynamoStream, DynamoStreamConfig, Item, Value as Attribute};

use super::fake::{Answer, Fake, refuse, table};

/// Numbers have 21 digits at least.
const NUMBER_FIRST: u128 = 100_000_000_000_000_000_000;

/// A stream, and the server that tells of it.
pub(crate) struct Scripted {
    pub(crate) fake: Fake,
    script: Arc<Mutex<Script>>,
}

/// What there is.
pub(crate) struct Script {
    pub(crate) table: String,
    pub(crate) label: String,
    /// Whether the table has the stream, or had it.
    pub(crate) is_on: bool,
    pub(crate) shards: BTreeMap<String, Shard>,
    /// How many shards a list has at most, before it goes on with another page.
    pub(crate) page: usize,
    /// So many lists lack these shards from now on.
    pub(crate) unlisted: BTreeMap<String, usize>,
    /// Shards that are listed, and nothing can be had of them any more.
    pub(crate) expired: BTreeSet<String>,
    /// Whether the last page of a list says that it goes on after a shard without a name.
    pub(crate) ends_with_empty_text: bool,
    /// So many times the next record of a shard is thrown away just when it is asked for.
    pub(crate) trims_at_read: BTreeMap<String, usize>,
    /// Whether every other answer has no records, though there are some.
    pub(crate) has_holes: bool,
    /// Whether the number under which a shard is listed is none of a record of it.
    pub(crate) first_is_none: bool,
    /// The shard whose children are asked for in vain.
    pub(crate) children_held: Option<String>,
    /// How often there was nothing more to read of a shard.
    pub(crate) idle: BTreeMap<String, usize>,
    /// What was asked, by the name of the call and perhaps the shard.
    pub(crate) asked: BTreeMap<String, usize>,
    numbers: u128,
    given: usize,
    /// Iterators that were given before are too old.
    good_since: usize,
    holes: usize,
}

pub(crate) struct Shard {
    /// That of its stream.
    label: String,
    parent: Option<String>,
    first: u128,
    records: Vec<(u128, Value)>,
    trimmed: usize,
    closed: bool,
}

impl Scripted {
    pub(crate) async fn start() -> Self {
        let script = Arc::new(Mutex::new(Script {
            table: "table".into(),
            label: "2026-11-30T03:00:00.000".into(),
            is_on: true,
            shards: BTreeMap::new(),
            page: 100,
            unlisted: BTreeMap::new(),
            expired: BTreeSet::new(),
            ends_with_empty_text: false,
            trims_at_read: BTreeMap::new(),
            has_holes: false,
            first_is_none: false,
            children_held: None,
            idle: BTreeMap::new(),
            asked: BTreeMap::new(),
            numbers: NUMBER_FIRST,
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

    pub(crate) fn config(&self) -> DynamoStreamConfig {
        let mut config = DynamoStreamConfig::new(self.fake.config(), "table");
        (config.idle_wait_ms, config.retry_for_ms) = (2, 2_000);
        config
    }

    pub(crate) async fn source(&self, change: impl FnOnce(&mut DynamoStreamConfig)) -> DynamoStream {
        let mut config = self.config();
        change(&mut config);
        DynamoStream::connect(config).await.unwrap()
    }
}

/// What a record was written with.
pub(crate) fn text_of(event: &DynamoEvent) -> &str {
    match event.new.as_ref().map(|new: &Item| &new["text"]) {
        Some(Attribute::S(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}

impl Script {
    pub(crate) fn arn(&self) -> String {
        self.arn_of(&self.label)
    }

    fn arn_of(&self, label: &str) -> String {
        format!("arn:aws:dynamodb:eu-central-1:123456789012:table/{}/stream/{label}", self.table)
    }

    fn number(&mut self) -> u128 {
        self.numbers += 1;
        self.numbers
    }

    /// An open shard that goes on from nothing.
    pub(crate) fn open(&mut self, shard: &str) {
        self.go_on(shard, None);
    }

    fn go_on(&mut self, shard: &str, parent: Option<&str>) {
        let parent = parent.map(str::to_owned);
        let first = self.number();
        let label = self.label.clone();
        let new = Shard { label, parent, first, records: Vec::new(), trimmed: 0, closed: false };
        assert!(self.shards.insert(shard.to_owned(), new).is_none(), "{shard} is there");
    }

    pub(crate) fn write(&mut self, shard: &str, text: impl Into<String>) {
        let number = self.number();
        let shard = self.shards.get_mut(shard).unwrap();
        assert!(!shard.closed);
        let text = text.into();
        let (pk, number_of_change) = text.split_once(':').unwrap();
        let record = json!({
            "eventID": number.to_string(),
            "eventName": "INSERT",
            "dynamodb": {
                "ApproximateCreationDateTime": jiff::Timestamp::now().as_second(),
                "Keys": { "pk": { "S": pk } },
                "NewImage": { "pk": { "S": pk }, "text": { "S": text }, "number": { "N": number_of_change } },
                "SequenceNumber": number.to_string(),
            },
        });
        shard.records.push((number, record));
    }

    /// Writes `shard:from` up to before `shard:to`.
    pub(crate) fn fill(&mut self, shard: &str, places: std::ops::Range<u64>) {
        places.for_each(|place| self.write(shard, format!("{shard}:{place}")));
    }

    /// Nothing is written to it any more, and these go on from it.
    pub(crate) fn close(&mut self, shard: &str, children: &[&str]) {
        self.shards.get_mut(shard).unwrap().closed = true;
        children.iter().for_each(|child| self.go_on(child, Some(shard)));
    }

    /// The stream is switched off: its open shards are closed, and nothing goes on from them.
    pub(crate) fn switch_off(&mut self) {
        self.is_on = false;
        self.shards.values_mut().for_each(|shard| shard.closed = true);
    }

    /// It is switched on again: that is another stream, which has no shards yet.
    pub(crate) fn switch_on(&mut self, label: &str) {
        (self.is_on, self.label) = (true, label.to_owned());
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
    pub(crate) fn age(&mut self, shard: &str, seconds: i64) {
        for (_, record) in &mut self.shards.get_mut(shard).unwrap().records {
            let time = &mut record["dynamodb"]["ApproximateCreationDateTime"];
            *time = (time.as_i64().unwrap() - seconds).into();
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
        match call {
            "DescribeTable" => table(self.is_on.then(|| self.arn()).as_deref()),
            "DescribeStream" => self.describe(asked),
            "GetShardIterator" => self.iterator(asked),
            "GetRecords" => self.records(asked),
            other => panic!("{other} is asked"),
        }
    }

    fn describe(&mut self, asked: &Value) -> Answer {
        let stream = asked["StreamArn"].as_str().unwrap().to_owned();
        let is_current = stream == self.arn();
        // One that is switched off is there for as long as its shards.
        if !is_current && !self.shards.values().any(|shard| stream == self.arn_of(&shard.label)) {
            return refuse("ResourceNotFoundException");
        }
        let parent = asked["ShardFilter"]["ShardId"].as_str();
        if let Some(parent) = parent {
            assert_eq!(asked["ShardFilter"]["Type"], "CHILD_SHARDS");
            *self.asked.entry(format!("children of {parent}")).or_default() += 1;
        }
        let after = asked["ExclusiveStartShardId"].as_str().unwrap_or_default();
        let is_asked_for = |(id, shard): &(&String, &Shard)| {
            let is_held = parent.is_some() && parent == self.children_held.as_deref();
            let is_child = parent.is_none() || shard.parent.as_deref() == parent;
            let is_child = is_child && stream == self.arn_of(&shard.label);
            is_child && !is_held && !self.unlisted.contains_key(*id) && id.as_str() > after
        };
        let mut shards: Vec<Value> = self.shards.iter().filter(is_asked_for).map(listed).collect();
        let has_more = shards.len() > self.page;
        shards.truncate(self.page);
        let last = has_more.then(|| shards[shards.len() - 1]["ShardId"].clone());
        if !has_more {
            self.unlisted.values_mut().for_each(|times| *times -= 1);
            self.unlisted.retain(|_, times| *times > 0);
        }
        let status = if self.is_on && is_current { "ENABLED" } else { "DISABLED" };
        let mut description = json!({ "StreamArn": stream, "StreamStatus": status, "Shards": shards });
        if let Some(last) = last {
            description["LastEvaluatedShardId"] = last;
        } else if self.ends_with_empty_text {
            description["LastEvaluatedShardId"] = "".into();
        }
        (200, json!({ "StreamDescription": description }))
    }

    fn iterator(&mut self, asked: &Value) -> Answer {
        let id = asked["ShardId"].as_str().unwrap();
        *self.asked.entry(format!("iterator of {id}")).or_default() += 1;
        let is_there =
            |shard: &&Shard| asked["StreamArn"] == self.arn_of(&shard.label) && !self.expired.contains(id);
        let Some(shard) = self.shards.get(id).filter(is_there) else {
            return refuse("ResourceNotFoundException");
        };
        let number = || asked["SequenceNumber"].as_str().unwrap().parse::<u128>().unwrap();
        let is_trimmed = |place: usize| place < shard.trimmed;
        let place_of = |number: u128| shard.records.iter().position(|(one, _)| *one == number);
        let place = match asked["ShardIteratorType"].as_str().unwrap() {
            "TRIM_HORIZON" => Some(shard.trimmed),
            "LATEST" => Some(shard.records.len()),
            "AT_SEQUENCE_NUMBER" if number() == shard.first && !self.first_is_none => Some(0),
            "AT_SEQUENCE_NUMBER" => place_of(number()),
            // What is after a record that was thrown away is not told any more.
            "AFTER_SEQUENCE_NUMBER" => match place_of(number()) {
                Some(place) if is_trimmed(place) => Some(place),
                place => place.map(|place| place + 1),
            },
            other => panic!("{other} is asked for"),
        };
        match place {
            None => refuse("ValidationException"),
            Some(place) if is_trimmed(place) => refuse("TrimmedDataAccessException"),
            Some(place) => {
                let iterator = self.give(id, place);
                (200, json!({ "ShardIterator": iterator }))
            }
        }
    }

    fn give(&mut self, shard: &str, place: usize) -> String {
        self.given += 1;
        format!("{}/{shard}/{place}", self.given)
    }

    fn records(&mut self, asked: &Value) -> Answer {
        let given: Vec<&str> = asked["ShardIterator"].as_str().unwrap().split('/').collect();
        let [given, id, place] = given[..] else { return refuse("ValidationException") };
        if given.parse::<usize>().unwrap() <= self.good_since {
            return refuse("ExpiredIteratorException");
        }
        let Some(shard) = self.shards.get_mut(id) else { return refuse("ResourceNotFoundException") };
        let place: usize = place.parse().unwrap();
        if let Some(times) = self.trims_at_read.get_mut(id).filter(|times| **times > 0) {
            *times -= 1;
            shard.trimmed = place + 1;
        }
        if place < shard.trimmed {
            return refuse("TrimmedDataAccessException");
        }
        self.holes += 1;
        let is_hole = self.has_holes && self.holes % 2 == 1;
        let count = if is_hole { 0 } else { usize::try_from(asked["Limit"].as_u64().unwrap()).unwrap() };
        let records: Vec<Value> =
            shard.records.iter().skip(place).take(count).map(|(_, record)| record.clone()).collect();
        let next = place + records.len();
        let is_end = next == shard.records.len();
        let has_ended = is_end && shard.closed;
        if is_end && records.is_empty() && !is_hole && !has_ended {
            *self.idle.entry(id.to_owned()).or_default() += 1;
        }
        let mut said = json!({ "Records": records });
        if !has_ended {
            said["NextShardIterator"] = self.give(id, next).into();
        }
        (200, said)
    }
}

fn listed((id, shard): (&String, &Shard)) -> Value {
    let mut range = json!({ "StartingSequenceNumber": shard.first.to_string() });
    if shard.closed {
        let last = shard.records.last().map_or(shard.first, |(number, _)| *number);
        range["EndingSequenceNumber"] = last.to_string().into();
    }
    let mut listed = json!({ "ShardId": id, "SequenceNumberRange": range });
    if let Some(parent) = &shard.parent {
        listed["ParentShardId"] = parent.as_str().into();
    }
    listed
}
