//! How a connector plugs into the conformance suites.
//!
//! A harness stands for one fresh, isolated target or feed in the external system: a folder, a topic, a
//! table with a random name. It makes sources and sinks *as a fresh process would*, so that nothing but
//! the external system is shared between two of them, and it looks at the system as a stranger does.
//! What only some systems can do is a facet; a check that needs a facet that is not there is left out by name,
//! see [`conformance`](crate::conformance).

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::log::ChunkStore;
use tidelock::{Rejects, Result, Sink, Source, TargetName};

use crate::oracle::Input;

/// What the sink suite writes, and reads back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Row {
    /// The key: a log keeps the order of equal keys, a table keeps the last row of each key. ASCII
    /// letters, digits and `-`, at most 64.
    pub key: String,
    /// The value.
    pub value: u64,
}

impl Row {
    /// A row.
    pub fn new(key: impl Into<String>, value: u64) -> Self {
        Self { key: key.into(), value }
    }
}

/// What a reader of the target sees of many writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Every row, those of equal keys in the order in which they were written.
    Log,
    /// Every row, in no order.
    Bag,
    /// For each key the row that was written last.
    Table,
}

impl Shape {
    /// What must be seen of `written`, in the order of [`Row`].
    pub fn view(self, written: &[Row]) -> Vec<Row> {
        let mut rows = match self {
            Self::Log | Self::Bag => written.to_vec(),
            Self::Table => {
                let last: BTreeMap<&str, &Row> = written.iter().map(|row| (&*row.key, row)).collect();
                last.into_values().cloned().collect()
            }
        };
        rows.sort();
        rows
    }
}

/// Plugs a sink into [`conformance::sink`](crate::conformance::sink).
///
/// One harness is made for each check, with a target of its own: the suite leaves data behind in it.
#[async_trait]
pub trait SinkHarness: Send + Sync + 'static {
    /// The sink under test.
    type Sink: Sink;

    /// Makes the sink as a fresh process would: connected to this harness's target, and sharing nothing
    /// else with any sink that was made before.
    async fn sink(&self) -> Result<Self::Sink>;

    /// The record that writes `row`.
    fn record(&self, row: &Row) -> <Self::Sink as Sink>::Record;

    /// What a normal reader of the target sees now, in the order in which it sees it: with the reader
    /// setting for which the sink makes its promise, such as `read_committed`.
    ///
    /// It must show everything that any commit that has returned made visible; where the system needs a
    /// moment for that, wait here.
    async fn visible(&self) -> Result<Vec<Row>>;

    /// What else this system can do.
    fn facets(&self) -> SinkFacets<'_>;
}

/// Plugs a sink in idempotent mode into [`conformance::idempotent`](crate::conformance::idempotent): one
/// that writes at once, with keys and versions, to a target of [`Shape::Table`].
///
/// The values of a key only grow in the order of the input, so a value can serve as the version that
/// follows from the record. Above it is the generation of the attempt.
pub trait IdempotentHarness: SinkHarness {
    /// The record that deletes the row of this key, with `row.value` as its version; `None` where the sink
    /// cannot delete.
    fn delete(&self, row: &Row) -> Option<<Self::Sink as Sink>::Record>;
}

/// Plugs a sink that sets single records aside into [`conformance::rejecting`](crate::conformance::rejecting).
pub trait RejectingHarness: SinkHarness {
    /// A record that the sink can never take, made of a row that it could: too long, of a bucket that cannot
    /// be, with a value that the target has no form for.
    fn bad(&self, row: &Row) -> <Self::Sink as Sink>::Record;

    /// Which row a bad record was made of.
    fn row(&self, record: &<Self::Sink as Sink>::Record) -> Row;

    /// Gives the place to a writer: `writer.reject_to(rejects)`.
    fn reject_to(
        &self,
        writer: &mut <Self::Sink as Sink>::Writer,
        rejects: Rejects<<Self::Sink as Sink>::Record>,
    );
}

/// One value, as [`conformance::values`](crate::conformance::values) writes it and reads it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Value {
    /// A float of 32 bits.
    F32(f32),
    /// A float of 64 bits.
    F64(f64),
    /// A signed integer.
    I64(i64),
    /// An unsigned integer.
    U64(u64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A text that may be missing.
    MaybeText(Option<String>),
    /// Bytes that may be missing.
    MaybeBytes(Option<Vec<u8>>),
    /// A timestamp in milliseconds since 1970.
    Timestamp(i64),
}

