//! Records that cannot be read, written down with their provenance.
//!
//! Each is a file of its own: `job/uid/file-offset.digests.json`, durable before the position moves over the record. A
//! replay finds the same record at the same offset and writes the same file again, so that there is one for each bad
//! record however often the job was killed. It is there at once, not only when the checkpoint is complete.
//!
//! Job and uid are folders: a person sees whose a letter is, and a long name of a file stays a legal one. The two digests,
//! of the folder that the file is in and of what the letter says, keep letters apart where a source was told to read
//! another folder or records of another type.

use std::fs;
use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use object_store::ObjectStoreExt;
use serde::Serialize;
use tidelock::{Error, ErrorKind, Result, SourceName};

use crate::blocking::blocking;
use crate::error;
use crate::folder::Folder;
use crate::format::next::BadRecord;

const OPERATION: &str = "write a dead letter";

/// What a dead letter says. Text where the record is UTF-8, else base64.
#[derive(Serialize)]
struct DeadLetter<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    folder: &'a str,
    file: &'a str,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Where bad records come from.
pub(crate) struct Origin<'a> {
    /// The source, where the host said which.
    pub(crate) name: Option<&'a SourceName>,
    /// The folder that it reads.
    pub(crate) folder: &'a str,
    /// The file there.
    pub(crate) file: &'a str,
}

/// Writes bad records down, durable when this returns.
pub(crate) async fn write(folder: &Folder, origin: Origin<'_>, records: &[BadRecord]) -> Result<()> {
    let Origin { name, folder: source, file } = origin;
    let folder_digest = digest_of(source);
    let owner = name.map(|name| format!("{}/{}/", name.job, name.uid)).unwrap_or_default();
    let mut letters = Vec::with_capacity(records.len());
    for record in records {
        let text = std::str::from_utf8(&record.bytes).ok();
        let letter = DeadLetter {
            job: name.map(|name| name.job.as_str()),
            source: name.map(|name| name.uid.as_str()),
            folder: source,
            file,
            offset: record.offset,
            line: record.line,
            reason: &record.reason,
            text,
            base64: text.is_none().then(|| BASE64_STANDARD.encode(&record.bytes)),
        };
        let letter = serde_json::to_vec(&letter).map_err(|error| {
            Error::new(ErrorKind::Bug, OPERATION, "a dead letter cannot be written as JSON").because(error)
        })?;
        // Not of the line, which is missing where reading went on from an older snapshot.
        let digest = crc32c::crc32c_append(crc32c::crc32c(record.reason.as_bytes()), &record.bytes);
        let offset = record.offset;
        letters.push((format!("{owner}{file}-{offset:020}.{folder_digest:08x}{digest:08x}.json"), letter));
    }
    match folder {
        Folder::Local(root) => {
            let root = root.clone();
            blocking(OPERATION, move || {
                letters.iter().try_for_each(|(name, letter)| write_local(&root, name, letter))
            })
            .await
        }
        Folder::Store(store) => {
            for (name, letter) in letters {
                let path = store.path(&name)?;
                let put = store.objects.put(&path, letter.into()).await;
                put.map_err(|error| error::store(OPERATION, path.as_ref(), error))?;
            }
            Ok(())
        }
    }
}

/// Of a folder wherever the job runs: by a relative path, two jobs may mean two folders.
fn digest_of(folder: &str) -> u32 {
    let absolute = if folder.contains("://") { None } else { std::path::absolute(folder).ok() };
    let folder = absolute.map_or(folder.into(), |absolute| absolute.to_string_lossy().into_owned());
    crc32c::crc32c(folder.trim_end_matches('/').as_bytes())
}

/// Writes beside the place and renames, so that no reader sees half a letter.
fn write_local(root: &Path, name: &str, letter: &[u8]) -> Result<()> {
    let path = root.join(name);
    let (Some(folder), Some(file_name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(ErrorKind::Bug, OPERATION, "a dead letter has no name").with("name", name));
    };
    let hidden = folder.join(format!(".{}", file_name.to_string_lossy()));
    fs::create_dir_all(folder).map_err(|error| error::local(OPERATION, folder, error))?;
    let mut file = fs::File::create(&hidden).map_err(|error| error::local(OPERATION, &hidden, error))?;
    file.write_all(letter)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&hidden, &path))
        .and_then(|()| fs::File::open(folder)?.sync_all())
        .map_err(|error| error::local(OPERATION, &path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_folder_is_the_one_that_it_is_from_here() {
        let absolute = std::env::current_dir().unwrap().join("in");
        assert_eq!(digest_of("in"), digest_of(absolute.to_str().unwrap()));
        assert_eq!(digest_of("in/"), digest_of("./in"));
        assert_ne!(digest_of("in"), digest_of("/in"));
        assert_eq!(digest_of("s3://bucket/in/"), digest_of("s3://bucket/in"));
    }
}
