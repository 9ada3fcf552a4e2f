//! Reads one shard.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidelock::{Batch, Error, ErrorKind, Result, Retry, SplitReader};
use tokio::time::sleep;

use super::api::{Page, Place, Refusal, Said};
use super::event::DynamoEvent;
use super::loss::{KEPT_MS, loss};
use super::reading::{Reading, now_ms};
use super::shard::{DynamoShard, Position};

/// Clocks are apart by less: DynamoDB refuses what was signed by one that is further away.
const CLOCKS_APART_MAX_MS: i64 = 15 * 60 * 1_000;

/// How often in a row an iterator may be too old when it is used.
const REFUSALS_MAX: u32 = 20;

/// Where a reader is.
#[derive(Debug, Clone)]
enum Stand {
    /// The next records are had with this.
    Iterator(String),
    /// All records were read.
    Closed,
    /// There are none any more, and nobody knows what goes on from the shard.
    Lost,
    /// The end was told.
    Ended,
}

/// Whether records may have been thrown away that came since then.
fn is_long_ago(since_ms: i64) -> bool {
    now_ms().saturating_sub(since_ms) > KEPT_MS
}

/// Reads the records of one shard in their order.
pub struct DynamoStreamReader {
    split: DynamoShard,
    reading: Arc<Reading>,
    stand: Stand,
    /// What is older is left out.
    from_ms: Option<i64>,
    /// How often the next records were refused, since some came.
    refusals: u32,
    /// What the last records take.
    bytes: u64,
}

impl fmt::Debug for DynamoStreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoStreamReader").field("split", &self.split).finish_non_exhaustive()
    }
}

impl DynamoStreamReader {
    /// # Errors
    /// The loss, where the position is not there any more and that is the policy.
    pub(super) async fn open(reading: Arc<Reading>, split: DynamoShard) -> Result<Self> {
        let mut reader = Self { split, reading, stand: Stand::Ended, from_ms: None, refusals: 0, bytes: 0 };
        if reader.split.children.is_none() {
            reader.begin().await?;
        }
        Ok(reader)
    }

    /// Finds the position.
    async fn begin(&mut self) -> Result<()> {
        self.stand = match self.split.position.clone() {
            Position::Now { iterator, .. } => Stand::Iterator(iterator),
            Position::Oldest { since_ms } | Position::Whole { first: None, since_ms } => {
                self.at_oldest(since_ms).await?
            }
            Position::After(number) => match self.iterator(Place::After(&number)).await? {
                Ok(iterator) => Stand::Iterator(iterator),
                Err(refusal) => self.lost(refusal).await?,
            },
            Position::Whole { first: Some(number), since_ms } => {
                match self.iterator(Place::At(&number)).await? {
                    Ok(iterator) => Stand::Iterator(iterator),
                    // The number under which a shard is listed need not be one of a record.
                    Err(Refusal::Unknown) => self.at_oldest(since_ms).await?,
                    Err(refusal) => self.lost(refusal).await?,
                }
            }
        };
        Ok(())
    }

    async fn iterator(&self, place: Place<'_>) -> Result<Said<String>> {
        self.reading.api.iterator(&self.split.stream, &self.split.shard, place).await
    }

    /// At the oldest record, which is no loss as long as what came since then must all be there still.
    async fn at_oldest(&self, since_ms: i64) -> Result<Stand> {
        if is_long_ago(since_ms) {
            let why = "nothing was read of a shard for longer than a day: what came meanwhile may have been thrown away";
            self.accept(loss(ErrorKind::Expired, why), "it goes on with the oldest record that is there")?;
        }
        match self.iterator(Place::Oldest).await? {
            Ok(iterator) => Ok(Stand::Iterator(iterator)),
            Err(refusal) => self.lost(refusal).await,
        }
    }

    /// The position, or the shard, is not there any more.
    async fn lost(&self, refusal: Refusal) -> Result<Stand> {
        let (kind, why, then) = match refusal {
            Refusal::Gone => (
                ErrorKind::NotFound,
                "a shard that is being read is not there any more, nor are its records",
                "it goes on with the shards that are there",
            ),
            Refusal::Trimmed => (
                ErrorKind::Expired,
                "records that were to be read were thrown away: DynamoDB keeps them for a day",
                "it goes on with the oldest record that is there",
            ),
            Refusal::Unknown | Refusal::Stale => (
                ErrorKind::Expired,
                "DynamoDB does not know the position any more",
                "it goes on with the oldest record that is there",
            ),
        };
        let is_gone = refusal == Refusal::Gone;
        // Within a day nothing is thrown away that came since the shard was found, and what was there before moves with the horizon.
        let since_ms = match self.split.position {
            Position::Oldest { since_ms } | Position::Now { since_ms, .. } => Some(since_ms),
            Position::Whole { .. } | Position::After(_) => None,
        };
        let had_only_older = since_ms.is_some_and(|since_ms| !is_long_ago(since_ms));
        if !(is_gone && had_only_older) {
            self.accept(loss(kind, why), then)?;
        }
        if is_gone {
            return Ok(Stand::Lost);
        }
        Ok(self.iterator(Place::Oldest).await?.map_or(Stand::Lost, Stand::Iterator))
    }

    fn accept(&self, loss: Error, then: &str) -> Result<()> {
        let DynamoShard { stream, shard, position, .. } = &self.split;
        self.reading
            .losses
            .accept(loss.with("stream", stream).with("shard", shard).with("position", position), then)
    }