impl Value {
    /// Whether it is the same value: of floats the same bits, and NaN is NaN.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::F32(one), Self::F32(other)) => {
                one.to_bits() == other.to_bits() || one.is_nan() && other.is_nan()
            }
            (Self::F64(one), Self::F64(other)) => {
                one.to_bits() == other.to_bits() || one.is_nan() && other.is_nan()
            }
            (one, other) => one == other,
        }
    }

    /// The value for messages, of a long one its beginning.
    pub fn shown(&self) -> String {
        let mut shown = format!("{self:?}");
        if let Some((end, _)) = shown.char_indices().nth(80) {
            shown.truncate(end);
            shown.push('…');
        }
        shown
    }
}

/// Plugs a sink into [`conformance::values`](crate::conformance::values).
///
/// One harness is made for each check, with a target of its own.
#[async_trait]
pub trait ValuesHarness: Send + Sync + 'static {
    /// The sink under test.
    type Sink: Sink;

    /// Makes the sink as a fresh process would.
    async fn sink(&self) -> Result<Self::Sink>;

    /// The record that holds this value; `None` where no record of the sink can hold a value of its type.
    fn record(&self, value: &Value) -> Option<<Self::Sink as Sink>::Record>;

    /// The values that a normal reader of the target sees now, in any order.
    async fn visible(&self) -> Result<Vec<Value>>;

    /// What the uid of this harness's sink ends with, where names are not the target's own but those of a system that
    /// several harnesses share.
    fn uid_suffix(&self) -> &str {
        ""
    }
}

/// What only some targets can do.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct SinkFacets<'h> {
    /// What a reader sees of many writes.
    pub shape: Shape,
    /// The target throws uncommitted data away after a while.
    pub expiry: Option<&'h dyn Expiry>,
    /// The target can tell who left something in it that is not committed.
    pub leftovers: Option<&'h dyn Leftovers>,
    /// What the uids of this harness's sinks end with, where names are not the target's own but those of a
    /// system that several harnesses share.
    pub uid_suffix: Option<&'h str>,
    /// Where the sink may keep prepared data that is too large for an entry: see
    /// [`SinkAttempt::chunks`](tidelock::SinkAttempt::chunks). Without it the host has no such place.
    pub chunks: Option<&'h ChunkStore>,
}

impl<'h> SinkFacets<'h> {
    /// A target of this shape without any facet.
    pub fn new(shape: Shape) -> Self {
        Self { shape, expiry: None, leftovers: None, uid_suffix: None, chunks: None }
    }

    /// Adds a way to let prepared data expire.
    #[must_use]
    pub fn with_expiry(mut self, expiry: &'h dyn Expiry) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// Adds a way to look for leftovers.
    #[must_use]
    pub fn with_leftovers(mut self, leftovers: &'h dyn Leftovers) -> Self {
        self.leftovers = Some(leftovers);
        self
    }

    /// Sets what the uids of this harness's sinks end with: `-` and letters or digits, at most 32.
    #[must_use]
    pub fn with_uid_suffix(mut self, suffix: &'h str) -> Self {
        self.uid_suffix = Some(suffix);
        self
    }

    /// Adds a place for prepared data that is too large for an entry.
    #[must_use]
    pub fn with_chunks(mut self, chunks: &'h ChunkStore) -> Self {
        self.chunks = Some(chunks);
        self
    }
}

impl std::fmt::Debug for SinkFacets<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkFacets")
            .field("shape", &self.shape)
            .field("expiry", &self.expiry.is_some())
            .field("leftovers", &self.leftovers.is_some())
            .field("chunks", &self.chunks.is_some())
            .field("uid_suffix", &self.uid_suffix)
            .finish()
    }
}

/// A facet of a target that throws uncommitted data away after a while, or on an operator's word.
#[async_trait]
pub trait Expiry: Send + Sync {
    /// Makes the target throw away everything that is written or prepared in it now and not committed, as time or
    /// an operator would.
    async fn expire(&self) -> Result<()>;
}

