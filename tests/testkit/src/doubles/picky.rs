//! A sink in memory that cannot take every row: correct, or broken in exactly one way.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tidelock::{
    CommitPermit, Committed, Epoch, Error, ErrorKind, Pending, Prepared, Rejecting, Rejects, Result, Retry,
    Sink, SinkAttempt, SinkWriter, WriterId,
};

use super::RejectingDefect as D;
use super::{MemoryCommittable, MemorySink, MemoryWriter, Target};
use crate::harness::{RejectingHarness, Row, Shape, SinkFacets, SinkHarness};

/// A row whose key begins with this cannot be taken.
const BAD: &str = "bad-";

/// The rows that were rejected, as [`D::RemembersRejects`] keeps them outside of any process.
type Remembered = Arc<Mutex<BTreeSet<Row>>>;

/// A [`MemorySink`] that cannot take rows whose keys begin with `bad-`.
#[derive(Debug)]
pub struct PickySink {
    sink: MemorySink,
    defect: Option<D>,
    remembered: Remembered,
}

impl PickySink {
    /// A correct sink.
    pub fn new(target: Target) -> Self {
        Self { sink: MemorySink::new(target), defect: None, remembered: Arc::default() }
    }
}

#[async_trait]
impl Sink for PickySink {
    type Record = Row;
    type Committable = MemoryCommittable;
    type Writer = PickyWriter;

    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<MemoryCommittable>]) -> Result<()> {
        self.sink.recover(attempt, pending).await
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<PickyWriter> {
        Ok(PickyWriter {
            writer: self.sink.open(attempt, writer).await?,
            rejects: Rejects::default(),
            has_place: false,
            defect: self.defect,
            late: Vec::new(),
            remembered: Arc::clone(&self.remembered),
        })
    }

    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<MemoryCommittable>>,
    ) -> Result<Committed> {
        self.sink.commit(permit, committables).await
    }
}

/// The writer of a [`PickySink`].
#[derive(Debug)]
pub struct PickyWriter {
    writer: MemoryWriter,
    rejects: Rejects<Row>,
    has_place: bool,
    defect: Option<D>,
    /// What [`D::TellsLate`] and [`D::ReversesRejects`] have not told yet.
    late: Vec<Row>,
    remembered: Remembered,
}

impl Rejecting for PickyWriter {
    fn reject_to(&mut self, rejects: Rejects<Row>) {
        self.rejects = rejects;
        self.has_place = true;
    }
}

fn refusal() -> Error {
    Error::new(ErrorKind::Data, "write", "the row is bad")
}

impl PickyWriter {
    /// Sets one row aside. Nothing of it was written.
    async fn reject(&mut self, row: Row) -> Result<()> {
        match self.defect {
            Some(D::LosesRejects) if self.has_place => return Ok(()),
            Some(D::SkipsWithoutAPlace) if !self.has_place => return Ok(()),
            Some(D::AsksForARestart) if !self.has_place => return Err(refusal().with_retry(Retry::Restart)),
            Some(D::DoublesRejects) => self.rejects.push(row.clone(), refusal())?,
            Some(D::WritesRejects) => self.writer.write(&mut vec![row.clone()]).await?,
            Some(D::TellsLate | D::ReversesRejects) if self.has_place => {
                self.late.push(row);
                return Ok(());
            }
            Some(D::RemembersRejects) => {
                let mut remembered =
                    self.remembered.lock().expect("invariant: nobody panics while holding the rows");
                if self.has_place && !remembered.insert(row.clone()) {
                    return Ok(());
                }
            }
            _ => {}
        }
        self.rejects.push(row, refusal())
    }

    fn tell_late(&mut self) -> Result<()> {
        std::mem::take(&mut self.late).into_iter().try_for_each(|row| self.rejects.push(row, refusal()))
    }
}

#[async_trait]
impl SinkWriter for PickyWriter {
    type Record = Row;
    type Committable = MemoryCommittable;

    async fn write(&mut self, records: &mut Vec<Row>) -> Result<()> {
        if self.defect == Some(D::TellsLate) {
            self.tell_late()?;
        }
        while !records.is_empty() {
            let good = records.iter().take_while(|row| !row.key.starts_with(BAD)).count();
            if good > 0 {
                let mut taken: Vec<Row> = records.drain(..good).collect();
                self.writer.write(&mut taken).await?;
                if !taken.is_empty() {
                    // No free place: what was not taken goes back to the front.
                    records.splice(0..0, taken);
                    return Ok(());
                }
            } else {
                let bad = records.remove(0);
                self.reject(bad).await?;
                if self.defect == Some(D::DropsTheNext) && !records.is_empty() {
                    records.remove(0);
                }
            }
        }
        if self.defect == Some(D::ReversesRejects) {
            self.late.reverse();
            self.tell_late()?;
        }
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<MemoryCommittable>>> {
        self.writer.prepare(epoch).await
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        self.writer.settled(epoch, reinit).await
    }
}

/// Plugs [`PickySink`] into the suite.
#[derive(Debug, Default)]
pub struct PickyHarness {
    target: Target,
    defect: Option<D>,
    remembered: Remembered,
}

impl PickyHarness {
    /// A harness with a fresh target, for a sink that is correct or broken in one way.
    pub fn new(defect: Option<D>) -> Self {
        Self { target: Target::new(), defect, remembered: Remembered::default() }
    }
}

#[async_trait]
impl SinkHarness for PickyHarness {
    type Sink = PickySink;

    async fn sink(&self) -> Result<PickySink> {
        let remembered = Arc::clone(&self.remembered);
        Ok(PickySink { defect: self.defect, remembered, ..PickySink::new(self.target.clone()) })
    }

    fn record(&self, row: &Row) -> Row {
        row.clone()
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        Ok(self.target.visible())
    }

    fn facets(&self) -> SinkFacets<'_> {
        SinkFacets::new(Shape::Log)
    }
}

impl RejectingHarness for PickyHarness {
    fn bad(&self, row: &Row) -> Row {
        debug_assert!(row.key.starts_with(BAD), "the suite names bad rows so");
        row.clone()
    }

    fn row(&self, record: &Row) -> Row {
        record.clone()
    }

    fn reject_to(&self, writer: &mut PickyWriter, rejects: Rejects<Row>) {
        writer.reject_to(rejects);
    }
}
