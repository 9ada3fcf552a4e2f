//! The bytes of one file, decompressed, from an offset on; never those of another file.
//!
//! ```text
//!   stored bytes (file, or object block by block) ──> size and version checked ──> gzip? ──> parser
//! ```
//!
//! A file that was replaced, truncated or deleted since it was found is an error that names it. To go on
//! with other bytes at the same offset would lose or double records without a word.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::{Buf, Bytes};
use object_store::path::Path as StorePath;
use object_store::{GetOptions, GetRange};
use tidelock::{Error, ErrorKind, Result};
use tokio::runtime::Handle;

use crate::config::{Compression, FilesSourceConfig};
use crate::discovery::local_split;
use crate::error;
use crate::evidence;
use crate::folder::{Folder, StoreFolder};
use crate::gunzip::{self, Gunzip};
use crate::split::{FileSplit, FileVersion};

const OPERATION: &str = "read a file";

/// How much of an object is asked for at once: large enough that the time of a request does not count,
/// small enough that many open splits fit in memory.
const BLOCK_BYTES: u64 = 4 << 20;

/// How much compressed content is read at once.
const COMPRESSED_BYTES: usize = 64 << 10;

/// A file that was found, and can be opened at any offset. Everything here blocks.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    site: Site,
    /// What is read, with the evidence that it is that.
    split: FileSplit,
    gzip: Gzip,
}

/// Where the file is.
#[derive(Debug, Clone)]
enum Site {
    /// A local file. The open handle pins the file itself, whatever happens to its name.
    Local { file: Arc<File>, path: PathBuf },
    /// An object. Every request names the version, so the store itself refuses another.
    Object { store: StoreFolder, path: StorePath, handle: Handle },
}

/// Whether the file is compressed.
#[derive(Debug, Clone)]
struct Gzip {
    /// Known from the settings or the name; else from the first bytes, as soon as they are read.
    known: OnceLock<bool>,
    by_name: bool,
}

impl Gzip {
    fn of(compression: Compression, file: &str) -> Self {
        let by_name = compression == Compression::Auto
            && file
                .len()
                .checked_sub(3)
                .and_then(|at| file.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(".gz"));
        let known = match compression {
            Compression::Auto => by_name.then_some(true),
            Compression::None => Some(false),
            Compression::Gzip => Some(true),
        };
        Self { known: known.map(OnceLock::from).unwrap_or_default(), by_name }
    }
}

impl Input {
    /// Opens the file of a split: the one that was found, under whatever name it has now. `handle` is the runtime
    /// on which requests to object stores run.
    pub(crate) fn open(
        folder: &Folder,
        split: &FileSplit,
        config: &FilesSourceConfig,
        handle: Handle,
    ) -> Result<Self> {
        let gzip = Gzip::of(config.compression, &split.file);
        match folder {
            Folder::Local(root) => {
                let evidence::Opened { file, path, split } = evidence::open(root, split, config)?;
                Ok(Self { site: Site::Local { file: Arc::new(file), path }, split, gzip })
            }
            Folder::Store(store) => {
                let site = Site::Object { store: store.clone(), path: store.path(&split.file)?, handle };
                Ok(Self { site, split: split.clone(), gzip })
            }
        }
    }

    /// The split, with the evidence of what is really read.
    pub(crate) fn split(&self) -> &FileSplit {
        &self.split
    }

    /// Checks that the file is still the one that was found.
    pub(crate) fn verify(&self) -> Result<()> {
        // Each request for an object is conditional on the version, so bytes that were read are the right ones.
        let Site::Local { file, path } = &self.site else { return Ok(()) };
        let metadata = file.metadata().map_err(|error| error::local(OPERATION, path, error))?;
        let now = local_split(path, &self.split.file, &metadata)?;
        if !now.is_same_content(&self.split) {
            return Err(evidence::changed(path.display(), &self.split, &now));
        }
        Ok(())
    }

    /// The decompressed content from `offset` on. A compressed file is read from its beginning, as
    /// there is no other way to a place within it.
    pub(crate) fn read_from(&self, offset: u64) -> Result<Box<dyn Read + Send>> {
        let mut first = Vec::new();
        let gzip = match self.gzip.known.get() {
            Some(gzip) => *gzip,
            None => {
                // At the beginning of the file the same request gives its first bytes and the others.
                let end = if offset == 0 {
                    self.split.size
                } else {
                    self.split.size.min(gunzip::FIRST_BYTES.len() as u64)
                };
                let mut stored = self.stored(0, end)?;
                (&mut stored)
                    .take(gunzip::FIRST_BYTES.len() as u64)
                    .read_to_end(&mut first)
                    .map_err(|error| self.failed(error))?;
                let gzip = *self.gzip.known.get_or_init(|| first == gunzip::FIRST_BYTES);
                if offset == 0 {
                    let stored = Read::chain(io::Cursor::new(first), stored);
                    return Ok(if gzip { Box::new(gunzip(stored)) } else { Box::new(stored) });
                }
                gzip
            }
        };
        if !gzip {
            return self.stored(offset, self.split.size);
        }
        let mut content = gunzip(self.stored(0, self.split.size)?);
        let skipped = io::copy(&mut (&mut content).take(offset), &mut io::sink())
            .map_err(|error| self.failed(error))?;
        if skipped != offset {
            return Err(self.no_such_offset(offset));
        }
        Ok(Box::new(content))
    }