/// A facet of a target that keeps uncommitted data under names.
#[async_trait]
pub trait Leftovers: Send + Sync {
    /// The names under which the target holds data that is written or prepared and not committed.
    async fn leftovers(&self) -> Result<Vec<TargetName>>;
}

/// Plugs a source into [`conformance::source`](crate::conformance::source).
///
/// One harness is made for each check, with a feed of its own that has no splits yet.
#[async_trait]
pub trait SourceHarness: Send + Sync + 'static {
    /// The source under test.
    type Source: Source;

    /// Makes the source as a fresh process would, configured to start at the earliest record.
    async fn source(&self) -> Result<Self::Source>;

    /// Appends the inputs `places` to the split named `split`, and makes the split where it does not
    /// exist. Names are `0`, `1`, `2` and so on, places are appended in their order, and a split is
    /// appended to a second time only where [`SourceFacets::grows`] says so.
    async fn append(&self, split: &str, places: Range<u64>) -> Result<()>;

    /// Which input a record is: its `Display` form is a good payload, and [`str::parse`] reads it back.
    fn identify(&self, record: &<Self::Source as Source>::Record) -> Input;

    /// What else this system can do.
    fn facets(&self) -> SourceFacets<'_, Self::Source>;
}

/// What only some sources can do.
#[non_exhaustive]
pub struct SourceFacets<'h, S> {
    /// The most records that one batch may have, as the source is configured here. Some checks append
    /// ten times as many, so configure few.
    pub batch_records_max: usize,
    /// Records can be appended to a split that is being read. Where not, a split ends after what was
    /// appended to it.
    pub grows: bool,
    /// Splits may appear while the source is read. Where not, the first discovery finds all.
    pub newcomers: bool,
    /// Splits end, or can be made to.
    pub endings: Option<&'h dyn Endings>,
    /// The source can be told to start at the latest record.
    pub latest: Option<&'h dyn Latest<S>>,
    /// The system drops old records.
    pub retention: Option<&'h dyn Retention>,
}

impl<'h, S> SourceFacets<'h, S> {
    /// A source whose splits grow and never end, without any other facet.
    pub fn new(batch_records_max: usize) -> Self {
        Self { batch_records_max, grows: true, newcomers: true, endings: None, latest: None, retention: None }
    }

    /// Says that a split ends after what was appended to it.
    #[must_use]
    pub fn without_growth(mut self) -> Self {
        self.grows = false;
        self
    }

    /// Says that the first discovery finds every split.
    #[must_use]
    pub fn without_newcomers(mut self) -> Self {
        self.newcomers = false;
        self
    }

    /// Adds a way to end a split.
    #[must_use]
    pub fn with_endings(mut self, endings: &'h dyn Endings) -> Self {
        self.endings = Some(endings);
        self
    }

    /// Adds a way to start at the latest record.
    #[must_use]
    pub fn with_latest(mut self, latest: &'h dyn Latest<S>) -> Self {
        self.latest = Some(latest);
        self
    }

    /// Adds a way to drop old records.
    #[must_use]
    pub fn with_retention(mut self, retention: &'h dyn Retention) -> Self {
        self.retention = Some(retention);
        self
    }
}

impl<S> std::fmt::Debug for SourceFacets<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceFacets")
            .field("batch_records_max", &self.batch_records_max)
            .field("grows", &self.grows)
            .field("newcomers", &self.newcomers)
            .field("endings", &self.endings.is_some())
            .field("latest", &self.latest.is_some())
            .field("retention", &self.retention.is_some())
            .finish()
    }
}

/// A facet of a source whose splits end.
#[async_trait]
pub trait Endings: Send + Sync {
    /// Ends a split after what was appended to it. Nothing to do where it ends there anyway.
    async fn end(&self, split: &str) -> Result<()>;
}

/// A facet of a source that can start at the latest record.
#[async_trait]
pub trait Latest<S>: Send + Sync {
    /// Makes the source as a fresh process would, configured to start at the latest record.
    async fn source_at_latest(&self) -> Result<S>;
}

/// A facet of a system that drops old records.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Drops all records of the split that come before `place`.
    async fn drop_before(&self, split: &str, place: u64) -> Result<()>;
}
