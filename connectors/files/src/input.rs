//! The bytes of one file, decompressed, from an offset on; never those of another file.
//!
//! ```text
//!   stored bytes (file, or object block by block) ──> size and version checked ──> gzip? ──> parser
//! ```
//!
//! A file that was replaced, truncated or deleted since it was found is an error that names it. To go on
//! with other bytes at the same offset would lose or double records without a word.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use object_store::path::Path as StorePath;
use object_store::{GetOptions, GetRange};
use tidelock::{Error, ErrorKind, Result};
use tokio::runtime::Handle;

use crate::config::Compression;
use crate::discovery::{local_path, local_version};
use crate::error;
use crate::folder::{Folder, StoreFolder};
use crate::split::{FileSplit, FileVersion};

const OPERATION: &str = "read a file";

/// How much of an object is asked for at once: large enough that the time of a request does not count,
/// small enough that many open splits fit in memory.
const BLOCK_BYTES: u64 = 4 << 20;

/// A file that was found, and can be opened at any offset. Everything here blocks.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// A local file. The open handle pins the file itself, whatever happens to its name.
    Local { file: Arc<File>, path: PathBuf, size: u64, version: FileVersion, gzip: bool },
    /// An object. Every request names the version, so the store itself refuses another.
    Object {
        store: StoreFolder,
        path: StorePath,
        size: u64,
        version: FileVersion,
        gzip: bool,
        handle: Handle,
    },
}

impl Input {
    /// Opens the file of a split and checks that it is the one that was found. `handle` is the runtime
    /// on which requests to object stores run.
    pub(crate) fn open(
        folder: &Folder,
        split: &FileSplit,
        compression: Compression,
        handle: Handle,
    ) -> Result<Self> {
        let gzip = match compression {
            Compression::Auto => split.file.ends_with(".gz"),
            Compression::None => false,
            Compression::Gzip => true,
        };
        let (size, version) = (split.size, split.version.clone());
        let input = match folder {
            Folder::Local(root) => {
                let path = local_path(root, split);
                let file = File::open(&path).map_err(|error| missing(&path, error))?;
                Self::Local { file: Arc::new(file), path, size, version, gzip }
            }
            Folder::Store(store) => {
                let path = store.path(&split.file)?;
                Self::Object { store: store.clone(), path, size, version, gzip, handle }
            }
        };
        input.verify()?;
        Ok(input)
    }

    /// Checks that the file is still the one that was found.
    pub(crate) fn verify(&self) -> Result<()> {
        match self {
            Self::Local { file, path, size, version, .. } => {
                let metadata = file.metadata().map_err(|error| error::local(OPERATION, path, error))?;
                let version_now = local_version(path, &metadata)?;
                if metadata.len() != *size || version_now != *version {
                    return Err(changed(path.display())
                        .with("size_found", size)
                        .with("size_now", metadata.len())
                        .with("version_found", format!("{version:?}"))
                        .with("version_now", format!("{version_now:?}")));
                }
                Ok(())
            }
            // Each request is conditional on the version, so bytes that were read are the right ones.
            Self::Object { .. } => Ok(()),
        }
    }

    /// The decompressed content from `offset` on. A compressed file is read from its beginning, as
    /// there is no other way to a place within it.
    pub(crate) fn read_from(&self, offset: u64) -> Result<Box<dyn Read + Send>> {
        if !self.is_gzip() {
            return self.stored(offset);
        }
        let mut content = MultiGzDecoder::new(self.stored(0)?);
        let skipped = io::copy(&mut (&mut content).take(offset), &mut io::sink())
            .map_err(|error| self.failed(error))?;
        if skipped != offset {
            return Err(self.no_such_offset(offset));
        }
        Ok(Box::new(content))
    }

    /// The bytes as they are stored, from `offset` on.
    fn stored(&self, offset: u64) -> Result<Box<dyn Read + Send>> {
        match self {
            Self::Local { file, path, size, .. } => {
                let left = size.checked_sub(offset).ok_or_else(|| self.no_such_offset(offset))?;
                (&**file)
                    .seek(SeekFrom::Start(offset))
                    .map_err(|error| error::local(OPERATION, path, error))?;
                Ok(Box::new(LocalBytes { file: Arc::clone(file), path: path.clone(), left }))
            }
            Self::Object { store, path, size, version, handle, .. } => {
                if offset > *size {
                    return Err(self.no_such_offset(offset));
                }
                let (store, path, handle) = (store.clone(), path.clone(), handle.clone());
                let FileVersion::Etag(etag) = version.clone() else {
                    return Err(changed(&path).with("version_found", format!("{version:?}")));
                };
                Ok(Box::new(ObjectBytes {
                    store,
                    path,
                    etag,
                    handle,
                    at: offset,
                    size: *size,
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
            Err(error) if self.is_gzip() && is_damage(&error) => Error::new(
                ErrorKind::Data,
                OPERATION,
                format!("the compressed content is damaged or cut off: {error}"),
            )
            .with("file", self.name())
            .because(error),
            Err(error) => error::local(OPERATION, Path::new(&self.name()), error),
        }
    }

    /// The name of the file, for messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Local { path, .. } => path.display().to_string(),
            Self::Object { path, .. } => path.to_string(),
        }
    }

    fn is_gzip(&self) -> bool {
        match self {
            Self::Local { gzip, .. } | Self::Object { gzip, .. } => *gzip,
        }
    }

    fn no_such_offset(&self, offset: u64) -> Error {
        Error::new(ErrorKind::Expired, OPERATION, "the file ends before the position of the snapshot")
            .with("file", self.name())
            .with("offset", offset)
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
    )
}

fn changed(file: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Expired,
        OPERATION,
        "the file is not the one that was found: it was replaced, truncated or written to; put the found one back, \
         or roll back to a snapshot from before it",
    )
    .with("file", file)
}

fn missing(path: &Path, error: io::Error) -> Error {
    if error.kind() != io::ErrorKind::NotFound {
        return error::local(OPERATION, path, error);
    }
    Error::new(ErrorKind::NotFound, OPERATION, "the file was found and not read to its end, and is gone now")
        .with("file", path.display())
        .because(error)
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
    etag: Arc<str>,
    handle: Handle,
    at: u64,
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
            object_store::Error::Precondition { .. } => changed(&self.path).because(error),
            object_store::Error::NotFound { .. } => {
                let message = "the object was found and not read to its end, and is gone now";
                Error::new(ErrorKind::NotFound, OPERATION, message).with("file", &self.path).because(error)
            }
            error => error::store(OPERATION, self.path.as_ref(), error),
        })?;
        if !same || block.len() as u64 != end - self.at {
            return Err(changed(&self.path).with("size_found", self.size));
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
