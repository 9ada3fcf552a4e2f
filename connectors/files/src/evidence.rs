//! Which local file a split means, whatever it is called now.
//!
//! ```text
//!   under its name, with its inode ───────────────────────────> it
//!   under another name, with its inode: it was moved ──────────> it
//!   nowhere, and under its name one of its size, time and edges > a copy of it, put in its place
//!   else ──> an error with what was found and what is there
//! ```
//!
//! A file may wait for its turn for long, and a half-read one for the next start of its job: meanwhile logs are rotated.
//! The name says least of all, as the next file has it. Size and time alone do not tell files that came out of an
//! archive, or were written by a machine whose file system counts seconds.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tidelock::{Error, ErrorKind, Result};

use crate::config::FilesSourceConfig;
use crate::discovery::{Walk, local_path, local_split, there};
use crate::error;
use crate::selection::Selection;
use crate::split::FileSplit;

const OPERATION: &str = "read a file";

/// How often a file is looked for: one that gets another name while its folder is listed may be met under none.
const SEARCHES: usize = 3;

/// How much of the beginning and of the end of a file is its edges: lines of a log begin with their time.
const EDGE_BYTES: u64 = 4 << 10;

/// A local file that is open.
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    /// The split, with the evidence of the file that is open.
    pub(crate) split: FileSplit,
}

impl Opened {
    /// What is called `path` now, as if it were found under the name of the split.
    fn at(path: PathBuf, split: &FileSplit) -> Result<Option<Self>> {
        let Some(file) = there(File::open(&path), &path)? else { return Ok(None) };
        let metadata = file.metadata().map_err(|error| error::local(OPERATION, &path, error))?;
        let split = local_split(&path, &split.file, &metadata)?;
        Ok(Some(Self { file, path, split }))
    }

    /// The same, where reading of `split` goes on in it.
    fn go_on(self, split: &FileSplit) -> Result<Self> {
        let edges = match split.edges {
            None => self.edges()?,
            edges => edges,
        };
        let now = FileSplit { offset: split.offset, line: split.line, edges, ..self.split };
        Ok(Self { split: now, ..self })
    }

    fn edges(&self) -> Result<Option<u32>> {
        edges(&self.file, self.split.size).map_err(|error| error::local(OPERATION, &self.path, error))
    }

    /// Whether it has all that was kept of a file which is nowhere to be found.
    fn is_copy_of(&self, split: &FileSplit) -> Result<bool> {
        if !self.split.is_same_content(split) {
            return Ok(false);
        }
        // Where nobody knows inodes, size and time are all the evidence that there is.
        Ok(split.inode.is_none() || self.split.inode.is_none() || {
            split.edges.is_some() && self.edges()? == split.edges
        })
    }
}

/// Opens the file of a split, under whatever name it has.
pub(crate) fn open(root: &Path, split: &FileSplit, config: &FilesSourceConfig) -> Result<Opened> {
    let path = local_path(root, split);
    let mut named = None;
    for _ in 0..SEARCHES {
        named = match Opened::at(path.clone(), split)? {
            Some(opened) if opened.split.is_same_file(split) => return opened.go_on(split),
            named => named,
        };
        if split.inode.is_none() {
            break;
        }
        for other in elsewhere(root, split, config)? {
            if let Some(opened) = Opened::at(other, split)?
                && opened.split.is_same_file(split)
            {
                let now = opened.path.display();
                tracing::info!(file = &*split.file, %now, "a file that was found has another name: it is read there");
                return opened.go_on(split);
            }
        }
    }
    let Some(named) = named else { return Err(missing(&path, split)) };
    if named.is_copy_of(split)? {
        return named.go_on(split);
    }
    Err(changed(path.display(), split, &named.split))
}

/// The names under which the file of a split is seen: beside the one that it had, whatever the glob takes, and wherever
/// it looks.
fn elsewhere(root: &Path, split: &FileSplit, config: &FilesSourceConfig) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let path = local_path(root, split);
    let beside = path.parent().unwrap_or(root);
    if let Some(entries) = there(fs::read_dir(beside), beside)? {
        for entry in entries {
            let Some(entry) = there(entry, beside)? else { continue };
            // What cannot be looked at is a link, or just gone: neither is the file.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() && local_split(&entry.path(), &split.file, &metadata)?.is_same_file(split) {
                paths.push(entry.path());
            }
        }
    }
    if paths.is_empty() {
        let listing = Walk::new(&Selection::new(&config.glob)?, config.follow_links).run(root)?;
        let same = listing.files.iter().filter(|file| file.is_same_file(split));
        paths.extend(same.map(|file| local_path(root, file)));
    }
    Ok(paths)
}

