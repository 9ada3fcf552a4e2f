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
        Ok(Self { client, reading: Arc::new(Reading { config, api, losses }) })
    }

    /// What is in the snapshot is of the stream that the table has now. What comes between two streams of a table is in neither.
    fn check(&self, known: &Known<DynamoShard>, current: Option<&str>) -> Result<()> {
        let Some(other) = known.active.iter().find(|shard| Some(shard.stream.as_str()) != current) else {
            return Ok(());
        };
        let error = match current {
            None => is_off(&self.reading.config.table),
            Some(current) if table_of(current) != table_of(&other.stream) => {
                let why = "the position in the snapshot is of another table: give the source a new uid, or the old table";
                let error =
                    Error::new(ErrorKind::Config, "read a stream", why).with("table", table_of(current));
                return Err(error.with("was", table_of(&other.stream)));
            }
            Some(current) => {
                let why =
                    "the table has another stream now: what was written while it had none is in neither";
                loss(ErrorKind::Expired, why).with("stream", current)
            }
        };
        let then = "the old stream is read to its end, and the new one from its beginning";
        self.reading.losses.accept(error.with("was", &other.stream), then)
    }
}

fn is_off(table: &str) -> Error {
    let why = "the table has no stream, or it is switched off: what changes now is nowhere to be read. Switch it on \
               (StreamSpecification: StreamEnabled, with the StreamViewType NEW_AND_OLD_IMAGES for both images)";
    Error::new(ErrorKind::NotFound, "read a stream", why).with("table", table)
}

/// The streams that something is known of, and the one that there is now.
fn streams_of(known: &Known<DynamoShard>, current: Option<&str>) -> BTreeSet<String> {
    let active = known.active.iter().map(|shard| shard.stream.as_str());
    let finished = known.finished.iter().filter_map(DynamoShard::place_of).map(|(stream, _)| stream);
    active.chain(finished).chain(current).map(str::to_owned).collect()
}

/// What is known of the shards of one stream.
fn known_of(known: &Known<DynamoShard>, stream: &str) -> lineage::Known {
    let is_of = |shard: &&DynamoShard| shard.stream == stream;
    let finished = known.finished.iter().filter_map(DynamoShard::place_of);
    let ended = known.ended.iter().filter(is_of);
    lineage::Known {
        active: known.active.iter().filter(is_of).map(|shard| shard.shard.clone()).collect(),
        finished: finished.filter(|(of, _)| *of == stream).map(|(_, shard)| shard.to_owned()).collect(),
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
        let mut discovery = Discovery::default();
        for stream in streams_of(known, current.as_deref()) {
            let family = Family {
                reading: &self.reading,
                stream: &stream,
                known: known_of(known, &stream),
                first_run: known.first_run,
            };
            let Found { new, forget } = family.find().await?;
            discovery.new.extend(new);
            discovery.forget.extend(forget.iter().map(|shard| DynamoShard::id_of(&stream, shard)));
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
        assert_eq!(streams_of(&known, Some(&arn(3))), [0, 1, 2, 3].map(arn).into());
        let of = known_of(&known, &arn(2));
        assert!(of.active.contains("C") && of.finished.contains("B") && of.ended.is_empty());
        assert_eq!((of.active.len(), of.finished.len()), (1, 1));
        let of = known_of(&known, &arn(1));
        assert!(of.active.is_empty() && of.finished.contains("A") && of.ended.contains_key("A"));
    }
}
