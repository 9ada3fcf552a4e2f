//! The shards of one stream: which are found, where each begins, and which are forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tidelock::{Error, ErrorKind, Result};
use tokio::time::sleep;

use super::api::{Shard, Summary};
use super::config::StreamStart;
use super::fetch::{Child, Place, Refusal};
use super::gate::Clock;
use super::given::{Given, GivenAt};
use super::lineage::{self, Families, Known, Listed};
use super::loss::loss;
use super::reading::{Reading, now_ms};
use super::shard::{End, KinesisShard, Position};
use crate::hash_key::HashRange;
use crate::seen::Seen;

const FIND: &str = "find the shards of a stream";

/// Shards that are asked for at once.
const AT_ONCE: usize = 16;

/// What is that close to being thrown away may be gone before the job has begun to read.
const SAFE_MS: i64 = 3_600 * 1_000;

/// How often shards are listed while the list lacks one that is there.
const LISTS_MAX: u32 = 6;

/// The pause before the next list.
const LIST_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// A stream that is looked through.
pub(super) struct Family<'a> {
    pub(super) reading: &'a Reading,
    pub(super) summary: &'a Summary,
    pub(super) known: Known,
    pub(super) first_run: bool,
    /// Where the job ends, decided with its first run.
    pub(super) stop_ms: Option<i64>,
    /// Where an application of KCL was, in a first run that begins there.
    pub(super) leased: &'a [Given],
}

/// What came of it.
#[derive(Default)]
pub(super) struct Found {
    pub(super) new: Vec<KinesisShard>,
    pub(super) forget: BTreeSet<String>,
}

/// What there is of a stream.
struct Looked {
    listed: Listed,
    /// Shards that something depends on, and that cannot be read any more.
    gone: BTreeSet<String>,
}

