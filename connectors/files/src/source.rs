//! The source: finds files, and opens them where the snapshot left off.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use tidelock::{Discovery, Error, ErrorKind, Known, Result, Source};

use crate::blocking::blocking;
use crate::changed::{Decision, Unsettled};
use crate::config::{FilesSourceConfig, OnBadRecord};
use crate::discovery::{self, Listing};
use crate::evidence::{self, Copies};
use crate::folder::Folder;
use crate::reader::FileReader;
use crate::selection::Selection;
use crate::split::FileSplit;
use crate::told::Told;

/// Reads the files of a folder as records of type `T`: see the [crate's page](crate) for what it
/// guarantees.
pub struct FilesSource<T> {
    config: Arc<FilesSourceConfig>,
    folder: Folder,
    dead_letters: Option<Folder>,
    selection: Selection,
    told: Told,
    unsettled: Unsettled,
    copies: Copies,
    record: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for FilesSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesSource").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<T> FilesSource<T> {
    /// A source with these settings. Does no I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the setting that is wrong.
    pub fn new(config: FilesSourceConfig) -> Result<Self> {
        config.validate()?;
        let folder = Folder::new(&config.folder, &config.store_options)?;
        let dead_letters = match &config.on_bad_record {
            OnBadRecord::DeadLetter(folder) => Some(Folder::new(folder, &config.store_options)?),
            OnBadRecord::Fail | OnBadRecord::Skip => None,
        };
        let selection = Selection::new(&config.glob)?;
        Ok(Self {
            config: Arc::new(config),
            folder,
            dead_letters,
            selection,
            told: Told::default(),
            unsettled: Unsettled::default(),
            copies: Copies::default(),
            record: PhantomData,
        })
    }

    /// Looks closer at files which may be copies of those that were read.
    async fn with_copies(
        &self,
        mut files: Vec<FileSplit>,
        known: &Known<FileSplit>,
    ) -> Result<Vec<FileSplit>> {
        let Folder::Local(root) = &self.folder else { return Ok(files) };
        let doubtful = Copies::doubtful(&files, &known.ended);
        let (root, copies) = (root.clone(), self.copies.clone());
        blocking("look for files", move || {
            copies.look(&root, &mut files, &doubtful);
            Ok(files)
        })
        .await
    }

    /// Adds the evidence for which a file must be opened.
    async fn with_edges(&self, mut new: Vec<FileSplit>) -> Result<Vec<FileSplit>> {
        let Folder::Local(root) = self.folder.clone() else { return Ok(new) };
        blocking("look for files", move || {
            evidence::look_at_edges(&root, &mut new);
            Ok(new)
        })
        .await
    }

    fn found_nothing(&self) -> Error {
        Error::new(
            ErrorKind::NotFound,
            "look for files",
            "no file is there to be read; allow_empty says that this is fine",
        )
        .with("folder", &self.config.folder)
        .with("glob", &self.config.glob)
    }
}

#[async_trait]
impl<T: DeserializeOwned + Send + 'static> Source for FilesSource<T> {
    type Record = T;
    type Split = FileSplit;
    type Reader = FileReader<T>;

    /// Files end, and there may be thousands: each that is open takes a handle, or a block of an object.
    const OPEN_SPLITS_MAX: usize = 16;

    async fn discover(&self, known: &Known<FileSplit>) -> Result<Discovery<FileSplit>> {
        let Listing { files, mut passed_over } =
            discovery::list(&self.folder, &self.selection, self.config.follow_links).await?;
        let nothing_known = known.active.is_empty() && known.finished.is_empty();
        let nothing_there = files.is_empty();
        let files = self.with_copies(files, known).await?;
        let Decision { new, forget, notices } = self.unsettled.decide(files, known, &self.config)?;
        let new = self.with_edges(new).await?;
        passed_over.extend(notices);
        self.told.tell(&self.config.folder, passed_over);
        if self.config.bounded && !self.config.allow_empty && nothing_known && nothing_there {
            return Err(self.found_nothing());
        }
        Ok(Discovery { new, forget, complete: self.config.bounded })
    }

    async fn open(&self, split: FileSplit) -> Result<FileReader<T>> {
        if self.config.drop_splits.contains(&*split.file) {
            return Ok(FileReader::dropped(split, Arc::clone(&self.config)));
        }
        FileReader::open(split, self.folder.clone(), Arc::clone(&self.config), self.dead_letters.clone())
            .await
    }
}