    /// The bytes as they are stored, from one offset to another.
    fn stored(&self, from: u64, to: u64) -> Result<Box<dyn Read + Send>> {
        let left = to.checked_sub(from).ok_or_else(|| self.no_such_offset(from))?;
        match &self.site {
            Site::Local { file, path } => {
                (&**file)
                    .seek(SeekFrom::Start(from))
                    .map_err(|error| error::local(OPERATION, path, error))?;
                Ok(Box::new(LocalBytes { file: Arc::clone(file), path: path.clone(), left }))
            }
            Site::Object { store, path, handle } => {
                let FileVersion::Etag(etag) = self.split.version.clone() else {
                    let version = format!("{:?}", self.split.version);
                    return Err(evidence::replaced(path, &self.split.file).with("version_found", version));
                };
                let (store, path, handle) = (store.clone(), path.clone(), handle.clone());
                Ok(Box::new(ObjectBytes {
                    store,
                    path,
                    file: Arc::clone(&self.split.file),
                    etag,
                    handle,
                    at: from,
                    size: to,
                    block: Bytes::new(),
                }))
            }
        }
    }

    /// The error of a read from [`Input::read_from`]: with our own error where that is the cause.
    pub(crate) fn failed(&self, error: io::Error) -> Error {
        match error.downcast::<Error>() {
            Ok(ours) if ours.context().any(|(key, _)| key == "file") => ours,
            Ok(ours) => ours.with("file", self.name()),
            Err(error) if self.gzip.known.get() == Some(&true) && is_damage(&error) => self.damaged(error),
            Err(error) => error::local(OPERATION, Path::new(&self.name()), error),
        }
    }

    fn damaged(&self, error: io::Error) -> Error {
        let damaged = Error::new(
            ErrorKind::Data,
            OPERATION,
            format!("the compressed content is damaged or cut off: {error}"),
        )
        .with("file", self.name())
        .because(error);
        if self.gzip.by_name {
            return damaged
                .with("compression", "auto: the name says gzip; set it to none where that is wrong");
        }
        damaged
    }

    /// The name of the file, for messages.
    pub(crate) fn name(&self) -> String {
        match &self.site {
            Site::Local { path, .. } => path.display().to_string(),
            Site::Object { path, .. } => path.to_string(),
        }
    }

    fn no_such_offset(&self, offset: u64) -> Error {
        Error::new(ErrorKind::Expired, OPERATION, "the file ends before the position of the snapshot")
            .with("file", self.name())
            .with("offset", offset)
    }
}

fn gunzip<R: Read>(stored: R) -> Gunzip<BufReader<R>> {
    Gunzip::new(BufReader::with_capacity(COMPRESSED_BYTES, stored))
}

fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
    )
}

/// Reads a local file up to the size that it had when it was found. Its place in the file is that of the
/// handle, so there is one at a time.
struct LocalBytes {
    file: Arc<File>,
    path: PathBuf,
    left: u64,
}

impl Read for LocalBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = (&*self.file).read(&mut buffer[..wanted])?;
        if read == 0 {
            let message = "the file is shorter than when it was found: it was truncated";
            let error = Error::new(ErrorKind::Expired, OPERATION, message).with("file", self.path.display());
            return Err(io::Error::other(error));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Reads an object block by block, each a request of its own, so that a slow consumer holds no
/// connection open.
struct ObjectBytes {
    store: StoreFolder,
    path: StorePath,
    /// The name of the split.
    file: Arc<str>,
    etag: Arc<str>,
    handle: Handle,
    at: u64,
    /// Where reading ends.
    size: u64,
    block: Bytes,
}

impl ObjectBytes {
    fn fetch(&self) -> Result<Bytes> {
        let end = self.size.min(self.at + BLOCK_BYTES);
        let options = GetOptions {
            if_match: Some(self.etag.to_string()),
            range: Some(GetRange::Bounded(self.at..end)),
            ..GetOptions::default()
        };
        let request = async {
            let answer = self.store.objects.get_opts(&self.path, options).await?;
            // Not every store knows conditional reads; every one says what it gives.
            let same = answer.meta.e_tag.as_deref() == Some(&*self.etag);
            Ok((same, answer.bytes().await?))
        };
        let (same, block) = self.handle.block_on(request).map_err(|error| match error {
            object_store::Error::Precondition { .. } => {
                evidence::replaced(&self.path, &self.file).because(error)
            }
            object_store::Error::NotFound { .. } => {
                let message = "the object was found and not read to its end, and is gone now";
                Error::new(ErrorKind::NotFound, OPERATION, message)
                    .with("file", &self.path)
                    .with("remedy", evidence::remedy(&self.file))
                    .because(error)
            }
            error => error::store(OPERATION, self.path.as_ref(), error),
        })?;
        if !same || block.len() as u64 != end - self.at {
            return Err(evidence::replaced(&self.path, &self.file).with("size_found", self.size));
        }
        Ok(block)
    }
}

impl Read for ObjectBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() && self.at < self.size {
            self.block = self.fetch().map_err(io::Error::other)?;
            self.at += self.block.len() as u64;
        }
        let read = self.block.len().min(buffer.len());
        self.block.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}
