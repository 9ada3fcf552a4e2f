//! A source of which one split breaks when a test wants it.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::{
    Batch, Discovery, Error, ErrorKind, Known, Result, Source, Split, SplitId, SplitReader, Versioned,
};
use tokio::sync::Notify;

/// A split by its number, and how far it is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place(usize, u64);

impl Versioned for Place {
    const VERSION: u16 = 1;
    fn upgrade(version: u16, _: &str) -> Result<Self> {
        Err(tidelock::unknown_version::<Self>(version))
    }
}

impl Split for Place {
    fn id(&self) -> SplitId {
        SplitId::new(self.0.to_string())
    }
}

/// Splits that have one record each, and no end.
#[derive(Debug, Clone)]
pub(crate) struct Breaks {
    pub(crate) splits: usize,
    /// The one that breaks.
    pub(crate) breaks: usize,
    pub(crate) now: Arc<Notify>,
    /// Held by every reader.
    pub(crate) lives: Arc<()>,
}

impl Breaks {
    pub(crate) fn new(splits: usize, breaks: usize) -> Self {
        Self { splits, breaks, now: Arc::default(), lives: Arc::default() }
    }

    /// How many readers live, where `sources` others are there.
    pub(crate) fn readers(&self, sources: usize) -> usize {
        Arc::strong_count(&self.lives).saturating_sub(sources + 1)
    }
}

#[derive(Debug)]
pub(crate) struct Reader(Place, Option<Arc<Notify>>, #[expect(dead_code, reason = "it is counted")] Arc<()>);

#[async_trait]
impl Source for Breaks {
    type Record = u64;
    type Split = Place;
    type Reader = Reader;

    async fn discover(&self, known: &Known<Place>) -> Result<Discovery<Place>> {
        if self.splits == 0 {
            return Err(gone());
        }
        let new = match known.active.is_empty() {
            true => (0..self.splits).map(|number| Place(number, 0)).collect(),
            false => Vec::new(),
        };
        Ok(Discovery { new, ..Discovery::default() })
    }

    async fn open(&self, split: Place) -> Result<Reader> {
        let breaks = (split.0 == self.breaks).then(|| Arc::clone(&self.now));
        Ok(Reader(split, breaks, Arc::clone(&self.lives)))
    }

    async fn acknowledge(&self, _: &[Place]) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl SplitReader for Reader {
    type Record = u64;
    type Split = Place;

    async fn next(&mut self) -> Result<Option<Batch<u64, Place>>> {
        if self.0.1 == 0 {
            self.0.1 = 1;
            return Ok(Some(Batch { records: vec![1], resume: self.0.clone() }));
        }
        let Some(now) = &self.1 else { return std::future::pending().await };
        now.notified().await;
        Err(gone())
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "read", "the broker is gone")
}
