//! What the proxy knows of the protocols of PostgreSQL and MySQL: which requests end or prepare a transaction.
//!
//! A client of ours waits for each answer before it asks again, so that what comes next from the server is the answer.

use std::io;

use tidelock_processes::Wire;
use tidelock_sql::DatabaseKind;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

const CHUNK_BYTES: usize = 64 << 10;

/// Statements that can be held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// A transaction is prepared.
    Prepare,
    /// A transaction of the ledger is committed.
    Commit,
    /// A prepared one is.
    CommitPrepared,
}

impl Point {
    const ALL: [Self; 3] = [Self::Prepare, Self::Commit, Self::CommitPrepared];

    /// What stands in the message, which is no part of another: the end of the text on PostgreSQL, and its beginning on MySQL.
    fn marks(self) -> [&'static str; 2] {
        match self {
            Self::Prepare => ["PREPARE TRANSACTION '", "\u{3}XA PREPARE "],
            Self::Commit => ["COMMIT\0", "\u{3}COMMIT"],
            Self::CommitPrepared => ["COMMIT PREPARED '", "\u{3}XA COMMIT "],
        }
    }

    pub(crate) fn mark(self, kind: DatabaseKind) -> &'static str {
        self.marks()[usize::from(kind != DatabaseKind::Postgres)]
    }
}

#[derive(Debug)]
pub(crate) struct SqlWire;

impl Wire for SqlWire {
    async fn read(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
        let mut message = Vec::with_capacity(CHUNK_BYTES);
        match from.read_buf(&mut message).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(message),
        }
    }

    fn request(message: &[u8]) -> Option<Vec<u8>> {
        let has = |mark: &str| message.windows(mark.len()).any(|part| part == mark.as_bytes());
        Point::ALL.iter().flat_map(|point| point.marks()).any(has).then(Vec::new)
    }

    fn answer(_message: &[u8]) -> Option<Vec<u8>> {
        Some(Vec::new())
    }
}
