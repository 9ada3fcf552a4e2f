//! One moment for all pages of a scan: a snapshot that PostgreSQL exports, and every session can read by.
//!
//! The session that exports it keeps its transaction open for as long as the source is there, with a lock by which nobody alters,
//! truncates or drops what is read: an older snapshot would see a rewritten table empty. Each page is read in a transaction of its
//! own that begins with the snapshot, so that no reader holds a connection.
//!
//! With that session the snapshot is gone, and its name may be given to another one after a restart of the server. So what it sees
//! is stored beside the name, and compared in each transaction.

use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result};

use super::relation::Relation;
use crate::client::{Access, Client};
use crate::database::SqlConfig;
use crate::error::{Class, Fault};
use crate::value::SqlValue;

/// A snapshot by its name, and what it sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snapshot {
    pub(crate) name: String,
    /// The transactions between which it is: of two snapshots with one of these, both see the same.
    pub(crate) sees: String,
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

impl Snapshot {
    /// Exports one. It lasts as long as the session that is returned.
    pub(super) async fn export(config: &SqlConfig, relation: &Relation) -> Result<(Client, Self)> {
        let failed = |fault: Fault| fault.during("export a snapshot").with("table", relation.shown());
        let mut client = Client::connect(config, Access::Read).await?;
        // Of a table the lock comes before the moment. Of a query both come with its first look.
        let lock = match relation.table {
            Some(_) => format!("LOCK TABLE {} IN ACCESS SHARE MODE", relation.from),
            None => format!("SELECT 1 FROM {} LIMIT 0", relation.from),
        };
        let begin = format!("SET idle_in_transaction_session_timeout = 0; {BEGIN}; {lock}");
        client.run(&begin).await.map_err(failed)?;
        let exported = "SELECT pg_export_snapshot(), txid_current_snapshot()::text";
        let rows = client.query(exported, Vec::new()).await.map_err(failed)?;
        match rows.rows.into_iter().next().map(<[_; 2]>::try_from) {
            Some(Ok([SqlValue::Text(name), SqlValue::Text(sees)])) => Ok((client, Self { name, sees })),
            _ => Err(Error::new(ErrorKind::Bug, "export a snapshot", "its name is no text")),
        }
    }

    /// Begins a transaction that sees what the snapshot does.
    pub(super) async fn begin(&self, client: &mut Client) -> Result<()> {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        if !self.name.chars().all(is_letter) {
            let why = "the name of a snapshot has letters that no name has";
            return Err(Error::new(ErrorKind::Corrupt, "read rows", why));
        }
        let begun = client.run(&format!("{BEGIN}; SET TRANSACTION SNAPSHOT '{}'", self.name)).await;
        begun.map_err(|fault| match fault.class {
            // An invalid name, or one that nobody has, as the version calls it.
            Class::Violation | Class::Impossible | Class::Missing => self.lost(),
            _ => fault.during("read rows"),
        })?;
        let seen = client.query("SELECT txid_current_snapshot()::text", Vec::new()).await;
        let seen = seen.map_err(|fault| fault.during("read rows"))?;
        match seen.rows.first().map(Vec::as_slice) {
            Some([SqlValue::Text(sees)]) if *sees == self.sees => Ok(()),
            _ => Err(self.lost()),
        }
    }

    fn lost(&self) -> Error {
        let why = "the snapshot that the rows were cut in is gone with the session that exported it: the process that began the job, or the \
                   server, ended. What is not read yet cannot be read as it was then";
        let remedy = "begin the scan anew under another uid; or let on_lost of `cut` be `each_page`, and the rest is read as it is now";
        Error::new(ErrorKind::Expired, "read rows", why).with("snapshot", &self.name).with("remedy", remedy)
    }
}
