//! The bare loop into DynamoDB: consume, write items with many requests at once, commit the offsets of what has arrived.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Failure;
use crate::args::RawLoop;
use crate::clock::Clock;
use crate::dynamodb;
use crate::reader::Stamp;

/// Requests at once, as many as Tidelock's sink makes by default.
const AT_ONCE: usize = 64;

/// DynamoDB takes so many items in one request.
const ITEMS_MAX: usize = 25;

/// The attribute with the version, and how long its text is: as Tidelock's.
const VERSION: &str = "tidelock_version";
const VERSION_DIGITS: usize = 59;

const WRITE: &str = "write items";

type Item = HashMap<String, AttributeValue>;

/// Items are sent as they come, many in one request where many wait, and the offsets of what has arrived are committed at each interval.
pub(crate) fn run(arguments: &RawLoop, url: &str, consumer: &BaseConsumer) -> Result<(), Failure> {
    let failed = |error| Failure::new("consume", error);
    let RawLoop { to, interval, conditional, .. } = arguments;
    let mut requests = Requests::new(url, to)?;
    let items_max = if *conditional { 1 } else { ITEMS_MAX };
    let clock = Clock::start();
    let (mut due, mut is_stored, mut items) = (*interval, true, Vec::new());
    loop {
        let patience = if items.is_empty() { Duration::from_millis(1) } else { Duration::ZERO };
        if let Some(message) = consumer.poll(patience) {
            let message = message.map_err(failed)?;
            let Some(value) = message.payload() else { continue };
            let Some(stamp) = Stamp::read(value) else { continue };
            let item = dynamodb::item(stamp, &value[16..]);
            if *conditional {
                requests.put(item, stamp.number)?;
                is_stored = false;
            } else {
                items.push(item);
            }
            if items.len() < items_max && clock.elapsed() < due {
                continue;
            }
        }
        if !items.is_empty() {
            is_stored = false;
            requests.write(std::mem::take(&mut items))?;
        }
        if clock.elapsed() >= due {
            due = (due + *interval).max(clock.elapsed());
            if !is_stored {
                requests.wait()?;
                consumer.commit_consumer_state(CommitMode::Async).map_err(failed)?;
                is_stored = true;
            }
        }
    }
}

/// Requests that are under way.
struct Requests {
    runtime: Runtime,
    client: Client,
    table: String,
    places: Arc<Semaphore>,
    under_way: JoinSet<Result<(), Failure>>,
}

impl Requests {
    fn new(url: &str, table: &str) -> Result<Self, Failure> {
        let runtime = Runtime::new().map_err(|error| Failure::new("start threads", error))?;
        Ok(Self {
            runtime,
            client: dynamodb::client(url),
            table: table.to_owned(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            under_way: JoinSet::new(),
        })
    }

    /// Begins a request when there is a place for it.
    fn begin(
        &mut self,
        request: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) -> Result<(), Failure> {
        while let Some(ended) = self.under_way.try_join_next() {
            ended.map_err(|error| Failure::new(WRITE, error))??;
        }
        let place = self.runtime.block_on(Arc::clone(&self.places).acquire_owned());
        let place = place.map_err(|error| Failure::new(WRITE, error))?;
        let request = async move {
            let answered = request.await;
            drop(place);
            answered
        };
        self.under_way.spawn_on(request, self.runtime.handle());
        Ok(())
    }

    /// Begins to write items by one request, and by more of them where a part is not processed.
    fn write(&mut self, items: Vec<Item>) -> Result<(), Failure> {
        let (client, table) = (self.client.clone(), self.table.clone());
        let put = |item| {
            let put = PutRequest::builder().set_item(Some(item)).build();
            put.map(|put| WriteRequest::builder().put_request(put).build())
        };
        let left: Result<Vec<_>, _> = items.into_iter().map(put).collect();
        let left = left.map_err(|error| dynamodb::failed(WRITE, error))?;
        self.begin(async move {
            let mut left = HashMap::from([(table, left)]);
            while !left.is_empty() {
                let sent = client.batch_write_item().set_request_items(Some(left)).send().await;
                let answer = sent.map_err(|error| dynamodb::failed(WRITE, error))?;
                left = answer.unprocessed_items.unwrap_or_default();
            }
            Ok(())
        })
    }

    /// Begins to write an item, where nothing newer is there.
    fn put(&mut self, mut item: Item, version: u64) -> Result<(), Failure> {
        let version = AttributeValue::S(format!("{version:0VERSION_DIGITS$}"));
        item.insert(VERSION.to_owned(), version.clone());
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let request = request
            .condition_expression("attribute_not_exists(#version) OR #version < :version")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":version", version);
        self.begin(async move {
            match request.send().await {
                Ok(_) => Ok(()),
                Err(error) if is_newer_there(&error) => Ok(()),
                Err(error) => Err(dynamodb::failed(WRITE, error)),
            }
        })
    }

    /// Waits until all of them have ended.
    fn wait(&mut self) -> Result<(), Failure> {
        let Self { runtime, under_way, .. } = self;
        runtime.block_on(async {
            while let Some(ended) = under_way.join_next().await {
                ended.map_err(|error| Failure::new(WRITE, error))??;
            }
            Ok(())
        })
    }
}

type PutError = aws_sdk_dynamodb::error::SdkError<aws_sdk_dynamodb::operation::put_item::PutItemError>;

fn is_newer_there(error: &PutError) -> bool {
    error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception())
}