    /// The next records were refused.
    async fn refused(&mut self, refusal: Refusal) -> Result<()> {
        if refusal != Refusal::Trimmed {
            // A server that refuses everything is not asked as fast as it can.
            self.idle().await;
        }
        if let (Refusal::Stale | Refusal::Trimmed | Refusal::Unknown, Position::Now { since_ms, .. }) =
            (refusal, &self.split.position)
        {
            // The very place is not known any more: nothing came after it yet, so the time tells what comes after it.
            self.from_ms = Some(since_ms.saturating_sub(CLOCKS_APART_MAX_MS));
        }
        match (refusal, self.split.position.clone()) {
            (Refusal::Trimmed, _) => self.trimmed().await?,
            (Refusal::Stale | Refusal::Unknown, Position::Now { since_ms, .. }) => {
                self.again()?;
                self.stand = self.at_oldest(since_ms).await?;
            }
            (Refusal::Stale | Refusal::Unknown, _) => {
                self.again()?;
                self.begin().await?;
            }
            (Refusal::Gone, _) => self.stand = self.lost(refusal).await?,
        }
        Ok(())
    }

    /// The next record was thrown away before it was read, and the oldest one is another one now. It is asked for at once: after a pause it may be
    /// thrown away as well. That none can be read in time is no end of the shard.
    async fn trimmed(&mut self) -> Result<()> {
        self.refusals += 1;
        if self.refusals > REFUSALS_MAX {
            let why =
                "the oldest records of a shard are thrown away before they can be read, again and again";
            self.accept(loss(ErrorKind::Expired, why), "it goes on with the shards after it")?;
            self.stand = Stand::Closed;
            return Ok(());
        }
        self.stand = match self.split.position {
            Position::Oldest { since_ms }
            | Position::Whole { first: None, since_ms }
            | Position::Now { since_ms, .. } => self.at_oldest(since_ms).await?,
            Position::Whole { first: Some(_), .. } | Position::After(_) => {
                self.lost(Refusal::Trimmed).await?
            }
        };
        Ok(())
    }

    /// Counts what was refused in a row: a service that refuses every iterator that it gives is not asked for ever.
    fn again(&mut self) -> Result<()> {
        self.refusals += 1;
        if self.refusals <= REFUSALS_MAX {
            return Ok(());
        }
        let why = "every iterator is refused, however new it is";
        let error = Error::new(ErrorKind::Unavailable, "read a stream", why).with_retry(Retry::Restart);
        Err(error.with("shard", &self.split.shard))
    }

    async fn idle(&self) {
        sleep(Duration::from_millis(self.reading.config.idle_wait_ms)).await;
    }

    /// Takes what came: nothing where there was nothing, or nothing that counts.
    async fn take(&mut self, page: Page) -> Option<Batch<DynamoEvent, DynamoShard>> {
        let Page { events: mut records, next } = page;
        self.refusals = 0;
        self.stand = next.map_or(Stand::Closed, Stand::Iterator);
        let was_empty = records.is_empty();
        let last = records.last().map(|event| event.sequence_number.clone());
        if let Some(from_ms) = self.from_ms {
            records.retain(|event| event.created_ms.is_none_or(|created| created >= from_ms));
        }
        records.iter_mut().for_each(|event| event.see(&self.reading.deleted));
        match last {
            // What is left out moves no position: where the job begins anew, time decides again.
            Some(last) if !records.is_empty() => {
                self.split.position = Position::After(last);
                self.from_ms = None;
                self.bytes = records.iter().map(DynamoEvent::heap_bytes).sum();
                Some(Batch { records, resume: self.split.clone() })
            }
            _ => {
                if was_empty && matches!(self.stand, Stand::Iterator(_)) {
                    self.idle().await;
                }
                None
            }
        }
    }

    /// The names of the shards that go on from this one, which has ended.
    async fn children(&self) -> Result<Vec<String>> {
        let DynamoShard { stream, shard, .. } = &self.split;
        let Some(children) = self.reading.api.children_of_ended(stream, shard).await? else {
            let why = "the stream is not there any more, and what goes on from a shard is not known";
            self.accept(loss(ErrorKind::NotFound, why), "it goes on with what is there")?;
            return Ok(Vec::new());
        };
        Ok(children.into_iter().map(|child| child.id).collect())
    }

    /// The names of those that are listed now: of a shard that is not there any more no others are told.
    async fn listed_children(&self) -> Result<Vec<String>> {
        let DynamoShard { stream, shard, .. } = &self.split;
        let listing = self.reading.api.children(stream, shard).await?;
        let children = listing.map(|listing| listing.shards).unwrap_or_default();
        Ok(children.into_iter().map(|child| child.id).collect())
    }

    /// The last position: it names what goes on from the shard.
    fn end(&mut self, children: Vec<String>) -> Batch<DynamoEvent, DynamoShard> {
        self.split.children = Some(children);
        self.stand = Stand::Ended;
        self.bytes = 0;
        Batch { records: Vec::new(), resume: self.split.clone() }
    }
}

#[async_trait]
impl SplitReader for DynamoStreamReader {
    type Record = DynamoEvent;
    type Split = DynamoShard;

    async fn next(&mut self) -> Result<Option<Batch<DynamoEvent, DynamoShard>>> {
        loop {
            let iterator = match &self.stand {
                Stand::Ended => return Ok(None),
                Stand::Lost => {
                    let children = self.listed_children().await?;
                    return Ok(Some(self.end(children)));
                }
                Stand::Closed => {
                    let children = self.children().await?;
                    return Ok(Some(self.end(children)));
                }
                Stand::Iterator(iterator) => iterator.clone(),
            };
            match self.reading.api.records(&iterator, self.reading.config.batch_records).await? {
                Ok(page) => {
                    if let Some(batch) = self.take(page).await {
                        return Ok(Some(batch));
                    }
                }
                Err(refusal) => self.refused(refusal).await?,
            }
        }
    }

    fn heap_bytes(&self) -> u64 {
        self.bytes
    }
}
