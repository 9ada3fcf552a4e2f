//! The operator of a source on one worker.
//!
//! It hands over what the readers read, in the epoch that is open. At a barrier it notes the position
//! of every split and goes on in the next epoch: a cut between two batches, at once, whatever
//! waits elsewhere.

use std::sync::Arc;

use tidelock::host::News;
use tidelock::{Batch as ReadBatch, Epoch, Rejected, Result, Source, StoredSplit, Uid};
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;
use timely::scheduling::Activator;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::clock::LaneClock;
use super::inbox::{Inbox, SourceOrder};
use super::intake::{Intake, TOO_FAR_AHEAD, Taken};
use super::reader::{Read, read};
use super::splits::Splits;
use crate::batch::{Batch, Lane};
use crate::book::{Book, Part};
use crate::counters::Counter;
use crate::records::Records;
use crate::shared::Shared;
use crate::time::Time;
use crate::wake::Waker;

/// How many batches, and about how many records, are handed over before other operators have their turn.
/// A barrier waits for a turn at most: small ones keep that below a millisecond.
const BATCHES_A_TURN: usize = 32;
const RECORDS_A_TURN: usize = 4096;

pub(crate) struct SourceOperator<S: Source> {
    pub(crate) uid: Uid,
    pub(crate) source: Arc<S>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) book: Arc<Book>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) splits: Splits<S::Split>,
    pub(crate) reads: Receiver<Read<S>>,
    pub(crate) to_worker: Sender<Read<S>>,
    pub(super) intake: Intake<S::Record>,
    pub(crate) waker: Waker,
    pub(crate) activator: Activator,
    pub(crate) counter: Counter,
    pub(crate) lane: Lane,
    pub(super) clock: LaneClock,
    pub(super) alarm: Alarm,
    /// The right to write the open epoch. It is kept after the last barrier too: the frontier must
    /// say which epochs are closed, and an empty one does not.
    pub(crate) capability: Option<Capability<Time>>,
    /// The same for the records that are too far ahead of the clock, where somebody takes them.
    pub(crate) ahead_capability: Option<Capability<Time>>,
    pub(crate) phase: Phase,
}

/// Where a source's records go.
pub(crate) struct Outputs<R: 'static> {
    pub(crate) records: Output<Time, Batch<R>>,
    /// Those that are too far ahead of the clock.
    pub(crate) ahead: Option<Output<Time, Batch<Rejected<R>>>>,
}

/// Where in the attempt the source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The coordinator has not opened the attempt.
    Closed,
    /// Splits are read.
    Open,
    /// The last barrier is through: nothing is read any more.
    Ended,
}

impl<S: Source> SourceOperator<S> {
    /// One turn: orders first, because a barrier waits for nothing.
    pub(crate) fn run(&mut self, outputs: &mut Outputs<S::Record>) -> Result<()> {
        self.waker.taken();
        while let Some(order) = self.inbox.pop() {
            self.obey(order, outputs)?;
        }
        if self.phase == Phase::Open {
            self.hand_over(outputs)?;
            while let Some((slot, split)) = self.splits.open_next(Instant::now())? {
                let start = self.book.start().expect("invariant: the attempt began before the source opened");
                let (name, source) = (start.attempt.of_source(&self.uid), Arc::clone(&self.source));
                let task = read(source, name, slot, split, self.to_worker.clone(), self.waker.clone());
                self.shared.tasks.spawn(Some(self.uid.clone()), "read", task);
            }
            self.tell_time(outputs);
        }
        Ok(())
    }

    fn obey(&mut self, order: SourceOrder, outputs: &mut Outputs<S::Record>) -> Result<()> {
        match order {
            SourceOrder::Open { epoch, reached } => {
                self.phase = Phase::Open;
                self.splits.restored(reached);
                self.go_on_in(epoch);
            }
            SourceOrder::Assign(split) => {
                self.splits.assign(*split);
                self.clock.assigned();
            }
            SourceOrder::Barrier { epoch, last } => self.cut(epoch, last, outputs)?,
            SourceOrder::EndOfInput => {
                self.clock.end();
                self.tell_time(outputs);
            }
            SourceOrder::Completed(epoch) => self.splits.completed(epoch),
        }
        Ok(())
    }

