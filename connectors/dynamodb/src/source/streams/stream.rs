//! The source: finds shards, decides once where each begins, opens readers.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use tidelock::{Discovery, Error, ErrorKind, Known, Result, Source};

use super::api::Api;
use super::config::{DynamoStreamConfig, OnDataLoss};
use super::event::DynamoEvent;
use super::family::{Family, Found};
use super::lineage;
use super::loss::{Losses, loss};
use super::reader::DynamoStreamReader;
use super::reading::Reading;
use super::shard::{DynamoShard, table_of};
use crate::client::clients;
use crate::deleted::Deleted;
use crate::table::Table;

/// Reads the changes of a table from its stream: see the [crate's page](crate) for what it guarantees.
///
/// ```no_run
/// # use tidelock_dynamodb::{AwsConfig, DynamoStream, DynamoStreamConfig, StreamStart};
/// # async fn connect() -> tidelock::Result<()> {
/// let mut config = DynamoStreamConfig::new(AwsConfig::new(), "flights");
/// config.start = StreamStart::Now;
/// let changes = DynamoStream::connect(config).await?;
/// # Ok(()) }
/// ```
pub struct DynamoStream {
    client: Client,
    reading: Arc<Reading>,
}

impl fmt::Debug for DynamoStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoStream").field("config", &self.reading.config).finish_non_exhaustive()
    }
}

impl DynamoStream {
    /// Looks at the table and its stream: what is missing is told now, and not when the job has begun.
    ///
    /// # Errors
    /// Where a setting cannot work, DynamoDB cannot be reached or refuses, or the table or its stream is not there.
    pub async fn connect(config: DynamoStreamConfig) -> Result<Self> {
        config.validate()?;
        let (client, streams) = clients(&config.dynamodb).await?;
        let table = Table::look(&client, &config.table).await?;
        if table.stream_arn.is_none() && config.on_data_loss == OnDataLoss::Fail {
            return Err(is_off(&config.table));
        }
        let api = Api::new(streams, &config.table, Duration::from_millis(config.retry_for_ms));
        let losses = Losses::new(config.on_data_loss, &config.table);
        let deleted = Deleted::by(&config.deleted_attribute);
        Ok(Self { client, reading: Arc::new(Reading { config, api, losses, deleted }) })
    }

    /// What is in the snapshot is of the stream that the table has now. What comes between two streams of a table is in neither, whether the older one
    /// was read to its end or not.
    fn check(&self, known: &Known<DynamoShard>, current: Option<&str>) -> Result<()> {
        const THEN: &str = "the old stream is read to its end, and after it the new one from its beginning";
        let losses = &self.reading.losses;
        let Some(current) = current else {
            return losses.accept(is_off(&self.reading.config.table), THEN);
        };
        let streams = known_streams(known);
        // Once something is known of the new one, it was accepted that there is a gap before it.
        let Some(other) = streams.last().filter(|_| !streams.contains(current)) else { return Ok(()) };
        if table_of(current) != table_of(other) {
            let why = "the position in the snapshot is of another table: give the source a new uid, or the old table";
            let error = Error::new(ErrorKind::Config, "read a stream", why);
            return Err(error.with("table", table_of(current)).with("was", table_of(other)));
        }
        let why = "the table has another stream now: what was written while it had none is in neither";
        let loss = loss(ErrorKind::Expired, why).with("stream", current);
        losses.accept(loss.with("was", other), THEN)
    }
}

fn is_off(table: &str) -> Error {
    let why = "the table has no stream, or it is switched off: what changes now is nowhere to be read. Switch it on \
               (StreamSpecification: StreamEnabled, with the StreamViewType NEW_AND_OLD_IMAGES for both images)";
    Error::new(ErrorKind::NotFound, "read a stream", why).with("table", table)
}

