//! One attempt of a job with nothing but a sink, driven step by step.

use tidelock::{
    CommitPermit, Committed, Epoch, ErrorKind, Generation, JobId, Pending, Position, Prepared, Retry, Sink,
    SinkAttempt, SinkWriter, Stored, Uid, WriterId,
};

use crate::check::{CheckFailure, Checked, ensure, must, patient};
use crate::harness::{Row, SinkHarness};

/// The older of two attempts. Nine and ten, because as text ten comes before nine.
pub(super) const OLDER: u64 = 9;
/// The newer of two attempts.
pub(super) const NEWER: u64 = 10;

pub(super) type SinkOf<H> = <H as SinkHarness>::Sink;
pub(super) type PendingOf<H> = Pending<<SinkOf<H> as Sink>::Committable>;
pub(super) type PreparedOf<H> = Prepared<<SinkOf<H> as Sink>::Committable>;

/// Who writes: a job and the uid of its sink.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) job: JobId,
    pub(super) uid: Uid,
}

impl Owner {
    pub(super) fn new(job: &str, uid: &str) -> Self {
        let job = JobId::new(job).expect("invariant: the suite's names are legal");
        let uid = Uid::new(uid).expect("invariant: the suite's names are legal");
        Self { job, uid }
    }

    /// The owner that most checks use.
    pub(super) fn usual() -> Self {
        Self::new("conform", "out")
    }

    /// An attempt of this owner on the harness's target.
    fn attempt<H: SinkHarness>(&self, harness: &H, number: u64) -> Checked<SinkAttempt> {
        let suffix = harness.facets().uid_suffix.unwrap_or_default();
        let uid = Uid::new(format!("{}{suffix}", self.uid));
        let uid = uid.map_err(|error| CheckFailure::because("the harness's suffix makes no uid", error))?;
        let (job, number) = (self.job.clone(), Position(number));
        Ok(SinkAttempt {
            job,
            uid,
            number,
            generation: Generation(1),
            chunks: harness.facets().chunks.cloned(),
        })
    }
}

/// An attempt with its sink and its writers.
pub(super) struct Run<'h, H: SinkHarness> {
    pub(super) harness: &'h H,
    pub(super) attempt: SinkAttempt,
    pub(super) sink: SinkOf<H>,
    writers: Vec<(WriterId, <SinkOf<H> as Sink>::Writer)>,
}

impl<'h, H: SinkHarness> Run<'h, H> {
    /// A fresh process of the usual owner that has done nothing yet.
    pub(super) async fn boot(harness: &'h H, number: u64) -> Checked<Self> {
        Self::boot_as(harness, Owner::usual(), number).await
    }

    pub(super) async fn boot_as(harness: &'h H, owner: Owner, number: u64) -> Checked<Self> {
        let sink = must("making a sink", harness.sink()).await?;
        let attempt = owner.attempt(harness, number)?;
        Ok(Self { harness, attempt, sink, writers: Vec::new() })
    }

    /// A fresh process that recovered with nothing pending and opened `writers`.
    pub(super) async fn start(harness: &'h H, number: u64, writers: u32) -> Checked<Self> {
        Self::restart(harness, number, &[], writers).await
    }

    /// A fresh process that recovers as the coordinator does (I6): look at what is pending, commit all of
    /// it, then open writers.
    pub(super) async fn restart(
        harness: &'h H,
        number: u64,
        pending: &[PendingOf<H>],
        writers: u32,
    ) -> Checked<Self> {
        let mut run = Self::boot(harness, number).await?;
        // A fresh process has nothing but what the snapshot stored.
        let pending = stored::<H>(pending)?;
        run.recover(&pending).await?;
        if let Some(epoch) = pending.iter().map(|pending| pending.epoch).max() {
            run.commit(epoch.0, &pending).await?;
        }
        for writer in 0..writers {
            run.open(writer).await?;
        }
        Ok(run)
    }

    /// A fresh process of the next generation: the job was rolled back, with nothing pending.
    pub(super) async fn roll_back(harness: &'h H, number: u64) -> Checked<Self> {
        let mut run = Self::boot(harness, number).await?;
        run.attempt.generation = run.attempt.generation.next();
        run.recover(&[]).await?;
        run.open(0).await?;
        Ok(run)
    }

    pub(super) async fn recover(&self, pending: &[PendingOf<H>]) -> Checked<()> {
        must("recover", self.sink.recover(&self.attempt, pending)).await
    }

    /// Recovers where the sink may refuse, because a newer attempt is there.
    pub(super) async fn recover_or_be_refused(&self) -> Checked<()> {
        let _ = patient("recover", self.sink.recover(&self.attempt, &[])).await?;
        Ok(())
    }

    pub(super) async fn open(&mut self, writer: u32) -> Checked<()> {
        let id = WriterId(writer);
        let opened = must("open", self.sink.open(&self.attempt, id)).await?;
        self.writers.push((id, opened));
        Ok(())
    }