    fn cut(&mut self, epoch: Epoch, last: bool, outputs: &mut Outputs<S::Record>) -> Result<()> {
        // What was reached in this epoch belongs into its snapshot.
        self.clock.at_barrier();
        self.tell_time(outputs);
        let splits = self.splits.cut(epoch)?;
        self.book.contribute(epoch, &self.uid, Part::Source(splits));
        self.go_on_in(epoch.next());
        self.clock.after_barrier();
        self.tell_time(outputs);
        if last {
            // Readers see that nobody listens, and end.
            self.phase = Phase::Ended;
            self.reads.close();
        }
        Ok(())
    }

    /// Closes everything before an epoch.
    fn go_on_in(&mut self, epoch: Epoch) {
        for capability in [&mut self.capability, &mut self.ahead_capability].into_iter().flatten() {
            capability.downgrade(&epoch.0);
        }
    }

    fn hand_over(&mut self, outputs: &mut Outputs<S::Record>) -> Result<()> {
        let Some(capability) = &self.capability else { return Ok(()) };
        let Outputs { records: output, ahead: ahead_output } = outputs;
        let mut output = output.activate();
        let mut records_left = RECORDS_A_TURN;
        for _ in 0..BATCHES_A_TURN {
            if records_left == 0 {
                break;
            }
            if !self.shared.budget.has_room() {
                // Woken when there is room. Nobody is idle because of it.
                self.splits.excuse(Instant::now());
                return Ok(());
            }
            let Ok(Read { slot, batch, heap_bytes }) = self.reads.try_recv() else { return Ok(()) };
            let Some(ReadBatch { records, resume }) = batch else {
                if let Some(StoredSplit { id, split }) = self.splits.finish(slot)? {
                    self.shared.outbox.push(News::SplitFinished { uid: self.uid.clone(), id, split });
                }
                continue;
            };
            records_left = records_left.saturating_sub(records.len());
            self.counter.add(records.len());
            let taken =
                self.intake.take(records, heap_bytes).map_err(|error| match self.splits.name(slot) {
                    Some(split) => error.with("split", split),
                    None => error,
                })?;
            let Taken { records, ahead, latest, bytes } = taken;
            // Records that are not wanted do not keep a split from being idle.
            let heard = (!records.is_empty()).then(Instant::now);
            self.splits.advance(slot, resume, latest, heard);
            let mut credit = self.shared.budget.take(bytes);
            if !ahead.is_empty() {
                let credit = credit.split(ahead.len(), records.len() + ahead.len());
                let capability = self.ahead_capability.as_ref();
                if let (Some(output), Some(capability)) = (ahead_output.as_mut(), capability) {
                    let records = set_aside(&self.uid, ahead);
                    output.activate().give(capability, &mut Batch { records, credit, ..Batch::default() });
                }
            }
            output.give(capability, &mut Batch { records, credit, ..Batch::default() });
        }
        // More may wait, and nobody else will wake this operator for what is in the channel already.
        self.activator.activate();
        Ok(())
    }

    /// Tells the watermark where it changed.
    fn tell_time(&mut self, outputs: &mut Outputs<S::Record>) {
        let Some(capability) = &self.capability else { return };
        if !self.intake.has_event_time() {
            return;
        }
        let now = Instant::now();
        let told = self.clock.tell(self.splits.mark(now), self.splits.reached());
        let marks: Vec<_> = told.map(|mark| (self.lane, mark)).collect();
        if let (Some(output), Some(capability)) = (&mut outputs.ahead, &self.ahead_capability) {
            let marks = marks.clone();
            output.activate().give(capability, &mut Batch { marks, ..Batch::default() });
        }
        outputs.records.activate().give(capability, &mut Batch { marks, ..Batch::default() });
        if let Some(idle_in) = self.splits.idle_in(now).and_then(|idle_in| self.alarm.set(now, idle_in)) {
            self.activator.activate_after(idle_in);
        }
    }
}

/// Records that are too far ahead of the clock, with what their readers must know.
fn set_aside<R>(uid: &Uid, ahead: Records<R>) -> Records<Rejected<R>> {
    let mut rejected = Records::with_capacity(ahead.len());
    for (record, time) in ahead {
        rejected.push(Rejected { uid: uid.clone(), reason: TOO_FAR_AHEAD.to_owned(), time, record }, time);
    }
    rejected
}
