//! Which numbered records a shard, and those that it goes on from, had already: a record that comes once more is a repeat.
//!
//! ```text
//!   a numbering:   . . . . . . . . . │ x   x x     x        x: was read here
//!                    all of it was   floor
//!                    acknowledged    └─ above: the places that were read
//! ```
//!
//! A record is a repeat where its very place was read, or where it is before the floor of its numbering. What is before the floor was acknowledged
//! a while before the record that says so was sent, so that its first copy is before that record: in this shard, or in one that this one goes on from and
//! that was read to its end. Those in other shards nobody reads here. So **a floor is never carried from one shard to another** that does not go on from it.
//!
//! Whatever is not known is new. A record that is taken for a repeat is lost, and one that is not taken for one comes twice: what is forgotten, or never was
//! known, may only do the second. So a numbering that nobody knows has no floor, whatever is known of others of its job.
//!
//! Pure: no clock. Times are those of arrival in the stream, so that a source that was down for long forgets nothing by that.

use serde::{Deserialize, Serialize};
use tidelock::{Generation, JobId, Uid};

use crate::header::{Header, NumberingId};
use crate::place::Place;

mod above;

use above::Above;

/// A numbering is forgotten when nothing of it came for so long, by the times of the stream. A job that is down for weeks may still put again what was
/// pending, and a process that was paused over days may still wake up.
const KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// So many numberings are remembered: about 100 bytes of a snapshot each. A restart makes as many new ones as the sink has writers. Where they are more, those of the history that
/// has the most go, so that one job that restarts all the time costs no other one anything.
const NUMBERINGS_MAX: usize = 1_024;

/// What was read of numbered records, of one shard and those before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Seen {
    /// In their order, each once.
    histories: Vec<History>,
}

/// The numberings of a sink in one generation: one log without a step back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    job: JobId,
    uid: Uid,
    generation: Generation,
    /// In their order, each once.
    numberings: Vec<Numbering>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbering {
    id: NumberingId,
    /// Whatever is before this is a repeat.
    floor: Place,
    #[serde(default, skip_serializing_if = "Above::is_empty")]
    above: Above,
    /// When the last of it arrived in the stream.
    last_ms: i64,
}

impl Seen {
    /// Whether it knows nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.histories.is_empty()
    }

    /// Takes note of a record that arrived at this time. Returns whether it is new; otherwise it is a repeat.
    pub(crate) fn take(&mut self, header: &Header, arrival_ms: i64) -> bool {
        let (at, is_known) = self.history(header);
        let history = &mut self.histories[at];
        let place_of = history.numberings.binary_search_by_key(&header.numbering, |known| known.id);
        let numbering = match place_of {
            Ok(at) => &mut history.numberings[at],
            Err(at) => {
                history.numberings.insert(at, Numbering::new(header.numbering, arrival_ms));
                &mut history.numberings[at]
            }
        };
        let is_new = numbering.take(header, arrival_ms);
        // The first time that it says so: nothing of older numberings before this epoch is under way any more.
        let since = Place::first_of(header.since);
        let said = numbering.raise(header.floor);
        if said < since && since <= header.floor {
            history.close(header.numbering, since);
        }
        if place_of.is_err() || !is_known {
            self.forget(arrival_ms);
        }
        is_new
    }

    /// Adds what another shard had that this one goes on from.
    pub(crate) fn union(&mut self, other: Self) {
        let mut newest = i64::MIN;
        for theirs in other.histories {
            newest = theirs.numberings.iter().map(|one| one.last_ms).fold(newest, i64::max);
            match self.histories.binary_search_by(|ours| ours.key().cmp(&theirs.key())) {
                Ok(at) => self.histories[at].union(theirs.numberings),
                Err(at) => self.histories.insert(at, theirs),
            }
        }
        self.forget(newest);
    }

    /// The place of a record's history, and whether it was there.
    fn history(&mut self, header: &Header) -> (usize, bool) {
        let key = (&header.job, &header.uid, header.generation);
        match self.histories.binary_search_by(|known| known.key().cmp(&key)) {
            Ok(at) => (at, true),
            Err(at) => {
                let (job, uid) = (header.job.clone(), header.uid.clone());
                let history = History { job, uid, generation: header.generation, numberings: Vec::new() };
                self.histories.insert(at, history);
                (at, false)
            }
        }
    }

    /// Forgets what is too old at this time, and what is too much. Called when something new is remembered, so that nothing grows without it.
    fn forget(&mut self, now_ms: i64) {
        let oldest = now_ms.saturating_sub(KEPT_MS);
        for history in &mut self.histories {
            history.numberings.retain(|numbering| numbering.last_ms >= oldest);
        }
        let mut count: usize = self.histories.iter().map(|history| history.numberings.len()).sum();
        while count > NUMBERINGS_MAX
            && let Some(largest) = self.histories.iter_mut().max_by_key(|history| history.numberings.len())
            && let Some(oldest) = largest.oldest()
        {
            largest.numberings.remove(oldest);
            count -= 1;
        }
        self.histories.retain(|history| !history.numberings.is_empty());
    }
}

impl History {
    fn key(&self) -> (&JobId, &Uid, Generation) {
        (&self.job, &self.uid, self.generation)
    }

    /// All before this place was acknowledged in the numberings that began before this one.
    ///
    /// One that began later has its own say: where the log was restored from a backup, it gives the numbers of epochs once more that an older one
    /// had given.
    fn close(&mut self, by: NumberingId, before: Place) {
        for older in self.numberings.iter_mut().filter(|known| known.id.began_ms < by.began_ms) {
            older.raise(before);
        }
    }

    fn union(&mut self, others: Vec<Numbering>) {
        for theirs in others {
            match self.numberings.binary_search_by_key(&theirs.id, |ours| ours.id) {
                Ok(at) => self.numberings[at].union(theirs),
                Err(at) => self.numberings.insert(at, theirs),
            }
        }
    }

    fn oldest(&self) -> Option<usize> {
        let of = |(at, numbering): (usize, &Numbering)| (numbering.last_ms, at);
        self.numberings.iter().enumerate().map(of).min().map(|(_, at)| at)
    }
}

impl Numbering {
    fn new(id: NumberingId, last_ms: i64) -> Self {
        Self { id, floor: Place::default(), above: Above::default(), last_ms }
    }

    fn take(&mut self, header: &Header, arrival_ms: i64) -> bool {
        self.last_ms = self.last_ms.max(arrival_ms);
        header.place >= self.floor && self.above.insert(header.place)
    }

    /// Raises the floor to this, if it is lower, and gives the one that it was.
    fn raise(&mut self, floor: Place) -> Place {
        let before = self.floor;
        if floor > before {
            self.floor = floor;
            self.above.forget_before(floor);
        }
        before
    }

    fn union(&mut self, other: Self) {
        self.last_ms = self.last_ms.max(other.last_ms);
        self.above.union(other.above);
        // What is before the greater floor was read in one of the two, to the end of it.
        let floor = self.floor.max(other.floor);
        self.floor = floor;
        self.above.forget_before(floor);
    }
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
