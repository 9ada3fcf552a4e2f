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

/// A store, or a part of one, that fits into memory and is loaded whole. When to load it again, and what to do
/// while that fails, is the host's.
#[async_trait]
pub trait LookupTable: Send + Sync + 'static {
    /// What is asked for.
    type Key: Eq + std::hash::Hash + Send + Sync + 'static;
    /// What is found.
    type Value: Send + Sync + 'static;

    /// Everything that is there now.
    ///
    /// # Contract
    /// - MUST give no key twice: the host could not tell which of them counts.
    /// - MUST refuse what is larger than its author bargained for, and not fill the memory with it.
    ///
    /// # Crash
    /// Leaves nothing: a lookup changes nothing outside.
    async fn load(&self) -> Result<Vec<(Self::Key, Self::Value)>>;
}
