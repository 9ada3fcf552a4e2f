//! The answers that are kept: each for its time, and past it for the time in which the store may fail.
//!
//! ```text
//!   kept ──── fresh ────> its time is over ──── stale ────> gone
//!                │                                │
//!         used for records           asked for again; used where that fails, and
//!                                    then not asked for again during a pause
//! ```

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use moka::Expiry;
use moka::sync::Cache;
use tokio::time::Instant;

use super::Lookups;
use super::patience::later;

/// What is known of a key: its value, or that there is none.
pub(super) type Answer<V> = Option<Arc<V>>;

/// How long a stale answer counts as fresh when the store has just failed: without it, each batch of a hot key would wait
/// for a failure of its own.
const STALE_PAUSE: Duration = Duration::from_secs(1);

/// The latest answers of a lookup.
pub(super) struct AnswerCache<K, V> {
    how: Lookups,
    /// None where nothing is kept.
    kept: Option<Cache<K, Kept<V>, RandomState>>,
}

struct Kept<V> {
    answer: Answer<V>,
    /// What decides how long the cache has it.
    lives: Duration,
    /// Only where it lives on past its time: looking at the clock for each record is not free.
    stale: Option<Stale>,
}

#[derive(Clone, Copy)]
struct Stale {
    from: Instant,
    gone: Instant,
}

impl<V> Clone for Kept<V> {
    fn clone(&self) -> Self {
        Self { answer: self.answer.clone(), ..*self }
    }
}

/// Each entry says itself how long it lives.
struct EachItsOwn;

impl<K, V> Expiry<K, Kept<V>> for EachItsOwn {
    fn expire_after_create(&self, _: &K, kept: &Kept<V>, _: std::time::Instant) -> Option<Duration> {
        Some(kept.lives)
    }

    fn expire_after_update(
        &self,
        _: &K,
        kept: &Kept<V>,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.lives)
    }
}

impl<K, V> AnswerCache<K, V>
where
    K: Eq + std::hash::Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(super) fn new(how: Lookups) -> Self {
        let keeps = !(how.cache_for.is_zero() && how.misses_for().is_zero() && how.stale_for.is_zero());
        let kept = keeps.then(|| {
            let cache = Cache::builder().max_capacity(how.cached_keys_max).expire_after(EachItsOwn);
            cache.build_with_hasher(RandomState::default())
        });
        Self { how, kept }
    }

    /// The answer whose time is not over.
    pub(super) fn fresh(&self, key: &K) -> Option<Answer<V>> {
        let kept = self.kept.as_ref()?.get(key)?;
        match kept.stale {
            Some(stale) if stale.from <= Instant::now() => None,
            _ => Some(kept.answer),
        }
    }

    /// Keeps what the store has just answered.
    pub(super) fn keep(&self, key: K, answer: Answer<V>) {
        let Some(cache) = &self.kept else { return };
        let fresh_for = if answer.is_some() { self.how.cache_for } else { self.how.misses_for() };
        let lives = fresh_for.saturating_add(self.how.stale_for);
        let stale = (!self.how.stale_for.is_zero()).then(|| {
            let now = Instant::now();
            Stale { from: later(now, fresh_for), gone: later(now, lives) }
        });
        cache.insert(key, Kept { answer, lives, stale });
    }

    /// What is known, although its time is over. It is used for a pause without a question, and never past its end.
    pub(super) fn stale(&self, key: &K) -> Option<Answer<V>>
    where
        K: Clone,
    {
        let cache = self.kept.as_ref()?;
        let kept = cache.get(key)?;
        let stale = kept.stale?;
        let now = Instant::now();
        let lives = stale.gone.saturating_duration_since(now);
        if lives.is_zero() {
            return None;
        }
        let stale = Stale { from: later(now, STALE_PAUSE).min(stale.gone), ..stale };
        cache.insert(key.clone(), Kept { answer: kept.answer.clone(), lives, stale: Some(stale) });
        Some(kept.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);
    const NOT_AT_ALL: Duration = Duration::ZERO;

    fn cache(how: Lookups) -> AnswerCache<u8, u8> {
        let cache = AnswerCache::new(how);
        cache.keep(1, Some(Arc::new(7)));
        cache.keep(2, None);
        cache
    }

    #[test]
    fn hits_and_misses_live_each_for_their_time() {
        let both = cache(Lookups::ordered());
        assert_eq!(both.fresh(&1), Some(Some(Arc::new(7))));
        assert_eq!(both.fresh(&2), Some(None), "known to be missing");
        assert_eq!(both.fresh(&3), None, "unknown");
        assert_eq!(both.stale(&1), None, "nobody chose that");

        let hits = cache(Lookups::ordered().cache_misses_for(NOT_AT_ALL));
        assert_eq!((hits.fresh(&1), hits.fresh(&2)), (Some(Some(Arc::new(7))), None));
        let misses = cache(Lookups::ordered().cache_for(NOT_AT_ALL).cache_misses_for(LONG));
        assert_eq!((misses.fresh(&1), misses.fresh(&2)), (None, Some(None)));
        let none = cache(Lookups::ordered().cache_for(NOT_AT_ALL));
        assert_eq!((none.fresh(&1), none.fresh(&2)), (None, None));
    }

    #[test]
    fn a_stale_answer_is_asked_for_again_and_used_for_a_pause_where_that_fails() {
        let cache = cache(Lookups::ordered().cache_for(NOT_AT_ALL).stale_for(LONG));
        assert_eq!((cache.fresh(&1), cache.fresh(&2)), (None, None), "their time is over");
        assert_eq!(cache.stale(&1), Some(Some(Arc::new(7))));
        assert_eq!(cache.stale(&2), Some(None));
        assert_eq!(cache.stale(&3), None, "nothing is known");
        assert_eq!(cache.fresh(&1), Some(Some(Arc::new(7))), "not asked for again at once");
    }

    #[test]
    fn no_failure_makes_an_answer_live_longer_than_was_chosen() {
        let cache = cache(Lookups::ordered().cache_for(NOT_AT_ALL).stale_for(Duration::from_millis(20)));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(25) {
            let _used = cache.stale(&1);
        }
        assert_eq!((cache.fresh(&1), cache.stale(&1)), (None, None));
    }
}
