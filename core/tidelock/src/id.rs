//! Identity: who does something, and in which cut of the stream. Each a newtype, so that none is
//! taken for another.
//!
//! Every name that a sink makes in a target carries job id, uid, attempt and writer, joined by
//! [`DELIMITER`], which names cannot contain: so `a` never matches `a.b`, and leftovers of one job are
//! never taken for another's.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::log::ChunkStore;
use crate::{Error, ErrorKind, Result};

/// Joins the parts of a name that a sink makes in a target. No [`JobId`] or [`Uid`] contains it.
pub const DELIMITER: char = '.';

/// The longest job id or uid, in bytes: short enough that joined names fit every target's limit.
const NAME_BYTES_MAX: usize = 128;

/// Names consist of ASCII letters, digits, `-` and `_`: legal in file names, topics, tables and
/// transactional ids alike, and free of [`DELIMITER`].
fn check_name(what: &'static str, name: &str) -> Result<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(legal) {
        return Err(Error::new(
            ErrorKind::Config,
            "name",
            format!("a {what} has 1 to {NAME_BYTES_MAX} ASCII letters, digits, '-' or '_'"),
        )
        .with(what, format!("{name:?}")));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            /// Checks and makes the name.
            ///
            /// # Errors
            /// [`ErrorKind::Config`] where the name is empty, too long or has a forbidden character.
            pub fn new(name: impl AsRef<str>) -> Result<Self> {
                check_name($what, name.as_ref())?;
                Ok(Self(name.as_ref().into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;
            fn try_from(name: String) -> Result<Self> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.to_string()
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name! {
    /// The name of a job, for ever. A job has exactly one log.
    JobId, "job id"
}
name! {
    /// The name of a source, an operator or a sink within its job, given by the user and kept for
    /// ever: state finds its place again by it.
    Uid, "uid"
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident, $number:ty) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $type(pub $number);

        impl $type {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The records between two barriers. Barrier `n` closes epoch `n`. Epochs only go up within a job's
    /// log, also across attempts and rollbacks, so that an epoch number never means two things.
    Epoch, u64
}
number! {
    /// A place in a job's log. Each is created once, conditionally; the first is 1.
    Position, u64
}
number! {
    /// One parallel writer of a sink within an attempt, counted from 0.
    WriterId, u32
}
number! {
    /// The high part of every version that a monotone or idempotent sink writes to its target. New at
    /// each first run, rollback and fork, and greater than any before: what a rolled-back run wrote can
    /// then never win against what the replay writes. Milliseconds since 1970, or last + 1.
    Generation, u64
}

/// One run of a job. A newer attempt fences all older ones.
///
/// Its number is the [`Position`] of its claim in the job's log, so numbers are unique, ordered, and
/// need no counter of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// The job that this is a run of.
    pub job: JobId,
    /// The position of its claim. Greater is newer.
    pub number: Position,
    /// The generation of the lineage that it continues.
    pub generation: Generation,
}

impl Attempt {
    /// One sink of the graph in this attempt, without a place for chunks.
    pub fn of_sink(&self, uid: &Uid) -> SinkAttempt {
        let Self { job, number, generation } = self;
        let (job, uid) = (job.clone(), uid.clone());
        SinkAttempt { job, uid, number: *number, generation: *generation, chunks: None }
    }

    /// One source of the graph.
    pub fn of_source(&self, uid: &Uid) -> SourceName {
        SourceName { job: self.job.clone(), uid: uid.clone() }
    }
}

/// One source of one job, in every attempt: for what a source writes beside its records and a person looks at. It is
/// no key to a position (I2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceName {
    /// The job.
    pub job: JobId,
    /// The source within the job.
    pub uid: Uid,
}

/// One sink in one attempt: whoever makes names in a target. The graph says the uid, and it reaches the
/// sink with every call: a sink has none of its own that could be another one.
#[derive(Debug, Clone)]
pub struct SinkAttempt {
    /// The job.
    pub job: JobId,
    /// The sink within the job.
    pub uid: Uid,
    /// The attempt: the position of its claim. Greater is newer.
    pub number: Position,
    /// The generation of the lineage that the attempt continues.
    pub generation: Generation,
    /// Where a writer may keep prepared data that is too large for an entry; the committable then names it, by
    /// [`Committable::chunks`](crate::Committable::chunks). `None`: the host has no log, or gives no such place, and whatever is
    /// prepared must fit into the committable.
    pub chunks: Option<ChunkStore>,
}

/// Who writes is what is compared, and not where it may keep things.
impl PartialEq for SinkAttempt {
    fn eq(&self, other: &Self) -> bool {
        let who = |attempt: &Self| (attempt.number, attempt.generation);
        who(self) == who(other) && self.job == other.job && self.uid == other.uid
    }
}

impl Eq for SinkAttempt {}

impl SinkAttempt {
    /// The name that a writer uses in a target: `job.uid.attempt.writer`, unique for ever and readable
    /// by [`TargetName::parse`].
    pub fn target_name(&self, writer: WriterId) -> TargetName {
        TargetName { job: self.job.clone(), uid: self.uid.clone(), attempt: self.number, writer }
    }
}

/// The parts of a name that a sink made in a target.
///
/// ```
/// use tidelock::TargetName;
/// let name = TargetName::parse("orders.out.17.0").expect("four parts");
/// assert_eq!(name.attempt.0, 17);
/// assert_eq!(name.to_string(), "orders.out.17.0");
/// assert!(TargetName::parse("orders.out.17").is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TargetName {
    /// The job that made it.
    pub job: JobId,
    /// The sink within the job.
    pub uid: Uid,
    /// The attempt within the job.
    pub attempt: Position,
    /// The writer within the attempt.
    pub writer: WriterId,
}

impl TargetName {
    /// Reads a name whole: names are never compared by a bare prefix. `None` where it is not ours.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split(DELIMITER);
        let job = JobId::new(parts.next()?).ok()?;
        let uid = Uid::new(parts.next()?).ok()?;
        let attempt = Position(parts.next()?.parse().ok()?);
        let writer = WriterId(parts.next()?.parse().ok()?);
        let parsed = Self { job, uid, attempt, writer };
        // Only the canonical spelling is ours: `007` and `+7` parse as 7, but we never write them.
        (parts.next().is_none() && parsed.to_string() == name).then_some(parsed)
    }

    /// Whether an older attempt of the same job and sink made it: only then may `attempt` abort it.
    pub fn is_leftover_for(&self, attempt: &SinkAttempt) -> bool {
        self.job == attempt.job && self.uid == attempt.uid && self.attempt < attempt.number
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, uid, attempt, writer } = self;
        write!(f, "{job}{DELIMITER}{uid}{DELIMITER}{attempt}{DELIMITER}{writer}")
    }
}