impl Family<'_> {
    /// # Errors
    /// The loss, where shards are gone that were not read and that is the policy.
    pub(super) async fn find(self) -> Result<Found> {
        let looked = self.look().await?;
        let Looked { listed, gone } = &looked;
        if self.first_run {
            return Ok(Found { new: self.first(listed, gone).await?, forget: BTreeSet::new() });
        }
        if !gone.is_empty() {
            self.lost(gone)?;
        }
        let new = lineage::newcomers(listed, &self.known, gone);
        let new = new.into_iter().map(|shard| self.later(shard, gone)).collect();
        Ok(Found { new, forget: self.forgotten(looked).await? })
    }

    /// The start is decided here, once (I9). What was gone before the job began is none of its losses.
    async fn first(&self, listed: &Listed, gone: &BTreeSet<String>) -> Result<Vec<KinesisShard>> {
        let mut new = match &self.reading.config.start {
            StreamStart::Horizon => self.those_of_horizon(listed, gone).await?,
            StreamStart::Latest => self.those_of_latest(listed),
            StreamStart::Timestamp(at_ms) => {
                let new = lineage::newcomers(listed, &self.known, gone);
                new.into_iter().map(|shard| self.split(shard, self.time(*at_ms))).collect()
            }
            StreamStart::Given(given) => self.those_given(given, listed)?,
            StreamStart::Leases(_) => self.those_given(self.leased, listed)?,
        };
        let before = self.those_before(listed, gone, &new);
        new.extend(before);
        new.iter_mut().for_each(|shard| shard.stop_ms = self.stop_ms);
        Ok(new)
    }

    /// Shards that were thrown away before the job began, where one that goes on from them goes on from others, too, and has to wait. Until it is found they are known
    /// as read, or they would be taken for a loss by then.
    fn those_before(
        &self,
        listed: &Listed,
        gone: &BTreeSet<String>,
        new: &[KinesisShard],
    ) -> Vec<KinesisShard> {
        let families = lineage::families(listed);
        let is_new = |child: &Child| new.iter().any(|shard| shard.shard == child.id);
        let position = match self.reading.config.start {
            StreamStart::Timestamp(at_ms) => Position::Time { at_ms, since_ms: 0 },
            _ => Position::Oldest { since_ms: 0 },
        };
        let over = gone.iter().map(|id| {
            let shard = Shard { id: id.clone(), parents: Vec::new(), range: HashRange::ALL, first: None };
            self.over(&shard, position.clone(), &families)
        });
        over.filter(|shard| !shard.children().iter().all(is_new)).collect()
    }

    /// Lists the shards until the list has all that can be read and that something depends on.
    async fn look(&self) -> Result<Looked> {
        let mut lists_left = LISTS_MAX;
        loop {
            lists_left -= 1;
            // It was described a moment ago: where it is gone now, that is told the next time.
            let shards = self.reading.api.shards(&self.summary.arn).await?.unwrap_or_default();
            let mut listed: Listed = shards.into_iter().map(|shard| (shard.id.clone(), shard)).collect();
            let (there, gone) = self.missing(&listed).await?;
            // What was there before the job began may be gone for long. What its shards named is not given up after one look.
            let is_settled = there.is_empty() && (gone.is_empty() || self.first_run);
            if is_settled || lists_left == 0 {
                self.take_unlisted(&mut listed, &gone, there);
                return Ok(Looked { listed, gone });
            }
            sleep(LIST_AGAIN_AFTER).await;
        }
    }

    fn take_unlisted(&self, listed: &mut Listed, gone: &BTreeSet<String>, there: BTreeSet<String>) {
        let waiting = lineage::take_unlisted(listed, &self.known, gone, there);
        if !waiting.is_empty() {
            let stream = &self.summary.arn;
            tracing::warn!(
                stream,
                ?waiting,
                "shards can be read, and no list says what they go on from: they wait"
            );
        }
    }

    /// Looks for shards that must be there, or must have been, and are not listed: those that can be read, and those that cannot.
    async fn missing(&self, listed: &Listed) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let missing = lineage::missing(listed, &self.known);
        let asked: Vec<_> = missing.iter().map(|id| self.can_be_read(id)).collect();
        let asked: Vec<bool> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        let (mut there, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for (id, can_be_read) in missing.into_iter().zip(asked) {
            if can_be_read {
                there.insert(id)
            } else {
                gone.insert(id)
            };
        }
        Ok((there, gone))
    }

    /// Whether a shard can be read, whatever a list says.
    async fn can_be_read(&self, id: &str) -> Result<bool> {
        match self.reading.api.iterator(&self.summary.arn, id, Place::Oldest).await? {
            Ok(_) => Ok(true),
            Err(Refusal::Gone) => Ok(false),
            Err(refusal) => {
                let why = "the service does not say whether a shard is there";
                let error = Error::new(ErrorKind::Unavailable, FIND, why).with("shard", id);
                Err(error.with("refusal", format_args!("{refusal:?}")))
            }
        }
    }

    /// Each shard that nothing goes on from begins now. One that something goes on from has ended, and gives its children.
    fn those_of_latest(&self, listed: &Listed) -> Vec<KinesisShard> {
        let (last, over) = lineage::last(listed);
        let families = lineage::families(listed);
        let now = self.time(now_ms());
        let begin = last.into_iter().map(|shard| self.split(shard, now.clone()));
        begin.chain(over.into_iter().map(|shard| self.over(shard, now.clone(), &families))).collect()
    }

    async fn those_of_horizon(&self, listed: &Listed, gone: &BTreeSet<String>) -> Result<Vec<KinesisShard>> {
        let new = lineage::newcomers(listed, &self.known, gone);
        let new: Vec<_> = new.into_iter().map(|shard| self.shard_of_horizon(shard)).collect();
        stream::iter(new).buffered(AT_ONCE).try_collect().await
    }

    /// Where in a shard the horizon is: at its oldest record. Where that is thrown away before long, or is not told at once, it moves while the job begins, and
    /// what is the oldest one then is as good a beginning as any.
    async fn shard_of_horizon(&self, shard: &Shard) -> Result<KinesisShard> {
        let clock = Clock { now_ms: now_ms(), kept_ms: self.summary.kept_ms - SAFE_MS };
        let api = &self.reading.api;
        if let Ok(iterator) = api.iterator(&self.summary.arn, &shard.id, Place::Oldest).await?
            && let Ok(read) = api.records(&iterator, 1).await?
            && let Some(first) = read.records.into_iter().next()
            && first.arrival_ms.is_some_and(|arrival_ms| !clock.is_long_ago(arrival_ms))
        {
            return Ok(self.split(shard, Position::First { sequence_number: first.sequence_number }));
        }
        Ok(self.split(shard, Position::Oldest { since_ms: clock.now_ms }))
    }

    /// Begins where somebody else was.
    fn those_given(&self, given: &[Given], listed: &Listed) -> Result<Vec<KinesisShard>> {
        let given: Vec<&Given> = given.iter().filter(|given| given.stream == self.summary.name).collect();
        let names = given.iter().map(|given| given.shard.clone()).collect();
        let unrelated = lineage::unrelated(listed, &names);
        if !unrelated.is_empty() {
            let why = "no position was given for these shards, nor for any before them: nobody knows whether they were read";
            let error = Error::new(ErrorKind::Config, FIND, why).with("stream", &self.summary.name);
            return Err(error.with("shards", unrelated.join(" ")));
        }
        let (families, mut new) = (lineage::families(listed), Vec::new());
        for Given { shard: id, at, .. } in given {
            match (listed.get(id), at) {
                (Some(shard), GivenAt::Finished) => new.push(self.over(shard, self.given(at), &families)),
                (Some(shard), at) => new.push(self.split(shard, self.given(at))),
                (None, GivenAt::Finished) => {}
                (None, at) => {
                    let why = "a shard was to be read on, and is not there any more";
                    let loss =
                        loss(ErrorKind::Expired, why).with("shard", id).with("at", format_args!("{at:?}"));
                    self.reading.losses.accept(
                        &self.summary.arn,
                        loss,
                        "it goes on with those that are there",
                    )?;
                }
            }
        }
        Ok(new)
    }

    fn given(&self, at: &GivenAt) -> Position {
        match at {
            GivenAt::AfterSub { sequence_number, sub_sequence } => Position::After {
                sequence_number: sequence_number.clone(),
                sub_sequence: *sub_sequence,
                is_whole: false,
            },
            GivenAt::Time(at_ms) => self.time(*at_ms),
            GivenAt::Oldest | GivenAt::Finished => Position::Oldest { since_ms: now_ms() },
        }
    }

    /// At a time. What arrived then or later must be there, unless it is thrown away while the job begins.
    fn time(&self, at_ms: i64) -> Position {
        let now_ms = now_ms();
        let clock = Clock { now_ms, kept_ms: self.summary.kept_ms - SAFE_MS };
        let since_ms = if clock.is_long_ago(at_ms) { now_ms } else { at_ms.min(now_ms) };
        Position::Time { at_ms, since_ms }
    }

    /// A shard of which nothing is read. It is known from now on, as one that has ended: nobody takes it for a new one then.
    fn over(&self, shard: &Shard, position: Position, families: &Families<'_>) -> KinesisShard {
        let children = families.get(shard.id.as_str()).cloned().unwrap_or_default();
        KinesisShard { end: Some(End::Children(children)), ..self.split(shard, position) }
    }

    /// A shard that is found after the first run. All of it is wanted: its first record came after all that its parents had.
    fn later(&self, shard: &Shard, gone: &BTreeSet<String>) -> KinesisShard {
        let now_ms = now_ms();
        let parents: Vec<&KinesisShard> =
            shard.parents.iter().filter_map(|parent| self.known.ended.get(parent)).collect();
        let sure_ms = parents.iter().filter_map(|parent| parent.sure_ms()).max();
        // What is left behind a gap, or goes on from nothing, begins where it can.
        let is_whole = !shard.parents.is_empty() && !shard.parents.iter().any(|parent| gone.contains(parent));
        let since_ms = sure_ms.filter(|_| is_whole).unwrap_or(now_ms);
        // Where nothing was read of its parents, because it was too old, the same is too old here.
        let time = |parent: &&KinesisShard| match parent.position {
            Position::Time { at_ms, .. } => Some(at_ms),
            _ => None,
        };
        let times: Option<Vec<i64>> = parents.iter().map(time).collect();
        let position = match times.filter(|_| is_whole).and_then(|times| times.into_iter().min()) {
            Some(at_ms) => Position::Time { at_ms, since_ms },
            None => Position::Oldest { since_ms },
        };
        // What was put in them before they ended may be put again, and comes here then.
        let mut seen = Seen::default();
        parents.iter().for_each(|parent| seen.union(parent.seen.clone()));
        KinesisShard { stop_ms: self.stop_ms, seen, ..self.split(shard, position) }
    }

    /// The shards that are forgotten: those that are gone, and not only from this list.
    async fn forgotten(&self, Looked { mut listed, gone }: Looked) -> Result<BTreeSet<String>> {
        loop {
            let forgotten = lineage::forgotten(&listed, &self.known, &gone);
            let asked: Vec<_> = forgotten.iter().map(|id| self.can_be_read(id)).collect();
            let asked: Vec<bool> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
            let there = forgotten.iter().zip(asked).filter(|(_, is_there)| *is_there);
            let there: Vec<String> = there.map(|(id, _)| id.clone()).collect();
            if there.is_empty() {
                return Ok(forgotten);
            }
            let still = there.into_iter().filter_map(|id| {
                let KinesisShard { parents, range, .. } = self.known.ended.get(&id)?;
                Some((id.clone(), Shard { id, parents: parents.clone(), range: *range, first: None }))
            });
            listed.extend(still);
        }
    }

    fn lost(&self, gone: &BTreeSet<String>) -> Result<()> {
        let names = gone.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let why = "shards were not read and are not there any more";
        let loss = loss(ErrorKind::Expired, why).with("shards", names).with("kept_ms", self.summary.kept_ms);
        self.reading.losses.accept(&self.summary.arn, loss, "it goes on with those that are there")
    }

    fn split(&self, shard: &Shard, position: Position) -> KinesisShard {
        KinesisShard {
            stream: self.summary.arn.clone(),
            made_ms: self.summary.made_ms,
            kept_ms: Some(self.summary.kept_ms),
            shard: shard.id.clone(),
            parents: shard.parents.clone(),
            range: shard.range,
            position,
            arrival_ms: None,
            caught_up_ms: None,
            stop_ms: None,
            seen: Seen::default(),
            end: None,
        }
    }
}
