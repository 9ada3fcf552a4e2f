//! Finds the files of a folder, in the order of their names.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use tidelock::{Error, ErrorKind, Result};

use crate::blocking::blocking;
use crate::error;
use crate::folder::{Folder, StoreFolder};
use crate::selection::{Selection, is_hidden};
use crate::split::{FileSplit, FileVersion, Place};
use crate::told::{Notice, Why};

const OPERATION: &str = "look for files";

/// What is in a folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// All selected files, unread, in the order of their names.
    pub(crate) files: Vec<FileSplit>,
    /// What the glob would take, and is no file to be read.
    pub(crate) passed_over: Vec<Notice>,
}

/// Lists the selected files of a folder.
pub(crate) async fn list(folder: &Folder, selection: &Selection, follow_links: bool) -> Result<Listing> {
    let mut listing = match folder {
        Folder::Local(root) => {
            let (root, selection) = (root.clone(), selection.clone());
            blocking(OPERATION, move || list_local(&root, &selection, follow_links)).await?
        }
        Folder::Store(store) => list_store(store, selection).await?,
    };
    listing.files.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(listing)
}

/// How often a folder is listed anew because files in it got other names meanwhile.
const LISTINGS_MAX: usize = 10;

/// Lists a local folder, each file once: one that gets another name while the folder is listed may be met under both, or
/// under none that it still has.
fn list_local(root: &Path, selection: &Selection, follow_links: bool) -> Result<Listing> {
    for _ in 0..LISTINGS_MAX {
        let listing = Walk::new(selection, follow_links).run(root)?;
        if names_stand(root, &listing.files)? {
            return Ok(listing);
        }
    }
    let why = "files get other names all the time, so that none of their names could be listed in peace";
    Err(Error::new(ErrorKind::Unavailable, OPERATION, why).with("path", root.display()))
}

