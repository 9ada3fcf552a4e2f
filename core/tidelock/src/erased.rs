//! The one bridge between typed connectors and those who know only stored state.
//!
//! The coordinator sees sources and sinks as [`SourceControl`] and [`SinkControl`]; a host that does
//! not want to be generic over connectors reads and writes through [`SourceData`] and [`SinkData`].
//! Records stay typed; only splits and committables become [`Stored`] here. Connectors never
//! implement these traits: every [`Source`] and [`Sink`] has them.

use std::time::Duration;

use async_trait::async_trait;

use crate::host::PreparedState;
use crate::{
    CommitPermit, Committed, Discovery, Epoch, Known, Pending, Result, Sink, SinkAttempt, SinkWriter, Source,
    SourceName, Split, SplitId, SplitReader, Stored, WriterId,
};

/// A split as stored state, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSplit {
    /// The name of the split.
    pub id: SplitId,
    /// The split.
    pub split: Stored,
}

impl StoredSplit {
    fn encode<S: Split>(split: &S) -> Result<Self> {
        Ok(Self { id: split.id(), split: Stored::encode(split)? })
    }
}

/// What the coordinator needs of a source.
#[async_trait]
pub trait SourceControl: Send + Sync + 'static {
    /// See [`Source::discover`].
    async fn discover(&self, known: Known<Stored>) -> Result<Discovery<StoredSplit>>;

    /// See [`Source::acknowledge`].
    async fn acknowledge(&self, durable: Vec<Stored>) -> Result<()>;
}

#[async_trait]
impl<S: Source> SourceControl for S {
    async fn discover(&self, known: Known<Stored>) -> Result<Discovery<StoredSplit>> {
        let active = known.active.iter().map(Stored::decode).collect::<Result<_>>()?;
        let ended = known.ended.iter().map(Stored::decode).collect::<Result<_>>()?;
        let known = Known { active, finished: known.finished, ended, first_run: known.first_run };
        let found = Source::discover(self, &known).await?;
        let new = found.new.iter().map(StoredSplit::encode).collect::<Result<_>>()?;
        Ok(Discovery { new, forget: found.forget, complete: found.complete })
    }

    async fn acknowledge(&self, durable: Vec<Stored>) -> Result<()> {
        let durable: Vec<S::Split> = durable.iter().map(Stored::decode).collect::<Result<_>>()?;
        Source::acknowledge(self, &durable).await
    }
}

/// What the coordinator needs of a sink.
#[async_trait]
pub trait SinkControl: Send + Sync + 'static {
    /// See [`Sink::recover`].
    async fn recover(&self, attempt: &SinkAttempt, pending: Vec<Pending<Stored>>) -> Result<()>;

    /// See [`Sink::commit`].
    async fn commit(&self, permit: &CommitPermit, committables: Vec<Pending<Stored>>) -> Result<Committed>;

    /// See [`Sink::keeps_prepared`].
    fn keeps_prepared(&self) -> Option<Duration>;
}

fn decode_pending<S: Sink>(pending: Vec<Pending<Stored>>) -> Result<Vec<Pending<S::Committable>>> {
    pending
        .into_iter()
        .map(|pending| {
            let Pending { epoch, attempt, writer, committable } = pending;
            Ok(Pending { epoch, attempt, writer, committable: committable.decode()? })
        })
        .collect()
}

#[async_trait]
impl<S: Sink> SinkControl for S {
    async fn recover(&self, attempt: &SinkAttempt, pending: Vec<Pending<Stored>>) -> Result<()> {
        Sink::recover(self, attempt, &decode_pending::<S>(pending)?).await
    }

    async fn commit(&self, permit: &CommitPermit, committables: Vec<Pending<Stored>>) -> Result<Committed> {
        Sink::commit(self, permit, decode_pending::<S>(committables)?).await
    }

    fn keeps_prepared(&self) -> Option<Duration> {
        Sink::keeps_prepared(self)
    }
}

/// Opens the readers of a source without naming its type.
#[async_trait]
pub trait SourceData<R>: SourceControl {
    /// See [`Source::open`]. The reader is told whose it is: [`SplitReader::belongs_to`].
    async fn open(&self, name: &SourceName, split: Stored) -> Result<Box<dyn DynReader<R>>>;
}

#[async_trait]
impl<S: Source> SourceData<S::Record> for S {
    async fn open(&self, name: &SourceName, split: Stored) -> Result<Box<dyn DynReader<S::Record>>> {
        let split: S::Split = split.decode()?;
        let mut reader = Source::open(self, split.clone()).await?;
        reader.belongs_to(name);
        Ok(Box::new(Reader { reader, resume: split }))
    }
}

/// A reader of records of one type.
#[async_trait]
pub trait DynReader<R>: Send + 'static {
    /// The next records, or `None` at the end: see [`SplitReader::next`].
    async fn next(&mut self) -> Result<Option<Vec<R>>>;

    /// The split as it must be reopened after the records returned so far. Stored only when asked: at
    /// a barrier, not for each batch.
    fn resume(&self) -> Result<Stored>;
}

struct Reader<T: SplitReader> {
    reader: T,
    resume: T::Split,
}

#[async_trait]
impl<T: SplitReader> DynReader<T::Record> for Reader<T> {
    async fn next(&mut self) -> Result<Option<Vec<T::Record>>> {
        Ok(self.reader.next().await?.map(|batch| {
            self.resume = batch.resume;
            batch.records
        }))
    }

    fn resume(&self) -> Result<Stored> {
        Stored::encode(&self.resume)
    }
}

/// Opens the writers of a sink without naming its type.
#[async_trait]
pub trait SinkData<R>: SinkControl {
    /// See [`Sink::open`].
    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<Box<dyn DynWriter<R>>>;
}

#[async_trait]
impl<S: Sink> SinkData<S::Record> for S {
    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<Box<dyn DynWriter<S::Record>>> {
        Ok(Box::new(Writer(writer, Sink::open(self, attempt, writer).await?)))
    }
}

/// A writer of records of one type: see [`SinkWriter`].
#[async_trait]
pub trait DynWriter<R>: Send + 'static {
    /// See [`SinkWriter::write`].
    async fn write(&mut self, records: &mut Vec<R>) -> Result<()>;

    /// See [`SinkWriter::prepare`]: as it goes into the report.
    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<PreparedState>>;

    /// See [`SinkWriter::settled`].
    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()>;
}

struct Writer<T>(WriterId, T);

#[async_trait]
impl<T: SinkWriter> DynWriter<T::Record> for Writer<T> {
    async fn write(&mut self, records: &mut Vec<T::Record>) -> Result<()> {
        self.1.write(records).await
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<PreparedState>> {
        let prepared = self.1.prepare(epoch).await?;
        prepared.iter().map(|prepared| PreparedState::of(self.0, prepared)).collect()
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        self.1.settled(epoch, reinit).await
    }
}
