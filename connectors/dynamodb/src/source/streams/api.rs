//! What the service is asked, and which of its answers are no errors here.

use std::time::Duration;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::error::ProvideErrorMetadata;
use aws_sdk_dynamodbstreams::types::{
    Shard as WireShard, ShardFilter, ShardFilterType, ShardIteratorType, StreamDescription, StreamStatus,
};
use tidelock::{Error, ErrorKind, Patience, Result, Retry};
use tidelock_aws::{Answer, failed, says_nothing};

use super::event::DynamoEvent;
use crate::table::CALLS_AGAIN;

const LIST: &str = "list the shards of a stream";
const PLACE: &str = "find a place in a stream";
const READ: &str = "read a stream";

/// A stream has a few shards for each gigabyte of its table, and they are told a hundred at a time.
const PAGES_MAX: usize = 10_000;

/// A shard as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) id: String,
    /// The shard that it goes on from: perhaps one that is not there any more.
    pub(super) parent: Option<String>,
    /// The number of its first record.
    pub(super) first: Option<String>,
}

/// Shards of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    /// Whether there will be more: the stream is switched on.
    pub(super) is_growing: bool,
    pub(super) shards: Vec<Shard>,
}

/// Where in a shard an iterator begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Oldest,
    Latest,
    At(&'a str),
    After(&'a str),
}

/// Why there is nothing to be had, where trying again does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The records were thrown away.
    Trimmed,
    /// There is no such stream or shard.
    Gone,
    /// The iterator is too old.
    Stale,
    /// The service does not know what was named.
    Unknown,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) events: Vec<DynamoEvent>,
    /// `None`: the shard has ended here.
    pub(super) next: Option<String>,
}

/// What the service says to a question that was understood.
pub(super) type Said<T> = std::result::Result<T, Refusal>;

/// The service, asked until it answers.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    table: String,
    again_for: Duration,
}

impl Api {
    pub(super) fn new(client: Client, table: &str, again_for: Duration) -> Self {
        Self { client, table: table.to_owned(), again_for }
    }

    /// How long something is asked again.
    fn patience(&self) -> Patience {
        Patience::new(CALLS_AGAIN, self.again_for)
    }

    /// All shards that are there. `None`: there is no such stream.
    pub(super) async fn shards(&self, stream: &str) -> Result<Option<Listing>> {
        self.list(stream, None).await
    }

    /// The shards that go on from this one, as far as they are known.
    pub(super) async fn children(&self, stream: &str, shard: &str) -> Result<Option<Listing>> {
        let mut listing = self.list(stream, Some(shard)).await?;
        if let Some(listing) = &mut listing {
            // Some servers do not know the filter.
            listing.shards.retain(|one| one.parent.as_deref() == Some(shard));
        }
        Ok(listing)
    }

    /// The names of the shards that go on from one that has ended: waited for until they are told. `None`: the stream is not there any more. Of one that
    /// is switched off there may be none.
    pub(super) async fn children_of_ended(&self, stream: &str, shard: &str) -> Result<Option<Vec<Shard>>> {
        let mut patience = self.patience();
        loop {
            let Some(listing) = self.children(stream, shard).await? else { return Ok(None) };
            if !listing.shards.is_empty() || !listing.is_growing {
                return Ok(Some(listing.shards));
            }
            let why = "a shard has ended, and the shards that go on from it are not told yet";
            let error = Error::new(ErrorKind::Unavailable, LIST, why).with_retry(Retry::Retry);
            patience.after(error.with("shard", shard), &self.table).await?;
        }
    }

