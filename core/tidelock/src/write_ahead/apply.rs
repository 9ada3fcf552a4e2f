//! What a write-ahead sink needs of a target.

use async_trait::async_trait;

use super::version::Version;
use super::writes::Writes;
use crate::{JobId, Result, Uid, Versioned};

/// A target that applies an epoch if it is newer than what it has.
#[async_trait]
pub trait Apply: Send + Sync + 'static {
    /// What is written. Its stored form is in snapshots, so it has a version.
    type Record: Versioned;

    /// The newest version that was ever applied for this job and sink; `None` where none was.
    ///
    /// # Contract
    /// - MUST be at least the version of everything that would win against this sink's writes. Where each
    ///   row has its version, that is the newest of all rows, whoever wrote it: keep it beside them.
    ///
    /// # Crash
    /// Leaves nothing: it only looks.
    async fn newest(&self, job: &JobId, uid: &Uid) -> Result<Option<Version>>;

    /// Whether the target can take a record. Called by `write`, with each record before it is stored: one that is
    /// refused may be set aside, as [`Rejecting`](crate::Rejecting) says, and one that is stored must be applied.
    ///
    /// # Contract
    /// - MUST refuse, with kind [`Data`](crate::ErrorKind::Data), whatever the target would refuse for ever: at commit it would
    ///   halt the job.
    /// - MUST NOT wait: what it has to know of the target is read when the connector is made.
    ///
    /// # Crash
    /// Leaves nothing: it only looks.
    fn check(&self, _record: &Self::Record) -> Result<()> {
        Ok(())
    }

    /// Applies all records, if their version is newer than what the target has. They come batch by batch, from
    /// [`Writes::batches`], because an epoch may be larger than memory.
    ///
    /// # Contract
    /// - MUST give back an error that a batch is read with, and where it applies all together, MUST then keep nothing of
    ///   those before it: the rest never came.
    /// - MUST compare and write in one step that the *target* guards: a condition, a transaction, a
    ///   server-side script. Reading first and writing later lets a late request win.
    /// - Either all together: nothing changes unless the version is newer than the newest one, which the
    ///   same step replaces. Or row by row: a row changes unless its own version is newer, and a delete
    ///   leaves the version behind, or a late write would bring the row back.
    /// - MUST be idempotent: the same writes may come again, also after they were applied in part.
    /// - An older version changes nothing and is not an error: it was applied before.
    /// - A record that the target refuses for ever halts the job with every restart, until the target takes it: what can
    ///   be known of a record alone belongs into [`Apply::check`].
    ///
    /// # Crash
    /// Row by row, a part of the rows is written; recovery applies all of them again.
    async fn apply(&self, writes: Writes<Self::Record>) -> Result<()>;
}
