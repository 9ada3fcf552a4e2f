//! What a table of leases means for the shards that there are. No I/O.
//!
//! ```text
//!   lease        shard                                      begins
//!   496/2        listed                                     after 496/2
//!   SHARD_END    listed                                     nowhere: it is over, and its children begin
//!   TRIM_HORIZON listed, all before it is over              at the oldest record
//!   TRIM_HORIZON listed, one before it is not over          when that is over, at the oldest record: it follows, and is not given
//!   none         listed, one before it is not over          the same: it was not there when the application ended
//!   none         listed, all before it are over             at the oldest record
//!   none         listed, one after it has a lease           nowhere: KCL went past it, and deleted its lease
//!   none         listed, and none of these                  by the initial position of the application, or the import is refused
//!   any but END  not listed                                 refused: what was not processed of it is lost
//! ```
//!
//! These are KCL's own rules, but for two. KCL takes the configuration's initial position for what has no lease and no reason not to have one, without a word. And
//! it takes a shard that is not there any more for one that has ended.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::lease::{Checkpoint, Lease, LeasedStream};
use super::plan::{Begins, Plan, Planned, Refusal};
use crate::source::GivenAt;
use crate::source::api::{Shard, Summary};
use crate::source::compare;

/// A shard as the service lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: String,
    /// The shards that it goes on from: perhaps some that are not there any more.
    pub(crate) parents: Vec<String>,
    /// The number of its first record.
    pub(crate) first: Option<String>,
}

/// A stream as the service describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedStream {
    pub(crate) name: String,
    /// When it was made, in milliseconds since 1970. Some servers do not say.
    pub(crate) created_ms: Option<i64>,
    pub(crate) shards: Vec<Listed>,
}

impl ListedStream {
    pub(crate) fn of(summary: &Summary, shards: &[Shard]) -> Self {
        let listed = shards.iter().map(|shard| Listed {
            id: shard.id.clone(),
            parents: shard.parents.clone(),
            first: shard.first.clone(),
        });
        Self { name: summary.name.clone(), created_ms: Some(summary.made_ms), shards: listed.collect() }
    }
}

/// What stands in the configuration of the application, and not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum InitialPosition {
    /// `TRIM_HORIZON`.
    TrimHorizon,
    /// `LATEST`. It is resolved to the time of the import.
    Latest,
    /// `AT_TIMESTAMP`, with its time in milliseconds since 1970.
    AtTimestamp(i64),
}

/// What is decided with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) initial: Option<InitialPosition>,
    pub(super) now_ms: i64,
}

/// A stream that is being planned.
struct Stream<'a> {
    with: Facts,
    name: &'a str,
    listed: BTreeMap<&'a str, &'a Listed>,
    leases: BTreeMap<&'a str, &'a Lease>,
    /// Shards with a lease on one that goes on from them.
    before_leased: BTreeSet<&'a str>,
    /// Shards that something listed goes on from.
    is_parent: BTreeSet<&'a str>,
}

/// How far a shard is, for those that go on from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// There is something to process before they may begin.
    Unfinished,
    /// All of it was processed.
    Over,
    /// KCL went past it.
    Passed,
    /// Nobody can tell.
    Unknown,
}

/// Plans where the shards of a stream begin.
pub(super) fn plan(leases: &[Lease], stream: &ListedStream, with: Facts) -> Plan {
    let mut plan = Plan::default();
    let of_stream = |lease: &&Lease| lease.stream.as_ref().is_none_or(|one| one.name == stream.name);
    let mut by_shard = BTreeMap::new();
    for lease in leases.iter().filter(of_stream) {
        if let Some(leased) = &lease.stream
            && is_another(leased, stream)
        {
            plan.refusals.push(Refusal::AnotherStream { key: lease.key.clone() });
            continue;
        }
        by_shard.insert(lease.shard.as_str(), lease);
    }
    let stream = Stream::of(stream, by_shard, with);
    for shard in stream.listed.values() {
        stream.place(shard, &mut plan);
    }
    stream.unlisted(&mut plan);
    plan
}

/// Whether a stream of this name was made at another time. KCL has seconds.
fn is_another(leased: &LeasedStream, stream: &ListedStream) -> bool {
    stream.created_ms.is_some_and(|created_ms| created_ms.div_euclid(1_000) != leased.created_s)
}

impl<'a> Stream<'a> {
    fn of(stream: &'a ListedStream, leases: BTreeMap<&'a str, &'a Lease>, with: Facts) -> Self {
        let listed: BTreeMap<&str, &Listed> =
            stream.shards.iter().map(|shard| (shard.id.as_str(), shard)).collect();
        let is_parent = stream.shards.iter().flat_map(|shard| &shard.parents).map(String::as_str).collect();
        let mut before_leased = BTreeSet::new();
        for lease in leases.values() {
            let of_listing = listed.get(lease.shard.as_str()).into_iter().flat_map(|shard| &shard.parents);
            let mut above: Vec<&str> = lease.parents.iter().chain(of_listing).map(String::as_str).collect();
            while let Some(shard) = above.pop() {
                // What was seen already has been followed already: so it ends, whatever is listed.
                if before_leased.insert(shard)
                    && let Some(shard) = listed.get(shard)
                {
                    above.extend(shard.parents.iter().map(String::as_str));
                }
            }
        }
        Self { with, name: &stream.name, listed, leases, before_leased, is_parent }
    }

