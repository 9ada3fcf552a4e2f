//! Finds the files of a folder, in the order of their names.

use std::fs;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use globset::{GlobBuilder, GlobMatcher};
use tidelock::{Error, ErrorKind, Result};

use crate::blocking::blocking;
use crate::error::{self, setting};
use crate::folder::{Folder, StoreFolder};
use crate::split::{FileSplit, FileVersion};

const OPERATION: &str = "look for files";

/// Which files of a folder are read.
#[derive(Debug, Clone)]
pub(crate) struct Selection(GlobMatcher);

impl Selection {
    /// Compiles a glob.
    pub(crate) fn new(glob: &str) -> Result<Self> {
        let glob = GlobBuilder::new(glob).literal_separator(true).build();
        glob.map(|glob| Self(glob.compile_matcher()))
            .map_err(|error| setting("glob", error.to_string()).because(error))
    }

    /// Whether a file is read, by its name below the folder.
    fn takes(&self, name: &str) -> bool {
        !name.split('/').any(is_hidden) && self.0.is_match(name)
    }
}

/// Names that readers of a folder pass over by an old convention: files in progress and metadata.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// All selected files of a folder, unread, in the order of their names.
pub(crate) async fn list(folder: &Folder, selection: &Selection) -> Result<Vec<FileSplit>> {
    let mut found = match folder {
        Folder::Local(root) => {
            let (root, selection) = (root.clone(), selection.clone());
            blocking(OPERATION, move || list_local(&root, &selection)).await?
        }
        Folder::Store(store) => list_store(store, selection).await?,
    };
    found.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

fn list_local(root: &Path, selection: &Selection) -> Result<Vec<FileSplit>> {
    let mut found = Vec::new();
    // A folder and its name below the root. Links to folders are not followed: they could go in rings.
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let failed = |error| error::local(OPERATION, &folder, error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str() else {
                return Err(Error::new(ErrorKind::Data, OPERATION, "a file name is not UTF-8")
                    .with("path", entry.path().display()));
            };
            let name = format!("{prefix}{name}");
            if entry.file_type().map_err(failed)?.is_dir() {
                if !is_hidden(file_name.to_str().unwrap_or_default()) {
                    folders.push((entry.path(), name + "/"));
                }
            } else if selection.takes(&name) {
                found.extend(look_at(&entry.path(), name)?);
            }
        }
    }
    Ok(found)
}

/// The split of a local file; nothing where it went away meanwhile, or is no file.
fn look_at(path: &Path, name: String) -> Result<Option<FileSplit>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error::local(OPERATION, path, error)),
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    let version = local_version(path, &metadata)?;
    Ok(Some(FileSplit { file: name.into(), offset: 0, size: metadata.len(), version }))
}

/// What tells the content of a local file from another of the same size.
pub(crate) fn local_version(path: &Path, metadata: &fs::Metadata) -> Result<FileVersion> {
    let modified = metadata.modified().map_err(|error| error::local(OPERATION, path, error))?;
    jiff::Timestamp::try_from(modified).map(FileVersion::Modified).map_err(|error| {
        Error::new(ErrorKind::Data, OPERATION, "the time of the last change is out of range")
            .with("path", path.display())
            .because(error)
    })
}

async fn list_store(store: &StoreFolder, selection: &Selection) -> Result<Vec<FileSplit>> {
    let failed = |error| error::store(OPERATION, &store.url, error);
    let mut objects = store.objects.list(Some(&store.prefix));
    let mut found = Vec::new();
    while let Some(object) = objects.try_next().await.map_err(failed)? {
        let Some(name) = store.name(&object.location).filter(|name| selection.takes(name)) else { continue };
        let Some(etag) = object.e_tag else {
            return Err(Error::new(
                ErrorKind::Config,
                OPERATION,
                "the object store gives no entity tag, so a replaced object could not be told from the one that was found",
            )
            .with("object", object.location));
        };
        let version = FileVersion::Etag(etag.into());
        found.push(FileSplit { file: name.into(), offset: 0, size: object.size, version });
    }
    Ok(found)
}

/// The full path of a file of a local folder.
pub(crate) fn local_path(root: &Path, split: &FileSplit) -> PathBuf {
    root.join(&*split.file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_takes_what_it_says_and_never_what_is_hidden() {
        let takes = |glob: &str, name: &str| Selection::new(glob).unwrap().takes(name);
        assert!(takes("flights*.csv", "flights-2013-01.csv"));
        assert!(!takes("*", "2013/flights.csv"), "one star stays within a folder");
        assert!(takes("**/*.csv", "2013/01/flights.csv") && takes("**/*.csv", "flights.csv"));
        for hidden in [".part", "_SUCCESS", ".tidelock/x", "a/_temporary/x", "a/.x"] {
            assert!(!takes("**", hidden), "{hidden}");
        }
        assert!(Selection::new("[").unwrap_err().to_string().contains("setting=glob"));
    }
}
