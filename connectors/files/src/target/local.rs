//! A local folder: files are hidden until they are renamed.
//!
//! ```text
//!   append    create ROOT/.tidelock/WRITER/N, write
//!   finish    write, fsync the file, fsync its folder
//!   commit    look at all; rename each to its visible name and lay a mark in its place; fsync every folder that got one
//!   settled   remove the marks
//! ```
//!
//! A rename is atomic and a visible name is never used twice, so a reader sees a whole file or none, and
//! a file that it saw never changes. Committing again finds the file visible, and only makes the folder
//! durable once more: the first time may have ended between rename and fsync.
//!
//! A mark is an empty file. It is not synced: where the power fails and takes it, a file that a reader took counts as
//! lost, and never the other way round.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tidelock::{Error, ErrorKind, Result, TargetName};

use super::owner::{Owner, Whose};
use super::{ANOTHER_LOG, Fate, Finished, PendingFile, lost, not_ours, tell_taken, written_before};
use crate::blocking::blocking;
use crate::committable::{FileCommittable, Staged};
use crate::error;
use crate::names;

/// Enough that the way to a blocking thread does not count, and little enough for many open files.
pub(crate) const APPEND_BYTES: usize = 512 << 10;

/// A local folder.
#[derive(Debug, Clone)]
pub(crate) struct LocalTarget {
    root: PathBuf,
}

impl LocalTarget {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) async fn recover(&self, owner: Owner, pending: &[PendingFile]) -> Result<()> {
        let (root, pending) = (self.root.clone(), pending.to_vec());
        blocking("recover files", move || {
            create_folders(&root, names::HIDDEN)?;
            sweep(&root, &owner, &pending)?;
            pending.iter().try_for_each(|file| look(&root, file, Depth::Content).map(drop))
        })
        .await
    }

    pub(crate) async fn open(&self, writer: &TargetName) -> Result<()> {
        let (root, folder) = (self.root.clone(), names::staging_folder(writer));
        blocking("open a folder", move || create_folders(&root, &folder)).await
    }

    pub(crate) fn begin(&self, writer: &TargetName, number: u64, file: &str) -> LocalFile {
        let name = names::staged(writer, number);
        LocalFile { path: self.root.join(&name), visible: self.root.join(file), name, file: None }
    }

    pub(crate) async fn finish(&self, files: Vec<(LocalFile, Vec<u8>)>) -> Result<Vec<Finished>> {
        blocking("prepare files", move || {
            let mut finished = Vec::with_capacity(files.len());
            let mut folders = BTreeSet::new();
            for (mut in_progress, rest) in files {
                let file = in_progress.write(&rest)?;
                file.sync_all().map_err(|error| error::local("prepare a file", &in_progress.path, error))?;
                folders.extend(in_progress.path.parent().map(Path::to_owned));
                finished.push(Finished { staged: Staged::File(in_progress.name), expires_in: None });
            }
            sync_folders(&folders)?;
            Ok(finished)
        })
        .await
    }

    pub(crate) async fn commit(&self, pending: Vec<PendingFile>) -> Result<()> {
        if pending.is_empty() {
            return Ok(());
        }
        let root = self.root.clone();
        blocking("commit files", move || commit(&root, &pending)).await
    }

    pub(super) async fn settled(&self, staged: Vec<Staged>) {
        let root = self.root.clone();
        let removed = blocking("remove marks", move || {
            let names = staged.iter().filter_map(|staged| match staged {
                Staged::File(name) => Some(name),
                Staged::Upload { .. } => None,
            });
            names.map(|name| root.join(names::mark(name))).try_for_each(|mark| remove("remove a mark", &mark))
        });
        if let Err(error) = removed.await {
            tracing::debug!(%error, "the mark of a committed file was not removed");
        }
    }
}

/// A file in progress; created with its first bytes.
pub(crate) struct LocalFile {
    path: PathBuf,
    visible: PathBuf,
    name: String,
    file: Option<File>,
}

