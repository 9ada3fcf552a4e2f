//! Which shard is throttled.
//!
//! The limits of the service are by shard, and one that has too much to do must not hold up the others. A refusal does not name the shard in a form that
//! is promised, and who puts records need not be allowed to list shards. So it is learned from what was taken: all hashes between two that
//! came to one shard are in it. A shard that another one took over is found out by the first record that comes to the other.
//!
//! After a pause a few records go, and two more for each that is taken: so a shard that takes nothing is tried, and not flooded.
//!
//! Pure: times are milliseconds of a clock that never goes back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::hash_key::HashKey;

/// The first pause. A shard earns some tens of records in that time.
const PAUSE_MIN_MS: u64 = 50;

/// The longest one: a shard has its whole second again then.
const PAUSE_MAX_MS: u64 = 1_000;

/// So many records go after a pause before one of them is answered.
const TRIES: u64 = 16;

/// What a shard takes in a second at most. One that takes more than it waits for is not throttled any more.
const FREE: u64 = 1_000;

/// What is known of the shards of a stream.
#[derive(Debug, Default)]
pub(super) struct Brakes {
    /// By their lowest known hash. They do not overlap.
    shards: BTreeMap<HashKey, Shard>,
    starts: HashMap<Arc<str>, HashKey>,
}

#[derive(Debug)]
struct Shard {
    /// The highest known hash.
    end: HashKey,
    id: Arc<str>,
    /// How long the last pause was, and when it ended. Refusals until then are of one piece of news.
    pause_ms: u64,
    paused_until_ms: u64,
    /// Until when nothing is sent to it.
    until_ms: u64,
    /// How many records may go then. `None`: as many as there are.
    tries: Option<u64>,
}

impl Shard {
    fn new(hash: HashKey, id: Arc<str>) -> Self {
        Self { end: hash, id, pause_ms: 0, paused_until_ms: 0, until_ms: 0, tries: None }
    }

    /// It took a record.
    fn took(&mut self) {
        let Some(tries) = &mut self.tries else { return };
        *tries += 2;
        self.until_ms = 0;
        if *tries > FREE {
            self.tries = None;
        }
    }
}

impl Brakes {
    /// A record with this hash came to this shard.
    pub(super) fn learn(&mut self, hash: HashKey, id: &str) {
        if let Some(start) = self.start_of(hash) {
            match self.shards.get_mut(&start).filter(|shard| *shard.id == *id) {
                Some(same) => return same.took(),
                // What was learned of that shard is over.
                None => drop(self.forget(start)),
            }
        }
        let id: Arc<str> = id.into();
        let (mut start, mut shard) = (hash, Shard::new(hash, Arc::clone(&id)));
        if let Some(known) = self.starts.get(&id).copied()
            && let Some(same) = self.forget(known)
        {
            (start, shard) = (known.min(hash), Shard { end: same.end.max(hash), ..same });
        }
        // So are those that lie between what is known of this one.
        let over: Vec<HashKey> = self.shards.range(start..=shard.end).map(|(start, _)| *start).collect();
        for start in over {
            self.forget(start);
        }
        self.starts.insert(id, start);
        self.shards.insert(start, shard);
    }

    /// A record with this hash was refused, because its shard takes no more now. Gives when it may be sent again.
    pub(super) fn throttled(&mut self, hash: HashKey, now_ms: u64) -> u64 {
        let Some(start) = self.start_of(hash) else { return now_ms + PAUSE_MIN_MS };
        let Some(shard) = self.shards.get_mut(&start) else { return now_ms + PAUSE_MIN_MS };
        // All that were sent together are one piece of news.
        if now_ms >= shard.paused_until_ms {
            let quiet_seconds = (now_ms - shard.paused_until_ms) / 1_000;
            let before = shard.pause_ms.checked_shr(u32::try_from(quiet_seconds).unwrap_or(u32::MAX));
            shard.pause_ms = (2 * before.unwrap_or(0)).clamp(PAUSE_MIN_MS, PAUSE_MAX_MS);
            shard.paused_until_ms = now_ms + shard.pause_ms;
        }
        shard.until_ms = shard.until_ms.max(shard.paused_until_ms);
        shard.tries = Some(TRIES);
        shard.until_ms
    }

    /// Lets a record with this hash go; or gives when it may be asked again.
    pub(super) fn pass(&mut self, hash: HashKey, now_ms: u64) -> Result<(), u64> {
        let Some(shard) = self.start_of(hash).and_then(|start| self.shards.get_mut(&start)) else {
            return Ok(());
        };
        if now_ms < shard.until_ms {
            return Err(shard.until_ms);
        }
        if let Some(tries) = &mut shard.tries {
            *tries -= 1;
            if *tries == 0 {
                (shard.until_ms, shard.tries) = (now_ms + shard.pause_ms, Some(TRIES));
            }
        }
        Ok(())
    }

