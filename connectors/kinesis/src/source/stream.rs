//! The source: finds shards, decides once where each begins, opens readers.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use tidelock::{Discovery, Error, ErrorKind, Known, Result, Source, SplitId};

use super::api::{Api, Summary};
use super::config::{KinesisStreamConfig, OnDataLoss, StreamStart, StreamStop, name_of};
use super::family::{Family, Found};
use super::fan_out::Consumers;
use super::fetch::Fetch;
use super::given::Given;
use super::lineage;
use super::loss::loss;
use super::polling::Polling;
use super::reader::KinesisReader;
use super::reading::{Reading, now_ms};
use super::shard::{KinesisShard, Made};
use crate::client::client;
use crate::leases::{Export, Leases, all_of};
use crate::record::KinesisRecord;

/// Reads the records of streams: see the [crate's page](crate) for what it guarantees.
///
/// ```no_run
/// # use tidelock_kinesis::{AwsConfig, KinesisStream, KinesisStreamConfig, StreamStart};
/// # async fn connect() -> tidelock::Result<()> {
/// let mut config = KinesisStreamConfig::new(AwsConfig::new(), ["flights"]);
/// config.start = StreamStart::Latest;
/// let records = KinesisStream::connect(config).await?;
/// # Ok(()) }
/// ```
pub struct KinesisStream {
    reading: Arc<Reading>,
    export: Option<Export>,
    /// Where shards are read by enhanced fan-out.
    consumers: Option<Consumers>,
}

impl fmt::Debug for KinesisStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisStream").field("config", &self.reading.config).finish_non_exhaustive()
    }
}

impl KinesisStream {
    /// Looks at the streams: what is missing is told now, and not when the job has begun.
    ///
    /// # Errors
    /// Where a setting cannot work, Kinesis cannot be reached or refuses, or a stream is not there and the job halts for what is lost.
    pub async fn connect(config: KinesisStreamConfig) -> Result<Self> {
        config.validate()?;
        let client = client(&config.kinesis).await?;
        let mut source = Self::of(config, &client);
        if let Some(export) = &source.reading.config.export {
            source.export = Some(Export::open(export.clone(), &source.reading.config.streams).await?);
        }
        for stream in &source.reading.config.streams {
            match (source.reading.new_summary(stream).await?, &source.consumers) {
                (Err(_), _) => source.is_missing(stream)?,
                (Ok(summary), Some(consumers)) => consumers.ready(&summary.arn).await?,
                (Ok(_), None) => {}
            }
        }
        Ok(source)
    }

    pub(super) fn of(config: KinesisStreamConfig, client: &Client) -> Self {
        let consumers = Consumers::of(client, &config);
        let api = Api::new(client.clone(), Duration::from_millis(config.retry_for_ms));
        Self { reading: Arc::new(Reading::new(config, api)), consumers, export: None }
    }

    /// Removes the consumers of enhanced fan-out, where their [lifecycle](crate::ConsumerLifecycle) says so. For when the job has ended: who reads by them elsewhere is
    /// cut off.
    ///
    /// # Errors
    /// Where Kinesis refuses, or is away for too long.
    pub async fn close(&self) -> Result<()> {
        match &self.consumers {
            Some(consumers) => consumers.remove().await,
            None => Ok(()),
        }
    }

    /// Where an application of KCL was, for a first run that begins there. It is decided here, once (I9).
    async fn leased(&self, first_run: bool) -> Result<Vec<Given>> {
        let config = &self.reading.config;
        let StreamStart::Leases(from) = &config.start else { return Ok(Vec::new()) };
        if !first_run {
            return Ok(Vec::new());
        }
        let leases = Leases::read(from).await?;
        leases.check_nobody_writes(from)?;
        let plan = leases.plan_with(from, &self.reading.api, &config.streams).await?;
        plan.given(config.on_data_loss != OnDataLoss::Fail)
    }

    /// Whether positions are exported with the names of their streams.
    fn names_streams(&self) -> bool {
        self.reading.config.streams.len() > 1
    }

    fn is_missing(&self, stream: &str) -> Result<()> {
        let why = "the stream is not there: it was deleted, or it is in another region or account";
        self.reading.losses.accept(stream, loss(ErrorKind::NotFound, why), "it goes on with what is there")
    }

    /// What is in the snapshot is of the streams that are there now, and of no others.
    fn check(&self, summary: &Summary, made: &BTreeSet<Made<'_>>) -> Result<()> {
        let now = Made { stream: &summary.arn, at_ms: summary.made_ms };
        // Once something is known of the new one, it was accepted that there is a gap before it.
        let other = made.iter().find(|made| made.stream == now.stream).filter(|_| !made.contains(&now));
        let Some(other) = other else { return Ok(()) };
        let why = "the stream was deleted and made again: what was not read of the old one is lost";
        let loss = loss(ErrorKind::Expired, why).with("made_ms", now.at_ms).with("was_made_ms", other.at_ms);
        self.reading.losses.accept(now.stream, loss, "the new one is read from its beginning")
    }