/// Whether files that were met under several names have all of them still: then they are links, and two inputs.
fn names_stand(root: &Path, files: &[FileSplit]) -> Result<bool> {
    let mut names = HashMap::<_, Vec<_>>::new();
    for file in files.iter().filter(|file| file.inode.is_some()) {
        names.entry(file.inode).or_default().push(file);
    }
    for file in names.into_values().filter(|names| names.len() > 1).flatten() {
        match look_at_file(&local_path(root, file), &file.file)? {
            Look::File(now) if now.inode == file.inode => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// A walk through a local folder, and only into folders in which the glob can match.
pub(crate) struct Walk<'a> {
    selection: &'a Selection,
    follow_links: bool,
    listing: Listing,
    folders: Vec<LocalFolder>,
}

/// A folder that is to be listed.
struct LocalFolder {
    path: PathBuf,
    /// What the names of its files begin with, below the root.
    prefix: String,
    /// It and all folders above it, where links are followed: a link to one of them leads in a ring.
    above: Vec<PathBuf>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(selection: &'a Selection, follow_links: bool) -> Self {
        Self { selection, follow_links, listing: Listing::default(), folders: Vec::new() }
    }

    pub(crate) fn run(mut self, root: &Path) -> Result<Listing> {
        let failed = |error| error::local(OPERATION, root, error);
        let above =
            if self.follow_links { vec![fs::canonicalize(root).map_err(failed)?] } else { Vec::new() };
        let root = LocalFolder { path: root.to_owned(), prefix: String::new(), above };
        let entries = fs::read_dir(&root.path).map_err(failed)?;
        self.look_through(&root, entries)?;
        while let Some(folder) = self.folders.pop() {
            // A folder that vanished since it was found holds nothing.
            if let Some(entries) = there(fs::read_dir(&folder.path), &folder.path)? {
                self.look_through(&folder, entries)?;
            }
        }
        Ok(self.listing)
    }

    fn look_through(&mut self, folder: &LocalFolder, entries: fs::ReadDir) -> Result<()> {
        for entry in entries {
            if let Some(entry) = there(entry, &folder.path)? {
                self.look_at(folder, &entry)?;
            }
        }
        Ok(())
    }

    fn look_at(&mut self, folder: &LocalFolder, entry: &DirEntry) -> Result<()> {
        let (path, file_name) = (entry.path(), entry.file_name());
        let Some(name) = file_name.to_str() else { return self.look_at_nameless(folder, &path, &file_name) };
        let hidden = is_hidden(name);
        let name = format!("{}{name}", folder.prefix);
        let Some(kind) = there(entry.file_type(), &path)? else { return Ok(()) };
        let (mut is_folder, mut link) = (kind.is_dir(), false);
        // Where a link leads that the glob does not take is nobody's business: it may be closed to us, or a ring.
        if kind.is_symlink()
            && (self.selection.looks_into(&name) || self.selection.takes_hidden(&name))
            && let Some(target) = there(fs::metadata(&path), &path)?
        {
            (is_folder, link) = (target.is_dir(), target.is_dir());
        }
        if is_folder {
            if !self.selection.looks_into(&name) {
                return Ok(());
            }
            return match (hidden, link && !self.follow_links) {
                (true, _) => self.pass_over(name, Why::Hidden),
                (false, true) => self.pass_over(name, Why::LinkedFolder),
                (false, false) => self.enter(folder, path, name),
            };
        }
        if !self.selection.takes_hidden(&name) {
            return Ok(());
        }
        if hidden {
            return self.pass_over(name, Why::Hidden);
        }
        match look_at_file(&path, &name)? {
            Look::File(split) => self.listing.files.push(split),
            Look::NoFile => self.pass_over(name, Why::NoFile)?,
            Look::Gone => {}
        }
        Ok(())
    }

    fn enter(&mut self, folder: &LocalFolder, path: PathBuf, name: String) -> Result<()> {
        let mut above = Vec::new();
        if self.follow_links {
            let Some(real) = there(fs::canonicalize(&path), &path)? else { return Ok(()) };
            if folder.above.contains(&real) {
                return self.pass_over(name, Why::Ring);
            }
            above.clone_from(&folder.above);
            above.push(real);
        }
        self.folders.push(LocalFolder { path, prefix: name + "/", above });
        Ok(())
    }

    /// A name that is not UTF-8 can be no split's. It is an error only where the glob takes it: then it is input
    /// that would be lost.
    fn look_at_nameless(&mut self, folder: &LocalFolder, path: &Path, name: &OsStr) -> Result<()> {
        let mut below = std::ffi::OsString::from(&folder.prefix);
        below.push(name);
        let hidden = is_hidden(&name.to_string_lossy());
        let taken = if path.is_dir() {
            self.selection.looks_into(&below.to_string_lossy())
        } else {
            self.selection.takes_hidden(Path::new(&below))
        };
        if !taken {
            return Ok(());
        }
        if hidden {
            return self.pass_over(below.to_string_lossy().into_owned(), Why::Hidden);
        }
        Err(Error::new(ErrorKind::Data, OPERATION, "a name that the glob takes is not UTF-8")
            .with("path", format!("{path:?}")))
    }

    fn pass_over(&mut self, path: String, why: Why) -> Result<()> {
        self.listing.passed_over.push(Notice { path, why });
        Ok(())
    }
}

/// Nothing where what was asked for is gone.
pub(crate) fn there<T>(answer: io::Result<T>, path: &Path) -> Result<Option<T>> {
    match answer {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        answer => answer.map(Some).map_err(|error| error::local(OPERATION, path, error)),
    }
}

/// What stands under the name of a file.
enum Look {
    File(FileSplit),
    NoFile,
    Gone,
}

fn look_at_file(path: &Path, name: &str) -> Result<Look> {
    let Some(metadata) = there(fs::metadata(path), path)? else {
        // A link to nothing is there, and no file.
        let link = there(fs::symlink_metadata(path), path)?;
        return Ok(if link.is_some() { Look::NoFile } else { Look::Gone });
    };
    if !metadata.is_file() {
        return Ok(Look::NoFile);
    }
    local_split(path, name, &metadata).map(Look::File)
}

/// A local file that nothing is read of, with the evidence that its metadata has.
pub(crate) fn local_split(path: &Path, name: &str, metadata: &fs::Metadata) -> Result<FileSplit> {
    let Place { offset, line } = Place::BEGIN;
    Ok(FileSplit {
        file: name.into(),
        offset,
        line,
        size: metadata.len(),
        version: local_version(path, metadata)?,
        inode: inode(metadata),
        made: metadata.created().ok().and_then(|made| jiff::Timestamp::try_from(made).ok()),
        edges: None,
    })
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::ino(metadata))
}

#[cfg(not(unix))]
fn inode(_metadata: &fs::Metadata) -> Option<u64> {
    None
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

async fn list_store(store: &StoreFolder, selection: &Selection) -> Result<Listing> {
    let failed = |error| error::store(OPERATION, &store.url, error);
    let mut objects = store.objects.list(Some(&store.prefix));
    let mut listing = Listing::default();
    while let Some(object) = objects.try_next().await.map_err(failed)? {
        let Some(name) = store.name(&object.location) else { continue };
        if !selection.takes(&name) {
            if selection.takes_hidden(&name) {
                listing.passed_over.push(Notice { path: name, why: Why::Hidden });
            }
            continue;
        }
        let Some(etag) = object.e_tag else {
            return Err(Error::new(
                ErrorKind::Config,
                OPERATION,
                "the object store gives no entity tag, so a replaced object could not be told from the one that was found",
            )
            .with("object", object.location));
        };
        let version = FileVersion::Etag(etag.into());
        let Place { offset, line } = Place::BEGIN;
        listing.files.push(FileSplit {
            file: name.into(),
            offset,
            line,
            size: object.size,
            version,
            inode: None,
            made: None,
            edges: None,
        });
    }
    Ok(listing)
}

/// The full path of a file of a local folder.
pub(crate) fn local_path(root: &Path, split: &FileSplit) -> PathBuf {
    root.join(&*split.file)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_file_that_gets_another_name_while_its_folder_is_listed_is_listed_once() {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        let walk = || Walk::new(&Selection::new("*").unwrap(), false).run(root).unwrap().files;
        fs::write(root.join("a"), "content").unwrap();
        let before = walk();
        fs::rename(root.join("a"), root.join("b")).unwrap();
        // What a walk meets that comes by the old name before, and by the new one after.
        let both = [before, walk()].concat();
        assert_eq!(both.len(), 2);
        assert!(!names_stand(root, &both).unwrap());
        let listing = list_local(root, &Selection::new("*").unwrap(), false).unwrap();
        assert_eq!(listing.files.iter().map(|file| &*file.file).collect::<Vec<_>>(), ["b"]);
        // A link is a name for good.
        fs::hard_link(root.join("b"), root.join("c")).unwrap();
        assert!(names_stand(root, &walk()).unwrap());
    }
}