impl LocalFile {
    pub(crate) async fn append(&mut self, bytes: Vec<u8>) -> Result<()> {
        let Self { path, visible, name, file } = self;
        let mut moved =
            Self { path: path.clone(), visible: visible.clone(), name: name.clone(), file: file.take() };
        self.file = blocking("write a file", move || {
            moved.write(&bytes)?;
            Ok(moved.file)
        })
        .await?;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<&File> {
        let failed = |error| error::local("write a file", &self.path, error);
        let file = match &mut self.file {
            Some(file) => file,
            // The folder is there since the writer was opened. Where it is not, a newer attempt swept
            // it, and to make it again would leave something behind the newer attempt's back.
            none => {
                if fs::symlink_metadata(&self.visible).is_ok() {
                    return Err(written_before(self.visible.display()));
                }
                let file = File::create_new(&self.path).map_err(failed)?;
                check_file_system(&self.path, &self.visible)?;
                none.insert(file)
            }
        };
        file.write_all(bytes).map_err(failed)?;
        Ok(file)
    }
}

/// Refuses a bucket on a file system or a mount of its own, before anything is written for it: no file could become
/// visible there in one step. Folders are compared with each other: of layered file systems a file may have another number
/// than the folder that it is in.
#[cfg(unix)]
fn check_file_system(staged: &Path, visible: &Path) -> Result<()> {
    match (nearest_folder(staged)?, nearest_folder(visible)?) {
        (Some((_, ours)), Some((theirs, place))) if ours != place => {
            Err(error::local("write a file", theirs, io::ErrorKind::CrossesDevices.into()))
        }
        _ => Ok(()),
    }
}

/// The nearest folder above a path that is there, and where it is.
#[cfg(unix)]
fn nearest_folder(path: &Path) -> Result<Option<(&Path, Place)>> {
    for folder in path.ancestors().skip(1) {
        match place(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }) {
            Ok(place) => return Ok(Some((folder, place))),
            // It is made later; or a reader removed it just now.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error::local("write a file", folder, error)),
        }
    }
    Ok(None)
}

/// Two files with the same one can be renamed to each other's place. Asked for in one call, because a reader may remove a
/// folder between two.
#[cfg(target_os = "linux")]
type Place = (u32, u32, Option<u64>);

#[cfg(all(unix, not(target_os = "linux")))]
type Place = u64;

/// The file system, and the mount that it is reached by, where the system tells: one file system may be mounted in two
/// places, and nothing can be renamed from one to the other.
#[cfg(target_os = "linux")]
fn place(folder: &Path) -> io::Result<Place> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let told = statx(CWD, folder, AtFlags::empty(), StatxFlags::MNT_ID)?;
    let has_mount = StatxFlags::from_bits_retain(told.stx_mask).contains(StatxFlags::MNT_ID);
    Ok((told.stx_dev_major, told.stx_dev_minor, has_mount.then_some(told.stx_mnt_id)))
}

#[cfg(all(unix, not(target_os = "linux")))]
fn place(folder: &Path) -> io::Result<Place> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(folder).map(|metadata| metadata.dev())
}

/// Elsewhere the commit finds out.
#[cfg(not(unix))]
fn check_file_system(_staged: &Path, _visible: &Path) -> Result<()> {
    Ok(())
}