/// The streams that something is known of. Their names have the moment in them when they were switched on, and so the newest is the last.
fn known_streams(known: &Known<DynamoShard>) -> BTreeSet<&str> {
    let active = known.active.iter().map(|shard| shard.stream.as_str());
    let finished = known.finished.iter().filter_map(DynamoShard::place_of).map(|(stream, _)| stream);
    active.chain(finished).collect()
}

/// What is known of the shards of one stream.
fn known_of(known: &Known<DynamoShard>, stream: &str) -> lineage::Known {
    let is_of = |shard: &&DynamoShard| shard.stream == stream;
    let finished = known.finished.iter().filter_map(DynamoShard::place_of);
    let (active, ended) = (known.active.iter().filter(is_of), known.ended.iter().filter(is_of));
    let parent = |shard: &DynamoShard| Some((shard.shard.clone(), shard.parent.clone()?));
    lineage::Known {
        active: active.clone().map(|shard| shard.shard.clone()).collect(),
        finished: finished.filter(|(of, _)| *of == stream).map(|(_, shard)| shard.to_owned()).collect(),
        parents: active.chain(ended.clone()).filter_map(parent).collect(),
        ended: ended.map(|shard| (shard.shard.clone(), shard.clone())).collect(),
    }
}

#[async_trait]
impl Source for DynamoStream {
    type Record = DynamoEvent;
    type Split = DynamoShard;
    type Reader = DynamoStreamReader;

    async fn discover(&self, known: &Known<DynamoShard>) -> Result<Discovery<DynamoShard>> {
        let Reading { config, .. } = &*self.reading;
        let current = Table::look(&self.client, &config.table).await?.stream_arn;
        if current.is_none() && known.first_run {
            return Err(is_off(&config.table));
        }
        self.check(known, current.as_deref())?;
        let (mut discovery, mut is_older_read) = (Discovery::default(), false);
        let mut streams = known_streams(known);
        streams.extend(current.as_deref());
        for stream in streams {
            let family = Family {
                reading: &self.reading,
                stream,
                known: known_of(known, stream),
                first_run: known.first_run,
            };
            let is_read = !family.known.active.is_empty();
            let Found { new, forget } = family.find().await?;
            // The changes of an item go on from one stream to the next: nothing of a newer one is read beside an older one.
            if !is_older_read {
                is_older_read = is_read || !new.is_empty();
                discovery.new.extend(new);
            }
            discovery.forget.extend(forget.iter().map(|shard| DynamoShard::id_of(stream, shard)));
        }
        Ok(discovery)
    }

    async fn open(&self, split: DynamoShard) -> Result<DynamoStreamReader> {
        DynamoStreamReader::open(Arc::clone(&self.reading), split).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::shard::Position;
    use super::*;

    fn shard(stream: &str, shard: &str) -> DynamoShard {
        DynamoShard {
            stream: stream.into(),
            shard: shard.into(),
            parent: None,
            position: Position::After("1".into()),
            children: None,
        }
    }

    #[test]
    fn what_is_known_is_told_apart_by_stream_and_every_stream_of_it_is_looked_at() {
        let arn = |number: u8| format!("arn:a:table/t/stream/{number}");
        let finished = |number, shard: &str| DynamoShard::id_of(&arn(number), shard);
        let known = Known {
            active: vec![shard(&arn(2), "C")],
            finished: vec![finished(1, "A"), finished(2, "B"), finished(0, "Z")],
            ended: vec![shard(&arn(1), "A")],
            first_run: false,
        };
        let all = [0, 1, 2].map(arn);
        assert_eq!(known_streams(&known), all.iter().map(String::as_str).collect());
        let of = known_of(&known, &arn(2));
        assert!(of.active.contains("C") && of.finished.contains("B") && of.ended.is_empty());
        assert_eq!((of.active.len(), of.finished.len()), (1, 1));
        let of = known_of(&known, &arn(1));
        assert!(of.active.is_empty() && of.finished.contains("A") && of.ended.contains_key("A"));
    }
}
