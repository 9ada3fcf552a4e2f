//! The shards of one stream: which are found, and which are forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tidelock::{Error, ErrorKind, Result};
use tokio::time::sleep;

use super::api::{Place, Refusal, Shard};
use super::config::StreamStart;
use super::lineage::{self, Known, Listed};
use super::loss::{KEPT_MS, loss};
use super::reading::{Reading, now_ms};
use super::shard::{DynamoShard, Position};

/// Shards that are asked for at once.
const AT_ONCE: usize = 16;

/// A record that is younger than this is not thrown away before the job has begun to read.
const SAFE_MS: i64 = KEPT_MS - 3_600 * 1_000;

/// How often shards are listed while the list lacks one that is there.
const LISTS_MAX: u32 = 6;

/// The pause before the next list.
const LIST_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// A stream that is looked through.
pub(super) struct Family<'a> {
    pub(super) reading: &'a Reading,
    pub(super) stream: &'a str,
    pub(super) known: Known,
    pub(super) first_run: bool,
}

/// What came of it.
pub(super) struct Found {
    pub(super) new: Vec<DynamoShard>,
    pub(super) forget: BTreeSet<String>,
}

/// Shards that are not listed, and something depends on them.
struct Missing {
    /// They can be read.
    there: BTreeSet<String>,
    /// They cannot be read any more.
    gone: BTreeSet<String>,
}