/// Removes what older attempts of this job and sink left and nothing pending needs. Names are read
/// whole: what is not ours is not touched. Fails, before it touches anything, where the job has another owner.
fn sweep(root: &Path, owner: &Owner, pending: &[PendingFile]) -> Result<()> {
    const OPERATION: &str = "remove leftovers";
    let staged = pending.iter().filter_map(|file| match &file.committable.staged {
        Staged::File(name) => Some(name),
        Staged::Upload { .. } => None,
    });
    let needed: HashSet<PathBuf> =
        staged.flat_map(|name| [root.join(name), root.join(names::mark(name))]).collect();
    let (mut older, mut strangers) = (Vec::new(), Vec::new());
    for folder in entries(OPERATION, &root.join(names::HIDDEN))? {
        let Some(name) = folder.file_name().and_then(|name| TargetName::parse(name.to_str()?)) else {
            continue;
        };
        match owner.whose(&name) {
            Whose::Leftover => older.push(folder),
            // A folder without files was made and not used: nothing is in progress there.
            Whose::Stranger if !entries(OPERATION, &folder)?.is_empty() => {
                strangers.push((name, folder.display().to_string()));
            }
            Whose::Stranger | Whose::LeaveAlone => {}
        }
    }
    owner.refuse(strangers)?;
    for folder in older {
        let (kept, leftovers): (Vec<_>, Vec<_>) =
            entries(OPERATION, &folder)?.into_iter().partition(|file| needed.contains(file));
        for file in leftovers {
            tracing::info!(file = %file.display(), "removing what an older attempt left");
            remove(OPERATION, &file)?;
        }
        if kept.is_empty() {
            // A paused older attempt may add a file right now; then the next sweep removes the folder.
            match fs::remove_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                done => absent_is_fine(done).map_err(|error| error::local(OPERATION, &folder, error))?,
            }
        }
    }
    Ok(())
}

fn commit(root: &Path, pending: &[PendingFile]) -> Result<()> {
    // I7: everything is looked at before anything becomes visible.
    let fates = pending.iter().map(|file| look(root, file, Depth::Size)).collect::<Result<Vec<_>>>()?;
    let mut folders = BTreeSet::new();
    for (file, fate) in pending.iter().zip(fates) {
        let (staged, visible) = paths(root, &file.committable)?;
        let fate = match fate {
            Fate::Staged => publish(root, file)?,
            Fate::Visible => {
                remove("commit a file", &staged)?;
                Fate::Visible
            }
            Fate::Taken => Fate::Taken,
        };
        match fate {
            Fate::Taken => tell_taken(file),
            Fate::Staged | Fate::Visible => lay(&mark_of(&staged))?,
        }
        folders.extend(visible.parent().map(Path::to_owned));
    }
    sync_remaining(&folders)
}

/// How often a reader may remove the folder that a file is on its way into.
const FOLDERS_REMOVED_MAX: usize = 10;

/// Makes a prepared file visible, and returns what became of it.
fn publish(root: &Path, file: &PendingFile) -> Result<Fate> {
    const OPERATION: &str = "commit a file";
    let (staged, visible) = paths(root, &file.committable)?;
    for _ in 0..FOLDERS_REMOVED_MAX {
        let folder = Path::new(&file.committable.file).parent().and_then(Path::to_str).unwrap_or_default();
        create_folders(root, folder)?;
        match fs::rename(&staged, &visible) {
            Ok(()) => return Ok(Fate::Visible),
            // The same commit by somebody else came first; or the file was removed just now; or the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error::local(OPERATION, &visible, error)),
        }
        match look(root, file, Depth::Content)? {
            Fate::Staged => {}
            fate => return Ok(fate),
        }
    }
    let why = "the folder that a file becomes visible in is removed again and again";
    Err(Error::new(ErrorKind::Unavailable, OPERATION, why).with("path", visible.display()))
}

/// The mark of a file in progress.
fn mark_of(staged: &Path) -> PathBuf {
    let mut mark = staged.as_os_str().to_owned();
    mark.push(names::MARK);
    mark.into()
}

/// Lays a mark. I7: only where the file is visible, because it is the proof of that.
fn lay(mark: &Path) -> Result<()> {
    match File::create_new(mark) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // The same commit by somebody else came first, and what it left is gone already.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map(drop).map_err(|error| error::local("mark a file", mark, error)),
    }
}

/// How closely a file is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Its size: enough for what this process wrote, or recovery looked at.
    Size,
    /// Every byte.
    Content,
}