    /// Opens a writer and writes with it, where the sink may refuse both.
    pub(super) async fn intrude(&mut self, writer: u32, rows: &[Row]) -> Checked<()> {
        let id = WriterId(writer);
        if let Ok(mut opened) = patient("open", self.sink.open(&self.attempt, id)).await? {
            let mut records = self.records(rows);
            let _ = patient("write", opened.write(&mut records)).await?;
            self.writers.push((id, opened));
        }
        Ok(())
    }

    fn records(&self, rows: &[Row]) -> Vec<<SinkOf<H> as Sink>::Record> {
        rows.iter().map(|row| self.harness.record(row)).collect()
    }

    pub(super) fn writer(&mut self, writer: u32) -> &mut <SinkOf<H> as Sink>::Writer {
        let found = self.writers.iter_mut().find(|(id, _)| id.0 == writer);
        &mut found.expect("invariant: the check opened this writer").1
    }

    /// Offers rows to a writer once. Returns those that it took.
    pub(super) async fn offer<'r>(&mut self, writer: u32, rows: &'r [Row]) -> Checked<&'r [Row]> {
        let mut records = self.records(rows);
        must("write", self.writer(writer).write(&mut records)).await?;
        let message = || format!("write was offered {} records and gives back {}", rows.len(), records.len());
        ensure(records.len() <= rows.len(), message)?;
        Ok(&rows[..rows.len() - records.len()])
    }

    /// Writes rows of which the writer must take all.
    pub(super) async fn write(&mut self, writer: u32, rows: &[Row]) -> Checked<()> {
        let taken = self.offer(writer, rows).await?.len();
        ensure(taken == rows.len(), || {
            format!("the writer took {taken} of {} records though it has a free place", rows.len())
        })
    }

    /// Writes records that are no rows: deletes, or such as the writer cannot take.
    pub(super) async fn write_records(
        &mut self,
        mut records: Vec<<SinkOf<H> as Sink>::Record>,
    ) -> Checked<()> {
        must("write", self.writer(0).write(&mut records)).await?;
        let message =
            || format!("the writer gives {} records back though it has a free place", records.len());
        ensure(records.is_empty(), message)
    }

    /// Writes and prepares records where the sink may refuse both.
    pub(super) async fn try_records(
        &mut self,
        epoch: u64,
        mut records: Vec<<SinkOf<H> as Sink>::Record>,
    ) -> Checked<tidelock::Result<()>> {
        if let Err(error) = patient("write", self.writer(0).write(&mut records)).await? {
            return Ok(Err(error));
        }
        Ok(patient("prepare", self.writer(0).prepare(Epoch(epoch))).await?.map(drop))
    }

    /// Writes and prepares with the first writer where the sink may refuse both.
    pub(super) async fn try_fill(
        &mut self,
        epoch: u64,
        rows: &[Row],
    ) -> Checked<tidelock::Result<Vec<PendingOf<H>>>> {
        let mut records = self.records(rows);
        if let Err(error) = patient("write", self.writer(0).write(&mut records)).await? {
            return Ok(Err(error));
        }
        let prepared = patient("prepare", self.writer(0).prepare(Epoch(epoch))).await?;
        Ok(prepared.map(|all| self.pending(epoch, WriterId(0), all).collect()))
    }

    pub(super) fn pending(
        &self,
        epoch: u64,
        writer: WriterId,
        prepared: Vec<PreparedOf<H>>,
    ) -> impl Iterator<Item = PendingOf<H>> + use<H> {
        let (epoch, attempt) = (Epoch(epoch), self.attempt.number);
        prepared.into_iter().map(move |one| Pending { epoch, attempt, writer, committable: one.committable })
    }

    /// Begins to write and dies inside the call, at its `polls`-th poll.
    pub(super) async fn crash_inside_write(
        &mut self,
        writer: u32,
        rows: &[Row],
        polls: usize,
    ) -> Checked<()> {
        let mut records = self.records(rows);
        let write = crate::check::crash_inside(polls, self.writer(writer).write(&mut records));
        let _ = patient("write", write).await?;
        Ok(())
    }

    /// Prepares `epoch` in every writer.
    pub(super) async fn prepare(&mut self, epoch: u64) -> Checked<Vec<PendingOf<H>>> {
        let mut prepared = Vec::new();
        for (writer, open) in &mut self.writers {
            prepared.push((*writer, must("prepare", open.prepare(Epoch(epoch))).await?));
        }
        Ok(prepared.into_iter().flat_map(|(writer, all)| self.pending(epoch, writer, all)).collect())
    }

    /// Writes `rows` with the first writer, and returns what it prepared of them as it is: with deadlines.
    pub(super) async fn fill_whole(&mut self, epoch: u64, rows: &[Row]) -> Checked<Vec<PreparedOf<H>>> {
        self.write(0, rows).await?;
        must("prepare", self.writer(0).prepare(Epoch(epoch))).await
    }

    /// Writes `rows` with the first writer and prepares them.
    pub(super) async fn fill(&mut self, epoch: u64, rows: &[Row]) -> Checked<Vec<PendingOf<H>>> {
        self.write(0, rows).await?;
        self.prepare(epoch).await
    }

    pub(super) async fn try_commit(
        &self,
        epoch: u64,
        pending: &[PendingOf<H>],
    ) -> Checked<tidelock::Result<Committed>> {
        let uid = self.attempt.uid.clone();
        let mut permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid, Epoch(epoch));
        if let Some(chunks) = self.harness.facets().chunks {
            permit = permit.with_chunks(chunks.clone());
        }
        patient("commit", self.sink.commit(&permit, pending.to_vec())).await
    }

    /// Commits everything in `pending` with the permit of `epoch`.
    pub(super) async fn commit(&self, epoch: u64, pending: &[PendingOf<H>]) -> Checked<Committed> {
        let committed = self.try_commit(epoch, pending).await?;
        committed.map_err(|error| CheckFailure::because(format!("commit of epoch {epoch} failed"), error))
    }

    /// Begins to commit and dies inside the call, at its `polls`-th poll. Says whether it ended before.
    pub(super) async fn crash_inside_commit(
        &self,
        epoch: u64,
        pending: &[PendingOf<H>],
        polls: usize,
    ) -> Checked<bool> {
        let ended = patient("commit", crate::check::crash_inside(polls, self.commit(epoch, pending))).await?;
        ended.transpose().map(|committed| committed.is_some())
    }

    /// Tells every writer that `epoch` is settled.
    pub(super) async fn settle(&mut self, epoch: u64, reinit: bool) -> Checked<()> {
        for (_, writer) in &mut self.writers {
            must("settled", writer.settled(Epoch(epoch), reinit)).await?;
        }
        Ok(())
    }

    /// The writers end; the sink stays.
    pub(super) fn close_writers(&mut self) {
        self.writers.clear();
    }

    /// The process dies: everything of it that lives in memory is gone.
    pub(super) fn crash(self) {
        drop(self);
    }
}