impl Family<'_> {
    /// # Errors
    /// The loss, where shards are gone that were not read and that is the policy.
    pub(super) async fn find(self) -> Result<Found> {
        let (mut listed, mut gone) = (Listed::new(), BTreeSet::new());
        for lists_left in (0..LISTS_MAX).rev() {
            let listing = self.reading.api.shards(self.stream).await?;
            let is_growing = listing.as_ref().is_some_and(|listing| listing.is_growing);
            let shards = listing.map(|listing| listing.shards).unwrap_or_default();
            listed = shards.into_iter().map(|shard| (shard.id.clone(), shard)).collect();
            if self.first_run && self.reading.config.start == StreamStart::Now {
                return Ok(Found { new: self.those_of_now(&listed).await?, forget: BTreeSet::new() });
            }
            if is_growing {
                self.add_children(&mut listed).await?;
            }
            let missing = self.missing(&listed).await?;
            gone = missing.gone;
            if missing.there.is_empty() {
                break;
            }
            if lists_left > 0 {
                sleep(LIST_AGAIN_AFTER).await;
                continue;
            }
            // Only a list says which shard it goes on from.
            let unlisted =
                missing.there.into_iter().map(|id| (id.clone(), Shard { id, parent: None, first: None }));
            listed.extend(unlisted);
        }
        // What was gone before the job began is none of its losses.
        if !gone.is_empty() && !self.first_run {
            self.lost(&gone)?;
        }
        let new = lineage::newcomers(&listed, &self.known, &gone);
        let new = if self.first_run {
            let wanted: Vec<_> = new.into_iter().map(|shard| self.shard_of_horizon(shard)).collect();
            stream::iter(wanted).buffered(AT_ONCE).try_collect().await?
        } else {
            new.into_iter().map(|shard| self.split(shard, later(shard, &gone))).collect()
        };
        Ok(Found { new, forget: lineage::forgotten(&listed, &self.known, &gone) })
    }

    /// "Now" is decided here, once (I9), for each shard that nothing goes on from. One that has ended already gives its children.
    async fn those_of_now(&self, listed: &Listed) -> Result<Vec<DynamoShard>> {
        let last = lineage::last(listed);
        let wanted: Vec<_> = last.into_iter().map(|shard| self.shard_of_now(shard)).collect();
        stream::iter(wanted).buffered(AT_ONCE).try_collect().await
    }

    async fn shard_of_now(&self, shard: &Shard) -> Result<DynamoShard> {
        let since_ms = now_ms();
        match self.reading.api.iterator(self.stream, &shard.id, Place::Latest).await? {
            Ok(iterator) => Ok(self.split(shard, Position::Now { iterator, since_ms })),
            Err(refusal) => {
                let why = "a shard disappeared while the job began";
                let error = Error::new(ErrorKind::Unavailable, "find the shards of a stream", why);
                Err(error.with("shard", &shard.id).with("refusal", format_args!("{refusal:?}")))
            }
        }
    }

    /// The horizon is decided here, once (I9): at the first record of a shard that has all of them still. Where some are thrown away already, or the first
    /// one will be before long, it moves while the job begins, and what is the oldest record then is as good a beginning as any.
    async fn shard_of_horizon(&self, shard: &Shard) -> Result<DynamoShard> {
        let since_ms = now_ms();
        let api = &self.reading.api;
        let oldest = self.split(shard, Position::Oldest { since_ms });
        let Some(number) = &shard.first else { return Ok(oldest) };
        let Ok(iterator) = api.iterator(self.stream, &shard.id, Place::At(number)).await? else {
            return Ok(oldest);
        };
        let Ok(page) = api.records(&iterator, 1).await? else { return Ok(oldest) };
        let first = match page.events.first() {
            None => number,
            Some(event) if event.created_ms.is_none_or(|created| since_ms - created < SAFE_MS) => {
                &event.sequence_number
            }
            Some(_) => return Ok(oldest),
        };
        Ok(self.split(shard, Position::Whole { first: Some(first.clone()), since_ms }))
    }

    /// The children of shards whose end was told just now: they enter the snapshot with it.
    async fn add_children(&self, listed: &mut Listed) -> Result<()> {
        let parents: Vec<String> =
            lineage::childless(listed, &self.known).into_iter().map(str::to_owned).collect();
        for parent in parents {
            let children = self.reading.api.children_of_ended(self.stream, &parent).await?;
            for child in children.into_iter().flatten() {
                listed.entry(child.id.clone()).or_insert(child);
            }
        }
        Ok(())
    }

    /// Looks for shards that must be there, or must have been, and are not listed. A list is put together of pages, and may lack one that can be read.
    async fn missing(&self, listed: &Listed) -> Result<Missing> {
        let mut missing = Missing { there: BTreeSet::new(), gone: BTreeSet::new() };
        for id in lineage::missing(listed, &self.known) {
            match self.reading.api.iterator(self.stream, &id, Place::Oldest).await? {
                Ok(_) => missing.there.insert(id),
                Err(Refusal::Gone | Refusal::Trimmed) => missing.gone.insert(id),
                Err(refusal) => {
                    let why = "the service does not say whether a shard is there";
                    let error = Error::new(ErrorKind::Unavailable, "find the shards of a stream", why);
                    return Err(error.with("shard", id).with("refusal", format_args!("{refusal:?}")));
                }
            };
        }
        Ok(missing)
    }

    fn lost(&self, gone: &BTreeSet<String>) -> Result<()> {
        let names = gone.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let why = "shards were not read and are not there any more: DynamoDB keeps them for a day";
        let loss = loss(ErrorKind::Expired, why).with("stream", self.stream).with("shards", names);
        self.reading.losses.accept(loss, "it goes on with those that are there")
    }

    fn split(&self, shard: &Shard, position: Position) -> DynamoShard {
        DynamoShard {
            stream: self.stream.to_owned(),
            shard: shard.id.clone(),
            parent: shard.parent.clone(),
            position,
            children: None,
        }
    }
}

/// Where a shard that is found after the first run is read from: all of it is wanted, unless it is what is left behind a gap.
fn later(shard: &Shard, gone: &BTreeSet<String>) -> Position {
    let since_ms = now_ms();
    if shard.parent.as_ref().is_some_and(|parent| gone.contains(parent)) {
        return Position::Oldest { since_ms };
    }
    Position::Whole { first: shard.first.clone(), since_ms }
}
