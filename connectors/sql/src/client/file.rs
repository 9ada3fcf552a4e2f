//! Which file a name means now. SQLite keeps the file that it opened, whatever is put under its name later: a job
//! would read for ever what nobody else sees any more.

use tokio::task::spawn_blocking;

use crate::database::SqlConfig;
use crate::kind::DatabaseKind;

/// A file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// The file of this database; `None` where it is none, there is none yet, or the system does not tell files apart.
pub(super) async fn file_of(config: &SqlConfig) -> Option<FileId> {
    if config.kind != DatabaseKind::Sqlite {
        return None;
    }
    let path = config.name.clone();
    spawn_blocking(move || identity(&path)).await.ok().flatten()
}

#[cfg(unix)]
fn identity(path: &str) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(path).ok()?;
    Some(FileId { device: file.dev(), inode: file.ino() })
}

#[cfg(not(unix))]
fn identity(_path: &str) -> Option<FileId> {
    None
}