/// Committables as another process gets them: stored, and read back.
pub(super) fn stored<H: SinkHarness>(pending: &[PendingOf<H>]) -> Checked<Vec<PendingOf<H>>> {
    let store = |pending: &PendingOf<H>| {
        let bytes = Stored::encode(&pending.committable)?;
        Ok(Pending { committable: bytes.decode()?, ..pending.clone() })
    };
    let read_back: tidelock::Result<Vec<_>> = pending.iter().map(store).collect();
    read_back.map_err(|error| CheckFailure::because("a committable cannot be stored and read back", error))
}

/// Rows `0..count` whose keys begin with `name`, each with a key of its own.
pub(super) fn rows(name: &str, count: u64) -> Vec<Row> {
    (0..count).map(|value| Row::new(format!("{name}-{value}"), value)).collect()
}

/// A normal reader must see exactly `written`, as the shape of the target shows it.
pub(super) async fn expect_visible<H: SinkHarness>(harness: &H, when: &str, written: &[Row]) -> Checked<()> {
    let mut seen = must("reading what is visible", harness.visible()).await?;
    seen.sort();
    let wanted = harness.facets().shape.view(written);
    if seen == wanted {
        return Ok(());
    }
    let missing = except(&wanted, &seen);
    let surplus = except(&seen, &wanted);
    Err(CheckFailure::new(format!(
        "{when}: a reader sees {} rows and must see {}; missing: {missing:?}; too many: {surplus:?}",
        seen.len(),
        wanted.len(),
    )))
}

/// What remains of `rows` when each row of `others` takes one equal row away; both sorted.
fn except(rows: &[Row], others: &[Row]) -> Vec<Row> {
    let mut others = others.to_vec();
    let mut rest = rows.to_vec();
    rest.retain(|row| match others.iter().position(|other| other == row) {
        Some(place) => {
            others.swap_remove(place);
            false
        }
        None => true,
    });
    rest.truncate(8);
    rest
}

/// An error must say that the target threw prepared data away, and ask for a person.
pub(super) fn expect_expired<T>(what: &str, answer: tidelock::Result<T>) -> Checked<()> {
    match answer {
        Ok(_) => {
            Err(CheckFailure::new(format!("{what} says nothing of prepared data that is gone: it is lost")))
        }
        Err(error) if error.kind() == ErrorKind::Expired && error.retry() == Retry::Halt => Ok(()),
        Err(error) => {
            let message =
                format!("{what} must answer with kind Expired and retry Halt where prepared data is gone");
            Err(CheckFailure::because(message, error))
        }
    }
}
