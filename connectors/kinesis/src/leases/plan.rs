//! What an import is going to do, and why it will not.

use std::fmt;

use tidelock::{Error, ErrorKind, Result};

use super::lease::{Checkpoint, Lease};
use crate::source::{Given, GivenAt};

/// How many refusals an error names: a person mends one after the other.
const NAMED_MAX: usize = 5;

/// Where a shard begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Begins {
    /// There, at once.
    At(GivenAt),
    /// When all shards that it goes on from are finished, with its oldest record.
    Follows,
    /// Nobody can tell: a refusal says why.
    Unknown,
}

/// A shard that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Planned {
    /// Its stream.
    pub stream: String,
    /// Its id.
    pub shard: String,
    /// Its lease.
    pub lease: Option<Lease>,
    /// Where it begins.
    pub begins: Begins,
}

/// Why a table cannot be taken as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A lease says `AT_TIMESTAMP`, and the time stands in the application's configuration.
    NoTimestamp {
        /// The lease.
        key: String,
    },
    /// A shard has no lease, and none before it or after it has one.
    NoLease {
        /// The stream.
        stream: String,
        /// The shard.
        shard: String,
    },
    /// The shard of a lease is not there any more, and it was not processed to its end.
    Gone {
        /// The lease.
        key: String,
        /// How far it was processed.
        checkpoint: Checkpoint,
    },
    /// A lease stands before the first record of its shard.
    BeforeFirst {
        /// The lease.
        key: String,
    },
    /// A lease is of a stream that was deleted; there is another one of its name.
    AnotherStream {
        /// The lease.
        key: String,
    },
}

/// Where the shards of streams begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The shards that are there.
    pub shards: Vec<Planned>,
    /// What stands against it.
    pub refusals: Vec<Refusal>,
}

impl Refusal {
    /// Whether records are lost, and a person may accept that.
    fn is_loss(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTimestamp { key } => write!(
                f,
                "the lease {key} begins at the time that its application was configured with, which no table has: give it as initial_position = {{ at_timestamp = .. }}"
            ),
            Self::NoLease { stream, shard } => write!(
                f,
                "shard {shard} of {stream} has no lease, nor has one before it or after it: say as initial_position what the application was configured with"
            ),
            Self::Gone { key, checkpoint } => write!(
                f,
                "the shard of the lease {key} is not there any more, and was processed to {checkpoint} alone: what came after that is lost. To go on all the same take on_data_loss = \"warn\""
            ),
            Self::BeforeFirst { key } => write!(
                f,
                "the lease {key} stands before the first record of its shard: it is of another stream, or of one that was deleted and made again"
            ),
            Self::AnotherStream { key } => write!(
                f,
                "the lease {key} is of a stream that was deleted: the one of its name was made at another time"
            ),
        }
    }
}

impl Plan {
    /// Both.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.shards.extend(other.shards);
        self.refusals.extend(other.refusals);
        self
    }

    /// The positions to begin with. Losses are refused, or told where they are accepted.
    ///
    /// # Errors
    /// What stands against it, of kind [`ErrorKind::Expired`] where it is a loss alone.
    pub fn given(&self, accepts_loss: bool) -> Result<Vec<Given>> {
        let accepted = |refusal: &&Refusal| accepts_loss && refusal.is_loss();
        for lost in self.refusals.iter().filter(accepted) {
            tracing::warn!("{lost}");
        }
        let refusals: Vec<&Refusal> = self.refusals.iter().filter(|one| !accepted(one)).collect();
        if !refusals.is_empty() {
            let is_loss = refusals.iter().all(|one| one.is_loss());
            let kind = if is_loss { ErrorKind::Expired } else { ErrorKind::Config };
            let mut named: Vec<String> =
                refusals.iter().take(NAMED_MAX).map(|refusal| refusal.to_string()).collect();
            if let Some(more) = refusals.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
                named.push(format!("and {more} more"));
            }
            return Err(Error::new(kind, "begin where KCL ended", named.join("; ")));
        }
        let given = self.shards.iter().filter_map(|planned| match &planned.begins {
            Begins::At(at) => {
                let (stream, shard) = (planned.stream.clone(), planned.shard.clone());
                Some(Given { stream, shard, at: at.clone() })
            }
            Begins::Follows | Begins::Unknown => None,
        });
        Ok(given.collect())
    }
}

impl fmt::Display for Begins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(GivenAt::AfterSub { sequence_number, sub_sequence: 0 }) => {
                write!(f, "after {sequence_number}")
            }
            Self::At(GivenAt::AfterSub { sequence_number, sub_sequence }) => {
                write!(f, "after {sequence_number}/{sub_sequence}")
            }
            Self::At(GivenAt::Oldest) => f.write_str("oldest record"),
            Self::At(GivenAt::Time(at_ms)) => match jiff::Timestamp::from_millisecond(*at_ms) {
                Ok(at) => write!(f, "at {at}"),
                Err(_) => write!(f, "at {at_ms} ms"),
            },
            Self::At(GivenAt::Finished) => f.write_str("nowhere: it is over"),
            Self::Follows => f.write_str("after those before it"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
