//! The names of prepared transactions: whose they are can be read from them, whole.
//!
//! ```text
//!                  owner       numbers  database
//!   tidelock : orders.out : 17.0.3 : 1f2e3d4c      PostgreSQL: the gid, at most 136 of its 199 bytes
//!              └ gtrid ─┘   └ bqual: 17.0.3.1f2e3d4c ┘      XA: at most 64 bytes each, and a format id of our own
//! ```
//!
//! The owner is job and uid. A longer one keeps its beginning, and a hash of all of it follows. The numbers are attempt,
//! writer, and the writer's count of its transactions. The database is there because a server has one list of all its
//! prepared transactions, and XA does not say of which database one is: a job of the same name may run on another one.

use std::fmt;
use std::hash::Hasher as _;

use fnv::FnvHasher;
use serde::{Deserialize, Serialize};
use tidelock::{DELIMITER, Error, ErrorKind, JobId, Position, Result, SinkAttempt, Uid, WriterId};

/// What every name of ours begins with on PostgreSQL.
const PREFIX: &str = "tidelock";

/// Separates the parts of a name. No part contains it.
const SEPARATOR: char = ':';

/// XA's number for a scheme of names: "tidl". It fits into four bytes, which is all that MariaDB's binlog stores.
pub(super) const FORMAT_ID: u32 = 0x7469_646c;

/// What XA allows for the first part of a name.
const OWNER_BYTES_MAX: usize = 64;

/// Stands before the hash of an owner that is too long. No job and no uid has it.
const SHORTENED: char = '~';

/// Job and uid, as names have them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner(String);

impl Owner {
    pub(crate) fn new(job: &JobId, uid: &Uid) -> Self {
        let whole = format!("{job}{DELIMITER}{uid}");
        if whole.len() <= OWNER_BYTES_MAX {
            return Self(whole);
        }
        // Names are ASCII, so any byte is the beginning of a letter.
        let kept = &whole[..OWNER_BYTES_MAX - 17];
        Self(format!("{kept}{SHORTENED}{:016x}", hash(&whole)))
    }

    pub(crate) fn of(attempt: &SinkAttempt) -> Self {
        Self::new(&attempt.job, &attempt.uid)
    }

    fn parse(text: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        let is_one =
            text.len() <= OWNER_BYTES_MAX && text.contains([DELIMITER, SHORTENED]) && text.bytes().all(legal);
        is_one.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What names of sessions have of it and of its database: they are short, and those of a whole server are in one place.
    pub(super) fn hash_in(&self, database: u32) -> u64 {
        hash(&format!("{}{SEPARATOR}{database:08x}", self.0))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// FNV-1a: its results are in names that are stored, so it never changes.
fn hash(text: &str) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// The name of a transaction that a writer prepared.
///
/// ```
/// use tidelock_sql::TransactionName;
/// let name = TransactionName::parse("tidelock:orders.out:17.0.3:1f2e3d4c").expect("four parts");
/// assert_eq!((name.attempt().0, name.writer().0), (17, 0));
/// assert!(TransactionName::parse("tidelock:orders.out:17.0.03:1f2e3d4c").is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TransactionName {
    pub(crate) owner: Owner,
    pub(crate) attempt: Position,
    pub(crate) writer: WriterId,
    pub(crate) number: u64,
    pub(crate) database: u32,
}

impl TransactionName {
    /// Reads a name whole. `None` where it is not one that a sink of ours made.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split(SEPARATOR);
        let (PREFIX, owner, numbers, database) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?)
        else {
            return None;
        };
        let parsed = Self::of_parts(Owner::parse(owner)?, numbers, database)?;
        // Only the spelling that we write is ours.
        (parts.next().is_none() && parsed.to_string() == name).then_some(parsed)
    }

    /// Reads the two parts of an XA name.
    pub(super) fn parse_xa(gtrid: &[u8], bqual: &[u8]) -> Option<Self> {
        let owner = Owner::parse(std::str::from_utf8(gtrid).ok()?)?;
        let (numbers, database) = std::str::from_utf8(bqual).ok()?.rsplit_once(DELIMITER)?;
        let parsed = Self::of_parts(owner, numbers, database)?;
        (parsed.bqual().as_bytes() == bqual).then_some(parsed)
    }

    fn of_parts(owner: Owner, numbers: &str, database: &str) -> Option<Self> {
        let mut numbers = numbers.split(DELIMITER);
        let name = Self {
            owner,
            attempt: Position(numbers.next()?.parse().ok()?),
            writer: WriterId(numbers.next()?.parse().ok()?),
            number: numbers.next()?.parse().ok()?,
            database: u32::from_str_radix(database, 16).ok()?,
        };
        numbers.next().is_none().then_some(name)
    }

    /// The attempt that prepared it.
    pub fn attempt(&self) -> Position {
        self.attempt
    }

    /// The writer that prepared it.
    pub fn writer(&self) -> WriterId {
        self.writer
    }

    /// Whether it is of this job's sink.
    pub fn is_of(&self, job: &JobId, uid: &Uid) -> bool {
        self.owner == Owner::new(job, uid)
    }