    /// How far the shards are that this one goes on from, as far as anything is known of them.
    fn parents(&self, shard: &'a Listed, seen: &mut BTreeSet<&'a str>) -> Vec<Stand> {
        let known = |parent: &&String| {
            self.listed.contains_key(parent.as_str()) || self.leases.contains_key(parent.as_str())
        };
        let parents: Vec<&String> = shard.parents.iter().filter(known).collect();
        parents.into_iter().map(|parent| self.stand(parent, seen)).collect()
    }

    fn stand(&self, shard: &'a str, seen: &mut BTreeSet<&'a str>) -> Stand {
        if let Some(lease) = self.leases.get(shard) {
            return if lease.is_over() { Stand::Over } else { Stand::Unfinished };
        }
        // A listing that goes round in a circle tells nothing.
        let Some(listed) = self.listed.get(shard).filter(|_| seen.insert(shard)) else {
            return Stand::Unknown;
        };
        let parents = self.parents(listed, seen);
        seen.remove(shard);
        if parents.contains(&Stand::Unfinished) {
            Stand::Unfinished
        } else if self.before_leased.contains(shard) {
            Stand::Passed
        } else if self.is_next(&parents) {
            // It begins now, at its oldest record.
            Stand::Unfinished
        } else {
            Stand::Unknown
        }
    }

    /// Whether a shard that has no lease goes on from what was processed to its end, and from nothing else. An application that began with what came did not
    /// want what nobody can tell of.
    fn is_next(&self, parents: &[Stand]) -> bool {
        let wants_all = self.with.initial != Some(InitialPosition::Latest);
        parents.contains(&Stand::Over) && !(wants_all && parents.contains(&Stand::Unknown))
    }

    fn place(&self, shard: &'a Listed, plan: &mut Plan) {
        let parents = self.parents(shard, &mut BTreeSet::new());
        let begins = match self.leases.get(shard.id.as_str()) {
            Some(lease) => self.of_lease(shard, lease, &parents, plan),
            None => self.of_none(shard, &parents, plan),
        };
        let lease = self.leases.get(shard.id.as_str()).map(|lease| (*lease).clone());
        plan.shards.push(Planned { stream: self.name.to_owned(), shard: shard.id.clone(), lease, begins });
    }

    fn of_lease(&self, shard: &Listed, lease: &Lease, parents: &[Stand], plan: &mut Plan) -> Begins {
        let follows = parents.contains(&Stand::Unfinished);
        match &lease.checkpoint {
            Checkpoint::ShardEnd => Begins::At(GivenAt::Finished),
            Checkpoint::After { sequence_number, sub_sequence } => {
                if shard
                    .first
                    .as_deref()
                    .is_some_and(|first| compare(sequence_number, first) == Ordering::Less)
                {
                    plan.refusals.push(Refusal::BeforeFirst { key: lease.key.clone() });
                }
                let sequence_number = sequence_number.clone();
                Begins::At(GivenAt::AfterSub { sequence_number, sub_sequence: *sub_sequence })
            }
            // Nothing of it was processed, and what comes after all of a shard before it is read after that.
            _ if follows => Begins::Follows,
            Checkpoint::TrimHorizon => Begins::At(GivenAt::Oldest),
            Checkpoint::Latest => Begins::At(GivenAt::Time(self.with.now_ms)),
            Checkpoint::AtTimestamp => match self.with.initial {
                Some(InitialPosition::AtTimestamp(at_ms)) => Begins::At(GivenAt::Time(at_ms)),
                _ => {
                    plan.refusals.push(Refusal::NoTimestamp { key: lease.key.clone() });
                    Begins::Unknown
                }
            },
        }
    }

    fn of_none(&self, shard: &Listed, parents: &[Stand], plan: &mut Plan) -> Begins {
        if parents.contains(&Stand::Unfinished) {
            return Begins::Follows;
        }
        if self.before_leased.contains(shard.id.as_str()) {
            return Begins::At(GivenAt::Finished);
        }
        if self.is_next(parents) {
            return Begins::At(GivenAt::Oldest);
        }
        let is_first = !parents.contains(&Stand::Unknown);
        match self.with.initial {
            // Something comes after it: it ended before now.
            Some(InitialPosition::Latest) if self.is_parent.contains(shard.id.as_str()) => {
                Begins::At(GivenAt::Finished)
            }
            Some(InitialPosition::Latest) => Begins::At(GivenAt::Time(self.with.now_ms)),
            Some(_) if !is_first => Begins::Follows,
            Some(InitialPosition::TrimHorizon) => Begins::At(GivenAt::Oldest),
            Some(InitialPosition::AtTimestamp(at_ms)) => Begins::At(GivenAt::Time(at_ms)),
            None => {
                let (stream, shard) = (self.name.to_owned(), shard.id.clone());
                plan.refusals.push(Refusal::NoLease { stream, shard });
                Begins::Unknown
            }
        }
    }

    /// Leases on shards that are not there any more.
    fn unlisted(&self, plan: &mut Plan) {
        for (shard, lease) in &self.leases {
            if !self.listed.contains_key(shard) && !lease.is_over() {
                plan.refusals
                    .push(Refusal::Gone { key: lease.key.clone(), checkpoint: lease.checkpoint.clone() });
            }
        }
    }
}