    fn start_of(&self, hash: HashKey) -> Option<HashKey> {
        let (start, shard) = self.shards.range(..=hash).next_back()?;
        (hash <= shard.end).then_some(*start)
    }

    fn forget(&mut self, start: HashKey) -> Option<Shard> {
        let shard = self.shards.remove(&start)?;
        self.starts.remove(&shard.id);
        Some(shard)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(shards: &[(u128, &str)]) -> Brakes {
        let mut brakes = Brakes::default();
        shards.iter().for_each(|(hash, id)| brakes.learn(HashKey(*hash), id));
        brakes
    }

    fn passes(brakes: &mut Brakes, hash: u128, now_ms: u64) -> bool {
        brakes.pass(HashKey(hash), now_ms).is_ok()
    }

    #[test]
    fn a_shard_that_is_throttled_pauses_and_others_do_not() {
        let mut brakes = known(&[(10, "a"), (30, "a"), (50, "b"), (90, "b")]);
        assert_eq!(brakes.throttled(HashKey(20), 1_000), 1_050);
        assert_eq!(brakes.throttled(HashKey(25), 1_010), 1_050, "of the same news");
        assert_eq!(brakes.pass(HashKey(10), 1_049), Err(1_050));
        for (hash, now_ms) in [(30, 1_050), (60, 1_000), (40, 1_000), (5, 1_000)] {
            assert!(passes(&mut brakes, hash, now_ms), "{hash}");
        }
        // Longer and longer, up to a second; short again after a while without.
        let mut now_ms = 1_050;
        for pause in [100, 200, 400, 800, 1_000, 1_000] {
            assert_eq!(brakes.throttled(HashKey(20), now_ms), now_ms + pause);
            now_ms += pause;
        }
        assert_eq!(brakes.throttled(HashKey(20), now_ms + 60_000), now_ms + 60_000 + PAUSE_MIN_MS);
        // Of what is not known only that record waits.
        assert_eq!(brakes.throttled(HashKey(40), 7), 7 + PAUSE_MIN_MS);
    }

    #[test]
    fn after_a_pause_a_few_go_and_more_when_they_are_taken() {
        let mut brakes = known(&[(10, "a"), (30, "a")]);
        let mut now_ms = brakes.throttled(HashKey(20), 0);
        let go = |brakes: &mut Brakes, now_ms| (0..5_000).filter(|_| passes(brakes, 20, now_ms)).count();
        // Nobody answers, and none is lost for ever.
        for _ in 0..3 {
            assert_eq!(go(&mut brakes, now_ms), 16);
            now_ms += PAUSE_MIN_MS;
        }
        let mut went = go(&mut brakes, now_ms);
        for _ in 0..7 {
            (0..went).for_each(|_| brakes.learn(HashKey(20), "a"));
            went = go(&mut brakes, now_ms);
        }
        assert_eq!(went, 5_000, "it is not throttled any more");
    }

    #[test]
    fn shards_that_others_took_over_are_forgotten() {
        let mut brakes = known(&[(10, "a"), (90, "a"), (95, "b"), (99, "b")]);
        brakes.throttled(HashKey(50), 0);
        brakes.learn(HashKey(50), "c");
        for hash in [10, 50, 90] {
            assert!(passes(&mut brakes, hash, 1), "{hash}");
        }
        // A merge of all.
        brakes.learn(HashKey(10), "d");
        brakes.learn(HashKey(99), "d");
        assert_eq!((brakes.shards.len(), brakes.starts.len()), (1, 1));
        brakes.throttled(HashKey(50), 2);
        assert!(!passes(&mut brakes, 96, 3));
    }

    proptest! {
        /// Whatever is learned, ranges do not overlap, and each id is there once.
        #[test]
        fn what_is_learned_never_overlaps(all in proptest::collection::vec((0_u128..100, 0_u32..6), 0..200)) {
            let mut brakes = Brakes::default();
            for (hash, id) in all {
                brakes.learn(HashKey(hash), &id.to_string());
                let start = brakes.start_of(HashKey(hash)).expect("known");
                prop_assert_eq!(&*brakes.shards[&start].id, &id.to_string());
                let mut last = None;
                for (start, shard) in &brakes.shards {
                    prop_assert!(last < Some(*start) && *start <= shard.end);
                    prop_assert_eq!(brakes.starts.get(&shard.id), Some(start));
                    last = Some(shard.end);
                }
                prop_assert_eq!(brakes.shards.len(), brakes.starts.len());
            }
        }
    }
}