    fn numbers(&self) -> String {
        format!("{}{DELIMITER}{}{DELIMITER}{}", self.attempt, self.writer, self.number)
    }

    fn bqual(&self) -> String {
        format!("{}{DELIMITER}{:08x}", self.numbers(), self.database)
    }

    /// The name as XA statements have it: digits, so that nothing in it can end the literal.
    pub(super) fn xid(&self) -> String {
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("X'{}',X'{}',{FORMAT_ID}", hex(self.owner.as_str()), hex(&self.bqual()))
    }

    /// The row that the transaction writes to the table of transactions.
    pub(super) fn row(&self) -> String {
        format!("{}{DELIMITER}{}", self.owner, self.numbers())
    }
}

impl fmt::Display for TransactionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (owner, numbers, database) = (&self.owner, self.numbers(), self.database);
        write!(f, "{PREFIX}{SEPARATOR}{owner}{SEPARATOR}{numbers}{SEPARATOR}{database:08x}")
    }
}

impl std::str::FromStr for TransactionName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::parse(name).ok_or_else(|| {
            Error::new(ErrorKind::Config, "read a name", "this is no transaction of a sink of ours")
        })
    }
}

impl TryFrom<String> for TransactionName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::parse(&name).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "read a name", "this is no transaction of a sink of ours")
        })
    }
}

impl From<TransactionName> for String {
    fn from(name: TransactionName) -> Self {
        name.to_string()
    }
}

/// What names have of a database's name.
pub(crate) fn database_tag(name: &str) -> u32 {
    let hash = hash(name);
    #[allow(clippy::cast_possible_truncation, reason = "both halves count")]
    let folded = (hash >> 32) as u32 ^ hash as u32;
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(job: &str, uid: &str) -> Owner {
        Owner::new(&JobId::new(job).expect("a job"), &Uid::new(uid).expect("a uid"))
    }

    fn name(owner: Owner) -> TransactionName {
        let (attempt, writer) = (Position(u64::MAX), WriterId(u32::MAX));
        TransactionName { owner, attempt, writer, number: u64::MAX, database: 0x1f }
    }

    #[test]
    fn a_name_is_read_whole_or_not_at_all() {
        let text = "tidelock:orders.out:17.0.3:0000001f";
        let name = TransactionName::parse(text).expect("ours");
        assert_eq!((name.to_string().as_str(), name.row().as_str()), (text, "orders.out.17.0.3"));
        assert_eq!(name.xid(), "X'6f72646572732e6f7574',X'31372e302e332e3030303030303166',1953064044");
        for foreign in [
            "",
            "orders.out.17.0.3",
            "tidelock:orders.out:17.0.3",
            "tidelock:orders.out:17.0.3:1f",
            "tidelock:orders.out:17.0.3:0000001F",
            "tidelock:orders.out:17.0.3:0000001f:",
            "tidelock:orders.out:17.0.+3:0000001f",
            "tidelock:orders.out:17.0.3.4:0000001f",
            "tidelock:orders:17.0.3:0000001f",
            "tidelock:ordérs.out:17.0.3:0000001f",
            "Tidelock:orders.out:17.0.3:0000001f",
        ] {
            assert_eq!(TransactionName::parse(foreign), None, "{foreign}");
        }
        let xa = |gtrid: &[u8], bqual: &[u8]| TransactionName::parse_xa(gtrid, bqual);
        assert_eq!(xa(b"orders.out", b"17.0.3.0000001f"), Some(name));
        for (gtrid, bqual) in [
            (&b"orders.out"[..], &b""[..]),
            (b"", b"17.0.3.0000001f"),
            (b"orders.out", b"17.0.3"),
            (b"orders.out", b"017.0.3.0000001f"),
            (b"orders.out\xff\0", b"17.0.3.0000001f"),
            (b"orders.out", b"\xff\xfe"),
        ] {
            assert_eq!(xa(gtrid, bqual), None, "{gtrid:?} {bqual:?}");
        }
    }

    #[test]
    fn the_longest_names_fit_and_are_apart() {
        let long = "j".repeat(128);
        let (one, other) = (owner(&long, &"u".repeat(128)), owner(&long, &"v".repeat(128)));
        assert_ne!(one, other);
        for owner in [one, other, owner("j", "u")] {
            let name = name(owner);
            assert!(name.owner.as_str().len() <= 64 && name.bqual().len() <= 64, "{name}");
            assert!(name.to_string().len() < 200 && name.row().len() <= 128, "{name}");
            assert_eq!(TransactionName::parse(&name.to_string()).as_ref(), Some(&name));
            let (gtrid, bqual) = (name.owner.as_str().to_owned(), name.bqual());
            assert_eq!(TransactionName::parse_xa(gtrid.as_bytes(), bqual.as_bytes()), Some(name));
        }
    }

    /// What is in names of the servers of users never changes.
    #[test]
    fn hashes_are_what_they_were() {
        assert_eq!(database_tag("shop"), 0xa452_7a11);
        let long = owner(&"a".repeat(60), "orders");
        assert_eq!(
            long.as_str(),
            format!("{}~{:016x}", "a".repeat(47), hash(&format!("{}.orders", "a".repeat(60))))
        );
    }
}