    /// Where the job ends: decided once, and then what the snapshot says of any shard.
    fn stop_ms(&self, known: &Known<KinesisShard>) -> Option<i64> {
        let mut shards = known.active.iter().chain(&known.ended).peekable();
        if !known.first_run && shards.peek().is_some() {
            return shards.find_map(|shard| shard.stop_ms);
        }
        match self.reading.config.stop {
            StreamStop::Never => None,
            StreamStop::Latest => Some(now_ms()),
            StreamStop::Timestamp(at_ms) => Some(at_ms),
        }
    }

    /// Shards are left to be read of a stream that nobody names any more.
    fn check_names(&self, known: &Known<KinesisShard>) -> Result<()> {
        let names: BTreeSet<&str> =
            self.reading.config.streams.iter().map(|stream| name_of(stream)).collect();
        let other = known.active.iter().find(|shard| !names.contains(name_of(&shard.stream)));
        let Some(other) = other else { return Ok(()) };
        let why = "the snapshot has positions in a stream that the settings do not name: name it again, or give the source a new uid";
        Err(Error::new(ErrorKind::Config, "read a stream", why).with("stream", &other.stream))
    }
}

/// The streams that something is known of.
fn known_streams(known: &Known<KinesisShard>) -> BTreeSet<Made<'_>> {
    let active = known.active.iter().map(KinesisShard::of);
    let finished = known.finished.iter().filter_map(KinesisShard::place_of).map(|(made, _)| made);
    active.chain(finished).collect()
}

/// Shards of a stream that had the name of this one before: they are not found again, and once something is known of the new one they tell nothing any more.
fn of_older<'a>(known: &'a Known<KinesisShard>, now: Made<'a>) -> impl Iterator<Item = SplitId> + 'a {
    let is_known = known_streams(known).contains(&now);
    let is_older = move |made: Made<'_>| is_known && made.stream == now.stream && made != now;
    let finished = known.finished.iter();
    finished.filter(move |id| KinesisShard::place_of(id).is_some_and(|(made, _)| is_older(made))).cloned()
}

/// What is known of the shards of one stream.
fn known_of(known: &Known<KinesisShard>, made: Made<'_>) -> lineage::Known {
    let is_of = |shard: &&KinesisShard| shard.of() == made;
    let finished = known.finished.iter().filter_map(KinesisShard::place_of);
    let (active, ended) = (known.active.iter().filter(is_of), known.ended.iter().filter(is_of));
    let parents = |shard: &KinesisShard| (shard.shard.clone(), shard.parents.clone());
    lineage::Known {
        active: active.clone().map(|shard| shard.shard.clone()).collect(),
        finished: finished.filter(|(of, _)| *of == made).map(|(_, shard)| shard.to_owned()).collect(),
        parents: active.chain(ended.clone()).map(parents).collect(),
        ended: ended.map(|shard| (shard.shard.clone(), shard.clone())).collect(),
    }
}

#[async_trait]
impl Source for KinesisStream {
    type Record = KinesisRecord;
    type Split = KinesisShard;
    type Reader = KinesisReader;

    async fn discover(&self, known: &Known<KinesisShard>) -> Result<Discovery<KinesisShard>> {
        self.check_names(known)?;
        if let Some(export) = &self.export {
            export.ended(all_of(&known.ended, self.names_streams())?);
        }
        let leased = self.leased(known.first_run).await?;
        let made = known_streams(known);
        let stop_ms = self.stop_ms(known);
        let mut discovery = Discovery::default();
        for stream in &self.reading.config.streams {
            let Ok(summary) = self.reading.new_summary(stream).await? else {
                self.is_missing(stream)?;
                continue;
            };
            self.check(&summary, &made)?;
            let now = Made { stream: &summary.arn, at_ms: summary.made_ms };
            let family = Family {
                reading: &self.reading,
                summary: &summary,
                known: known_of(known, now),
                first_run: known.first_run,
                stop_ms,
                leased: &leased,
            };
            let Found { new, forget } = family.find().await?;
            discovery.new.extend(new);
            discovery.forget.extend(forget.iter().map(|shard| KinesisShard::id_of(now, shard)));
            discovery.forget.extend(of_older(known, now));
        }
        if let Some(export) = self.export.as_ref().filter(|_| known.first_run) {
            export.began(&all_of(&discovery.new, self.names_streams())?);
        }
        let is_bounded = self.reading.config.stop != StreamStop::Never;
        discovery.complete = is_bounded && known.active.is_empty() && discovery.new.is_empty();
        Ok(discovery)
    }

    async fn open(&self, split: KinesisShard) -> Result<KinesisReader> {
        let (reading, KinesisShard { stream, shard, .. }) = (Arc::clone(&self.reading), &split);
        let fetch: Box<dyn Fetch> = match &self.consumers {
            Some(consumers) => Box::new(consumers.fetch(&reading, stream, shard)),
            None => Box::new(Polling::new(Arc::clone(&reading), stream, shard)),
        };
        KinesisReader::open(reading, split, fetch).await
    }

    async fn acknowledge(&self, durable: &[KinesisShard]) -> Result<()> {
        let Some(export) = &self.export else { return Ok(()) };
        // I2: for monitors alone, so a failure is no failure of the job.
        if let Err(error) = export.durable(all_of(durable, self.names_streams())?).await {
            export.tell(&error);
        }
        Ok(())
    }
}
