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

/// What there is of a stream.
struct Looked {
    listed: Listed,
    /// Shards that something depends on, and that cannot be read any more.
    gone: BTreeSet<String>,
    /// Whether there is a stream at all.
    is_there: bool,
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
        let looked = self.look().await?;
        let Looked { listed, gone, .. } = &looked;
        if self.first_run {
            // What was gone before the job began is none of its losses.
            let new = match self.reading.config.start {
                StreamStart::Now => self.those_of_now(listed).await?,
                StreamStart::Horizon => self.those_of_horizon(listed, gone).await?,
            };
            return Ok(Found { new, forget: BTreeSet::new() });
        }
        if !gone.is_empty() {
            self.lost(gone)?;
        }
        let new = lineage::newcomers(listed, &self.known, gone);
        let new = new.into_iter().map(|shard| self.split(shard, later(shard, gone))).collect();
        Ok(Found { new, forget: self.forgotten(looked).await? })
    }

    /// Lists the shards until the list has all that can be read and that something depends on.
    async fn look(&self) -> Result<Looked> {
        let mut lists_left = LISTS_MAX;
        loop {
            lists_left -= 1;
            let listing = self.reading.api.shards(self.stream).await?;
            let is_there = listing.is_some();
            let shards = listing.map(|listing| listing.shards).unwrap_or_default();
            let mut listed: Listed = shards.into_iter().map(|shard| (shard.id.clone(), shard)).collect();
            let Missing { there, gone } = self.missing(&listed).await?;
            // What was there before the job began may be gone for long. What its shards named is not given up after one look.
            let may_be_gone = gone.is_empty() || self.first_run || !is_there;
            if (there.is_empty() && may_be_gone) || lists_left == 0 {
                self.take_unlisted(&mut listed, &gone, there);
                return Ok(Looked { listed, gone, is_there });
            }
            sleep(LIST_AGAIN_AFTER).await;
        }
    }

    fn take_unlisted(&self, listed: &mut Listed, gone: &BTreeSet<String>, there: BTreeSet<String>) {
        let waiting = lineage::take_unlisted(listed, &self.known, gone, there);
        if !waiting.is_empty() {
            let stream = self.stream;
            tracing::warn!(
                stream,
                ?waiting,
                "shards can be read, and no list says what they go on from: they wait"
            );
        }
    }

    /// "Now" is decided here, once (I9), for each shard that nothing goes on from. One that has ended already gives its children.
    async fn those_of_now(&self, listed: &Listed) -> Result<Vec<DynamoShard>> {
        let (last, over) = lineage::last(listed);
        let wanted: Vec<_> = last.into_iter().map(|shard| self.shard_of_now(shard)).collect();
        let mut new: Vec<DynamoShard> = stream::iter(wanted).buffered(AT_ONCE).try_collect().await?;
        new.extend(over.into_iter().map(|shard| self.over(shard, listed)));
        Ok(new)
    }

    /// The horizon is decided here, once (I9): it is in the first shards that have something left, and those before them are over.
    async fn those_of_horizon(&self, listed: &Listed, gone: &BTreeSet<String>) -> Result<Vec<DynamoShard>> {
        let (mut known, mut found) = (Known::default(), Vec::new());
        loop {
            let next = lineage::newcomers(listed, &known, gone);
            let next: Vec<_> = next.into_iter().map(|shard| self.shard_of_horizon(shard, listed)).collect();
            if next.is_empty() {
                return Ok(found);
            }
            let decided: Vec<DynamoShard> = stream::iter(next).buffered(AT_ONCE).try_collect().await?;
            for shard in decided {
                let is_over = shard.children.is_some();
                let of_its_kind = if is_over { &mut known.finished } else { &mut known.active };
                of_its_kind.insert(shard.shard.clone());
                found.push(shard);
            }
        }
    }

    /// A shard of which nothing is read. It is known from now on, as one that has ended: a list may lack it, or what goes on from it, and nobody
    /// takes it for a new one then.
    fn over(&self, shard: &Shard, listed: &Listed) -> DynamoShard {
        let children = Some(lineage::children(listed, &shard.id));
        DynamoShard { children, ..self.split(shard, Position::Oldest { since_ms: now_ms() }) }
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

    /// Where in a shard the horizon is: at its first record, where it has all of them still. Where some are thrown away already, or the first one will be
    /// before long, it moves while the job begins, and what is the oldest record then is as good a beginning as any.
    async fn shard_of_horizon(&self, shard: &Shard, listed: &Listed) -> Result<DynamoShard> {
        let since_ms = now_ms();
        let api = &self.reading.api;
        if let Some(number) = &shard.first
            && let Ok(iterator) = api.iterator(self.stream, &shard.id, Place::At(number)).await?
            && let Ok(page) = api.records(&iterator, 1).await?
        {
            let first = match (page.events.first(), page.next) {
                (None, Some(_)) => Some(number),
                (Some(event), _) => {
                    let is_safe = event.created_ms.is_none_or(|created| since_ms - created < SAFE_MS);
                    is_safe.then_some(&event.sequence_number)
                }
                (None, None) => None,
            };
            if let Some(first) = first.cloned() {
                return Ok(self.split(shard, Position::Whole { first: Some(first), since_ms }));
            }
        }
        // Where nothing is known of what goes on from it, its end is waited for as that of any other.
        if !lineage::children(listed, &shard.id).is_empty() && self.is_over(shard).await? {
            return Ok(self.over(shard, listed));
        }
        Ok(self.split(shard, Position::Oldest { since_ms }))
    }

    /// Whether a shard has ended, and none of its records is left.
    async fn is_over(&self, shard: &Shard) -> Result<bool> {
        let api = &self.reading.api;
        let said = match api.iterator(self.stream, &shard.id, Place::Oldest).await? {
            Ok(iterator) => api.records(&iterator, 1).await?,
            Err(refusal) => return Ok(matches!(refusal, Refusal::Gone | Refusal::Trimmed)),
        };
        Ok(match said {
            Ok(page) => page.events.is_empty() && page.next.is_none(),
            Err(refusal) => refusal == Refusal::Gone,
        })
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

    /// A shard that is not listed, where it can be read all the same.
    async fn is_still_there(&self, id: &str) -> Result<Option<Shard>> {
        let said = self.reading.api.iterator(self.stream, id, Place::Oldest).await?;
        let is_gone = matches!(said, Err(Refusal::Gone | Refusal::Trimmed));
        Ok((!is_gone).then(|| Shard { id: id.to_owned(), parent: None, first: None }))
    }

    /// The shards that are forgotten: those that are gone, and not only from this list.
    async fn forgotten(&self, Looked { mut listed, gone, is_there }: Looked) -> Result<BTreeSet<String>> {
        loop {
            let forgotten = lineage::forgotten(&listed, &self.known, &gone);
            let asked: Vec<_> =
                forgotten.iter().filter(|_| is_there).map(|id| self.is_still_there(id)).collect();
            let asked: Vec<Option<Shard>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
            let there: Vec<Shard> = asked.into_iter().flatten().collect();
            if there.is_empty() {
                return Ok(forgotten);
            }
            listed.extend(there.into_iter().map(|shard| (shard.id.clone(), shard)));
        }
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
