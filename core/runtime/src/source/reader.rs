//! The task that reads one split.

use std::sync::Arc;

use tidelock::{Batch, Result, Source, SourceName, SplitReader};
use tokio::sync::mpsc;

use crate::wake::Waker;

/// What a reader hands to its worker.
#[derive(Debug)]
pub(crate) struct Read<S: Source> {
    /// The worker's number for the split.
    pub(crate) slot: u32,
    /// Records with the position after them; `None` at the end of the split.
    pub(crate) batch: Option<Batch<S::Record, S::Split>>,
    /// What the reader says that the records hold on the heap.
    pub(crate) heap_bytes: u64,
}

/// Reads a split of the source of this name to its end. Waits while the worker is behind: that is the backpressure.
pub(crate) async fn read<S: Source>(
    source: Arc<S>,
    name: SourceName,
    slot: u32,
    split: S::Split,
    worker: mpsc::Sender<Read<S>>,
    waker: Waker,
) -> Result<()> {
    let mut reader = source.open(split).await?;
    reader.belongs_to(&name);
    loop {
        let batch = reader.next().await?;
        let (ended, heap_bytes) = (batch.is_none(), reader.heap_bytes());
        // The worker is gone only when the attempt ends.
        if worker.send(Read { slot, batch, heap_bytes }).await.is_err() {
            return Ok(());
        }
        waker.wake();
        if ended {
            return Ok(());
        }
    }
}
