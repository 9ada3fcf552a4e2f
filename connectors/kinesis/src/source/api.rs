//! What the service is asked, and which of its answers are no errors here.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{Shard as WireShard, ShardIteratorType, StreamDescriptionSummary};
use tidelock::{Error, ErrorKind, Patience, Result, Retry};
use tidelock_aws::{Answer, failed, says_nothing};

use super::fetch::{Child, Place, Raw, Refusal, Said, range_of};
use crate::client::CALLS_AGAIN;
use crate::hash_key::HashRange;

const LOOK: &str = "look at a stream";
const LIST: &str = "list the shards of a stream";
const PLACE: &str = "find a place in a stream";
const READ: &str = "read a stream";

/// Of a thousand shards each: more than any stream has, with all that were split and merged.
const PAGES_MAX: usize = 10_000;

/// A stream as it is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) arn: String,
    pub(crate) name: String,
    /// When it was made, in milliseconds since 1970: one that is made again under its name is another one.
    pub(crate) made_ms: i64,
    /// For how long it keeps what was put, in milliseconds.
    pub(crate) kept_ms: i64,
    /// The most bytes of a record, with its key, where that is told.
    pub(crate) record_bytes_max: Option<usize>,
}

/// A shard as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) id: String,
    /// The shards that it goes on from, one or two: perhaps some that are not there any more.
    pub(crate) parents: Vec<String>,
    pub(crate) range: HashRange,
    /// The number of its first record, where the service says it.
    pub(crate) first: Option<String>,
}

/// What one call brought.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) records: Vec<Raw>,
    /// `None`: the shard has ended here.
    pub(super) next: Option<String>,
    pub(super) behind_ms: Option<i64>,
    pub(super) children: Vec<Child>,
}

/// The service, asked until it answers.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    client: Client,
    again_for: Duration,
}

impl Api {
    pub(crate) fn new(client: Client, again_for: Duration) -> Self {
        Self { client, again_for }
    }

    /// How long something is asked again.
    fn patience(&self) -> Patience {
        Patience::new(CALLS_AGAIN, self.again_for)
    }

    /// A stream, by its name or ARN.
    pub(crate) async fn summary(&self, stream: &str) -> Result<Said<Summary>> {
        let mut patience = self.patience();
        loop {
            let (name, arn) = name_or_arn(stream);
            let request = self.client.describe_stream_summary().set_stream_name(name).set_stream_arn(arn);
            let error = match request.send().await {
                Ok(answer) => match answer.stream_description_summary.filter(is_whole) {
                    Some(summary) => return Ok(Ok(Summary::of_wire(summary)?)),
                    None => says_nothing(LOOK),
                },
                Err(answer) if refusal(&answer) == Some(Refusal::Gone) => return Ok(Err(Refusal::Gone)),
                Err(answer) => failed(LOOK, answer),
            };
            patience.after(error.with("stream", stream), stream).await?;
        }
    }

    /// All shards that are there, closed ones too for as long as something of them may be kept.
    pub(crate) async fn shards(&self, arn: &str) -> Result<Said<Vec<Shard>>> {
        let mut patience = self.patience();
        loop {
            let error = match self.list(arn).await {
                Ok(said) => return Ok(said),
                Err(error) => error.with("stream", arn),
            };
            // A list whose place is too old is begun anew, as after any failure.
            patience.after(error, arn).await?;
        }
    }