/// What became of a pending file. A visible one is always compared whole: that is rare.
fn look(root: &Path, pending: &PendingFile, depth: Depth) -> Result<Fate> {
    let (staged, visible) = paths(root, &pending.committable)?;
    if let Some(same) = compare(&visible, &pending.committable, Depth::Content)? {
        return if same {
            Ok(Fate::Visible)
        } else {
            let why = "a visible file has the name of a prepared one and another content: somebody changed it, and \
                       can put back what was there; or another log of this job wrote here";
            Err(not_ours(pending, why).with("remedy", ANOTHER_LOG))
        };
    }
    match compare(&staged, &pending.committable, depth)? {
        Some(true) => Ok(Fate::Staged),
        Some(false) => {
            Err(not_ours(pending, "a prepared file is damaged: size or checksum are not what was prepared"))
        }
        // Between the two looks it may have become visible.
        None => match compare(&visible, &pending.committable, Depth::Content)? {
            Some(true) => Ok(Fate::Visible),
            None if mark_of(&staged).exists() => Ok(Fate::Taken),
            _ => Err(lost(pending).with("folder", root.display())),
        },
    }
}

/// Whether a file has the prepared content; nothing where there is no file.
fn compare(path: &Path, committable: &FileCommittable, depth: Depth) -> Result<Option<bool>> {
    let compared = || -> io::Result<Option<bool>> {
        let bytes = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => return Ok(Some(false)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if bytes != committable.bytes || depth == Depth::Size {
            return Ok(Some(bytes == committable.bytes));
        }
        match checksum(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            checksum => Ok(Some(checksum? == committable.crc32c)),
        }
    };
    compared().map_err(|error| error::local("look at a file", path, error))
}

fn checksum(path: &Path) -> io::Result<u32> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; APPEND_BYTES];
    let mut checksum = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(checksum),
            read => checksum = crc32c::crc32c_append(checksum, &buffer[..read]),
        }
    }
}

/// The hidden and the visible path of a committable.
fn paths(root: &Path, committable: &FileCommittable) -> Result<(PathBuf, PathBuf)> {
    match &committable.staged {
        Staged::File(name) => Ok((root.join(name), root.join(&committable.file))),
        Staged::Upload { .. } => Err(Error::new(
            ErrorKind::Config,
            "commit a file",
            "the file was prepared in an object store, and the sink's folder is a local one now",
        )
        .with("file", &committable.file)),
    }
}

/// Makes a folder below `root`, and durable what it makes.
fn create_folders(root: &Path, below: &str) -> Result<()> {
    let folder = root.join(below);
    if folder.is_dir() {
        return Ok(());
    }
    // From the first ancestor that exists on, every folder gets an entry that must be durable.
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    let gone =
        || matches!(fs::symlink_metadata(&folder), Err(error) if error.kind() == io::ErrorKind::NotFound);
    match fs::create_dir_all(&folder) {
        // A reader removed one of them at once. Who needs it finds it missing.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) && gone() =>
        {
            Ok(())
        }
        Err(error) => Err(error::local("make a folder", &folder, error)),
        Ok(()) => sync_remaining(&missing.into_iter().filter_map(Path::parent).map(Path::to_owned).collect()),
    }
}

/// Makes the entries of folders durable.
fn sync_folders(folders: &BTreeSet<PathBuf>) -> Result<()> {
    folders.iter().try_for_each(|folder| sync_folder(folder))
}

/// The same, where a reader may have removed a folder with what was in it.
fn sync_remaining(folders: &BTreeSet<PathBuf>) -> Result<()> {
    folders.iter().try_for_each(|folder| match sync_folder(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    })
}

fn sync_folder(folder: &Path) -> Result<()> {
    // The parent of a relative path of one part is empty, and means the working folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| error::local("make a folder durable", folder, error))
}

/// What is in a folder; nothing where there is none.
fn entries(operation: &'static str, folder: &Path) -> Result<Vec<PathBuf>> {
    let read = match fs::read_dir(folder) {
        // A file that somebody laid among our folders is not ours.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        read => read.and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect()),
    };
    read.map_err(|error| error::local(operation, folder, error))
}

/// Removes a file that may be gone already.
fn remove(operation: &'static str, path: &Path) -> Result<()> {
    absent_is_fine(fs::remove_file(path)).map_err(|error| error::local(operation, path, error))
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