    async fn list(&self, stream: &str, children_of: Option<&str>) -> Result<Option<Listing>> {
        let mut listing = Listing { is_growing: false, shards: Vec::new() };
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let Some(page) = self.list_page(stream, children_of, after).await? else { return Ok(None) };
            let is_growing =
                matches!(page.stream_status, Some(StreamStatus::Enabled | StreamStatus::Enabling));
            listing.is_growing = is_growing;
            for shard in page.shards.unwrap_or_default() {
                listing.shards.push(Shard::of_wire(shard)?);
            }
            // Of an empty text there is none, whatever a server writes for it.
            after = page.last_evaluated_shard_id.filter(|last| !last.is_empty());
            if after.is_none() {
                return Ok(Some(listing));
            }
        }
        let why = "the list of its shards does not end";
        Err(Error::new(ErrorKind::Other, LIST, why).with("stream", stream))
    }

    async fn list_page(
        &self,
        stream: &str,
        children_of: Option<&str>,
        after: Option<String>,
    ) -> Result<Option<StreamDescription>> {
        let filter = children_of
            .map(|shard| ShardFilter::builder().r#type(ShardFilterType::ChildShards).shard_id(shard).build());
        let mut patience = self.patience();
        loop {
            let request = self.client.describe_stream().stream_arn(stream);
            let request =
                request.set_exclusive_start_shard_id(after.clone()).set_shard_filter(filter.clone());
            let error = match request.send().await {
                Ok(answer) => match answer.stream_description {
                    Some(description) => return Ok(Some(description)),
                    None => says_nothing(LIST).with("stream", stream),
                },
                Err(answer) if refusal(&answer) == Some(Refusal::Gone) => return Ok(None),
                Err(answer) => failed(LIST, answer).with("stream", stream),
            };
            patience.after(error, &self.table).await?;
        }
    }

    /// An iterator that begins there.
    pub(super) async fn iterator(&self, stream: &str, shard: &str, place: Place<'_>) -> Result<Said<String>> {
        let (kind, number) = match place {
            Place::Oldest => (ShardIteratorType::TrimHorizon, None),
            Place::Latest => (ShardIteratorType::Latest, None),
            Place::At(number) => (ShardIteratorType::AtSequenceNumber, Some(number)),
            Place::After(number) => (ShardIteratorType::AfterSequenceNumber, Some(number)),
        };
        let mut patience = self.patience();
        loop {
            let request = self.client.get_shard_iterator().stream_arn(stream).shard_id(shard);
            let request =
                request.shard_iterator_type(kind.clone()).set_sequence_number(number.map(str::to_owned));
            let error = match request.send().await {
                Ok(answer) => match answer.shard_iterator {
                    Some(iterator) => return Ok(Ok(iterator)),
                    None => says_nothing(PLACE).with("shard", shard),
                },
                Err(answer) => match refusal(&answer) {
                    Some(refusal) => return Ok(Err(refusal)),
                    None => failed(PLACE, answer).with("shard", shard),
                },
            };
            patience.after(error, &self.table).await?;
        }
    }

    /// What comes next.
    pub(super) async fn records(&self, iterator: &str, records_max: u32) -> Result<Said<Page>> {
        let records_max = i32::try_from(records_max).unwrap_or(i32::MAX);
        let mut patience = self.patience();
        loop {
            let request = self.client.get_records().shard_iterator(iterator).limit(records_max);
            let error = match request.send().await {
                Ok(answer) => match answer.records {
                    Some(records) => {
                        let events = records.into_iter().map(DynamoEvent::of_wire);
                        let events = events.collect::<Result<_>>()?;
                        // Of an empty text there is none, whatever a server writes for it.
                        let next = answer.next_shard_iterator.filter(|next| !next.is_empty());
                        return Ok(Ok(Page { events, next }));
                    }
                    // Taken for an answer it would be the end of the shard.
                    None => says_nothing(READ),
                },
                Err(answer) => match refusal(&answer) {
                    Some(refusal) => return Ok(Err(refusal)),
                    None => failed(READ, answer),
                },
            };
            patience.after(error, &self.table).await?;
        }
    }
}

impl Shard {
    fn of_wire(shard: WireShard) -> Result<Self> {
        let none = || Error::new(ErrorKind::Data, LIST, "a shard has no name");
        let first = shard.sequence_number_range.and_then(|range| range.starting_sequence_number);
        // Of an empty text there is none, whatever a server writes for it.
        let parent = shard.parent_shard_id.filter(|parent| !parent.is_empty());
        Ok(Self { id: shard.shard_id.ok_or_else(none)?, parent, first })
    }
}

/// What is an answer here, of what the service calls an error.
fn refusal<E: ProvideErrorMetadata>(answer: &Answer<E>) -> Option<Refusal> {
    match answer.as_service_error()?.code()? {
        "TrimmedDataAccessException" => Some(Refusal::Trimmed),
        "ResourceNotFoundException" => Some(Refusal::Gone),
        "ExpiredIteratorException" => Some(Refusal::Stale),
        "ValidationException" => Some(Refusal::Unknown),
        _ => None,
    }
}
