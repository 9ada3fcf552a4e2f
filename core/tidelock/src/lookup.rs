//! Enrichment against a store that is not part of the stream.

use async_trait::async_trait;

use crate::Result;

/// A store that answers keys. Caching, ordering, bounds and the merging of equal keys are the host's;
/// a connector answers one batch.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// What is asked for.
    type Key: Clone + Eq + std::hash::Hash + Send + Sync + 'static;
    /// What is found.
    type Value: Clone + Send + Sync + 'static;

    /// Answers every key, in the order of `keys`; `None` is a miss.
    ///
    /// # Contract
    /// - MUST return exactly one answer for each key.
    /// - `keys` has no key twice and is bounded by the host.
    ///
    /// # Crash
    /// Leaves nothing: a lookup changes nothing outside.
    async fn lookup(&self, keys: &[Self::Key]) -> Result<Vec<Option<Self::Value>>>;
}
