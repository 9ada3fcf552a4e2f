//! Records that are put at once: the mode `direct`, at least once.
//!
//! `write` hands records to a task that puts them, and returns when there is room for more; `prepare` waits until all are in the stream. So a shard that is
//! throttled holds back the records that are for it, and in the end the barrier, and nothing else.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tidelock::{Rejects, Result};

use crate::put::KinesisPut;
use crate::puts::{At, Puts, Stamp};
use crate::target::{Ready, Target};

/// Writes records as they are: see [`Mode::Direct`](crate::Mode::Direct).
pub(crate) struct DirectWriter {
    ready: Arc<Ready>,
    puts: Puts,
    rejects: Rejects<KinesisPut>,
}

/// Adds nothing.
struct Bare;

impl Stamp for Bare {
    fn stamp(&mut self, _index: u64, data: &Bytes) -> Bytes {
        data.clone()
    }

    fn put(&mut self, _index: u64, _at: &At<'_>) -> Result<()> {
        Ok(())
    }

    fn has_room(&self, _next: u64) -> bool {
        true
    }
}

impl fmt::Debug for DirectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectWriter").field("stream", &self.ready.checks.stream).finish_non_exhaustive()
    }
}

impl DirectWriter {
    /// See [`Sink::open`](tidelock::Sink::open).
    pub(crate) fn open(target: &Target, ready: Arc<Ready>) -> Self {
        let puts = target.puts(&ready, Bare);
        Self { ready, puts, rejects: Rejects::default() }
    }

    /// See [`Rejecting`](tidelock::Rejecting).
    pub(crate) fn reject_to(&mut self, rejects: Rejects<KinesisPut>) {
        self.rejects = rejects;
    }

    /// See [`SinkWriter::write`](tidelock::SinkWriter::write).
    pub(crate) async fn write(&mut self, records: &mut Vec<KinesisPut>) -> Result<()> {
        let mut good = Vec::with_capacity(records.len());
        for record in records.drain(..) {
            match self.ready.checks.check(&record) {
                Ok(()) => good.push(record),
                Err(error) => self.rejects.push(record, error)?,
            }
        }
        self.puts.put(good).await
    }

    /// See [`SinkWriter::prepare`](tidelock::SinkWriter::prepare).
    pub(crate) async fn prepare(&mut self) -> Result<()> {
        self.puts.flush().await
    }
}