    async fn list(&self, arn: &str) -> Result<Said<Vec<Shard>>> {
        let (mut shards, mut token) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let request = self.client.list_shards();
            // The token says which stream it is of, and a call with both is refused.
            let request = match token {
                Some(token) => request.next_token(token),
                None => request.stream_arn(arn),
            };
            let answer = match request.send().await {
                Ok(answer) => answer,
                Err(answer) if refusal(&answer) == Some(Refusal::Gone) => return Ok(Err(Refusal::Gone)),
                Err(answer) => return Err(failed(LIST, answer)),
            };
            let page = answer.shards.ok_or_else(|| says_nothing(LIST))?;
            shards.extend(page.into_iter().map(Shard::of_wire).collect::<Result<Vec<_>>>()?);
            // Of an empty text there is none, whatever a server writes for it.
            token = answer.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(Ok(shards));
            }
        }
        Err(Error::new(ErrorKind::Other, LIST, "the list of its shards does not end"))
    }

    /// The shards that go on from one that has ended: waited for until they are told. `Err`: the stream is not there any more.
    pub(crate) async fn children_of_ended(&self, arn: &str, shard: &str) -> Result<Said<Vec<Child>>> {
        let mut patience = self.patience();
        loop {
            let shards = match self.shards(arn).await? {
                Ok(shards) => shards,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let children = children(shards, shard);
            if !children.is_empty() {
                return Ok(Ok(children));
            }
            let why = "a shard has ended, and the shards that go on from it are not told yet";
            let error = Error::new(ErrorKind::Unavailable, LIST, why).with_retry(Retry::Retry);
            patience.after(error.with("shard", shard), arn).await?;
        }
    }

    /// An iterator that begins there.
    pub(super) async fn iterator(&self, arn: &str, shard: &str, place: Place<'_>) -> Result<Said<String>> {
        let (kind, number, time) = match place {
            Place::Oldest => (ShardIteratorType::TrimHorizon, None, None),
            Place::At(number) => (ShardIteratorType::AtSequenceNumber, Some(number), None),
            Place::After(number) => (ShardIteratorType::AfterSequenceNumber, Some(number), None),
            Place::Time(at_ms) => (ShardIteratorType::AtTimestamp, None, Some(DateTime::from_millis(at_ms))),
        };
        let mut patience = self.patience();
        loop {
            let request = self.client.get_shard_iterator().stream_arn(arn).shard_id(shard);
            let request = request.shard_iterator_type(kind.clone()).set_timestamp(time);
            let error = match request.set_starting_sequence_number(number.map(str::to_owned)).send().await {
                Ok(answer) => match answer.shard_iterator.filter(|iterator| !iterator.is_empty()) {
                    Some(iterator) => return Ok(Ok(iterator)),
                    None => says_nothing(PLACE),
                },
                Err(answer) => match refusal(&answer) {
                    Some(refusal) => return Ok(Err(refusal)),
                    None => failed(PLACE, answer),
                },
            };
            patience.after(error.with("shard", shard), arn).await?;
        }
    }

    /// What comes next.
    pub(super) async fn records(&self, iterator: &str, records_max: u32) -> Result<Said<Records>> {
        let records_max = i32::try_from(records_max).unwrap_or(i32::MAX);
        let mut patience = self.patience();
        loop {
            let request = self.client.get_records().shard_iterator(iterator).limit(records_max);
            let error = match request.send().await {
                Ok(answer) => {
                    // Of an empty text there is none, whatever a server writes for it.
                    let next = answer.next_shard_iterator.filter(|next| !next.is_empty());
                    let (behind_ms, children) = (answer.millis_behind_latest, answer.child_shards);
                    // Taken for an answer it would be the end of the shard.
                    if next.is_none() && behind_ms.is_none() && children.is_none() {
                        says_nothing(READ)
                    } else {
                        let records = answer.records.into_iter().map(Raw::of_wire);
                        let records = records.collect::<Result<_>>()?;
                        let children = children.unwrap_or_default().into_iter().map(Child::of_wire);
                        let children = children.collect::<Result<_>>()?;
                        return Ok(Ok(Records { records, next, behind_ms, children }));
                    }
                }
                Err(answer) => match refusal(&answer) {
                    Some(refusal) => return Ok(Err(refusal)),
                    None => failed(READ, answer),
                },
            };
            patience.after(error, "").await?;
        }
    }
}

impl Summary {
    fn of_wire(summary: StreamDescriptionSummary) -> Result<Self> {
        const HOUR_MS: i64 = 3_600 * 1_000;
        let made_ms = summary.stream_creation_timestamp.to_millis().map_err(|error| {
            Error::new(ErrorKind::Data, LOOK, "the time when the stream was made is none").because(error)
        })?;
        let kib = summary.max_record_size_in_kib.and_then(|kib| usize::try_from(kib).ok());
        Ok(Self {
            record_bytes_max: kib.filter(|kib| *kib > 0).map(|kib| kib * 1_024),
            arn: summary.stream_arn,
            name: summary.stream_name,
            made_ms,
            kept_ms: i64::from(summary.retention_period_hours) * HOUR_MS,
        })
    }
}

impl Shard {
    fn of_wire(shard: WireShard) -> Result<Self> {
        let WireShard { shard_id: id, parent_shard_id, adjacent_parent_shard_id, .. } = shard;
        let (hash_key_range, numbers) = (shard.hash_key_range, shard.sequence_number_range);
        let range = range_of(&id, hash_key_range.as_ref())?;
        // Of an empty text there is none, whatever a server writes for it.
        let parents = parent_shard_id.into_iter().chain(adjacent_parent_shard_id);
        let parents = parents.filter(|parent| !parent.is_empty()).collect();
        let first = numbers.map(|numbers| numbers.starting_sequence_number).filter(|first| !first.is_empty());
        Ok(Self { id, parents, range, first })
    }
}

/// Of a list those that go on from this shard.
pub(crate) fn children(shards: Vec<Shard>, shard: &str) -> Vec<Child> {
    let children = shards.into_iter().filter(|one| one.parents.iter().any(|parent| parent == shard));
    children.map(|Shard { id, parents, range, .. }| Child { id, parents, range }).collect()
}

/// The SDK puts empty texts where there is nothing.
fn is_whole(summary: &StreamDescriptionSummary) -> bool {
    !summary.stream_arn.is_empty() && !summary.stream_name.is_empty()
}

fn name_or_arn(stream: &str) -> (Option<String>, Option<String>) {
    let text = Some(stream.to_owned());
    if stream.starts_with("arn:") { (None, text) } else { (text, None) }
}

/// What is an answer here, of what the service calls an error.
fn refusal<E: ProvideErrorMetadata>(answer: &Answer<E>) -> Option<Refusal> {
    match answer.as_service_error()?.code()? {
        "ResourceNotFoundException" => Some(Refusal::Gone),
        "ExpiredIteratorException" => Some(Refusal::Stale),
        "InvalidArgumentException" => Some(Refusal::Unknown),
        _ => None,
    }
}