/// A checksum of the first and the last bytes; nothing where the file is shorter than it was.
fn edges(mut file: &File, size: u64) -> io::Result<Option<u32>> {
    let first = size.min(EDGE_BYTES);
    let last = (size - first).min(EDGE_BYTES);
    let mut checksum = 0;
    for (from, bytes) in [(0, first), (size - last, last)] {
        let mut edge = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.take(bytes).read_to_end(&mut edge)?;
        if edge.len() as u64 != bytes {
            return Ok(None);
        }
        checksum = crc32c::crc32c_append(checksum, &edge);
    }
    Ok(Some(checksum))
}

/// Looks at the edges of files that were found. Those of a file that is another one already, or cannot be opened, are seen
/// when it is opened to be read.
pub(crate) fn look_at_edges(root: &Path, files: &mut [FileSplit]) {
    for split in files {
        let opened = Opened::at(local_path(root, split), split);
        let same = opened.ok().flatten().filter(|opened| opened.split.is_same_file(split));
        split.edges = same.and_then(|opened| opened.edges().ok().flatten());
    }
}

/// Files in the place of others that were read to their end, in size and time the same, and not the same files: a folder
/// that was copied is full of them, and their edges are looked at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copies(Arc<Mutex<HashMap<Arc<str>, FileSplit>>>);

impl Copies {
    /// The names of the files that may be copies of what was read.
    pub(crate) fn doubtful(files: &[FileSplit], ended: &[FileSplit]) -> HashSet<Arc<str>> {
        let ended: HashMap<_, _> = ended.iter().map(|read| (&*read.file, read)).collect();
        let may_be_copy = |file: &&FileSplit| {
            ended.get(&*file.file).is_some_and(|read| {
                read.edges.is_some() && read.is_same_content(file) && !read.is_same_file(file)
            })
        };
        files.iter().filter(may_be_copy).map(|file| Arc::clone(&file.file)).collect()
    }

    /// Looks at their edges, in a listing.
    pub(crate) fn look(&self, root: &Path, files: &mut [FileSplit], doubtful: &HashSet<Arc<str>>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|name, _| doubtful.contains(name));
        for file in files.iter_mut().filter(|file| doubtful.contains(&file.file)) {
            match seen.get(&file.file).filter(|before| before.is_same_file(file)) {
                Some(before) => file.edges = before.edges,
                None => {
                    look_at_edges(root, std::slice::from_mut(file));
                    seen.insert(Arc::clone(&file.file), file.clone());
                }
            }
        }
    }
}

/// What to do where the file of a split is lost for good.
pub(crate) fn remedy(split: &str) -> String {
    format!(
        "put the found one back, with its time; or roll back to a snapshot from before it; or give up what was not read of \
         it: name it in drop_splits, as {split:?}"
    )
}

/// The file under the name of a split is another one.
pub(crate) fn changed(place: impl std::fmt::Display, found: &FileSplit, now: &FileSplit) -> Error {
    let known =
        |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    replaced(place, &found.file)
        .with("size_found", found.size)
        .with("size_now", now.size)
        .with("version_found", format!("{:?}", found.version))
        .with("version_now", format!("{:?}", now.version))
        .with("inode_found", known(found.inode))
        .with("inode_now", known(now.inode))
}

/// The file or object under the name of a split is another one.
pub(crate) fn replaced(place: impl std::fmt::Display, split: &str) -> Error {
    let why = "the file is not the one that was found: it was replaced, truncated or written to";
    Error::new(ErrorKind::Expired, OPERATION, why).with("file", place).with("remedy", remedy(split))
}

fn missing(path: &Path, split: &FileSplit) -> Error {
    Error::new(ErrorKind::NotFound, OPERATION, "the file was found and not read to its end, and is gone now")
        .with("file", path.display())
        .with("offset", split.offset)
        .with("remedy", remedy(&split.file))
}
