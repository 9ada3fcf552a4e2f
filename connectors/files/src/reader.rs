//! Reads one file in batches, off the async threads.
//!
//! ```text
//!   next() ──> a thread that may block: read, decompress, parse up to a batch
//!                  │ the file is still the one that was found?      no ──> error, nothing handed over
//!                  │ bad records: fail, count, or write them down
//!                  v
//!              Batch { records, resume }
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use tidelock::{Batch, Error, ErrorKind, Result, SourceName, SplitReader};
use tokio::runtime::Handle;

use crate::blocking::blocking;
use crate::config::{FilesSourceConfig, OnBadRecord};
use crate::dead_letter::{self, Origin};
use crate::folder::Folder;
use crate::format::columns;
use crate::format::next::{BadRecord, Next};
use crate::format::parser::Parser;
use crate::input::Input;
use crate::split::{FileSplit, Place};

const OPERATION: &str = "read a file";

/// Reads the records of one file.
pub struct FileReader<T> {
    work: State,
    split: FileSplit,
    config: Arc<FilesSourceConfig>,
    dead_letters: Option<Folder>,
    /// Whose letters they are, where the host said it.
    name: Option<SourceName>,
    /// Bytes that the last batch was read from.
    batch_bytes: u64,
    record: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for FileReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader").field("split", &self.split).finish_non_exhaustive()
    }
}

/// What a reader can do.
enum State {
    /// It reads on.
    Reads(Box<Work>),
    /// The split was given up: nothing is read.
    Dropped,
    /// A call did not return, or not yet.
    Broken,
}

/// What moves to the blocking thread and back.
struct Work {
    input: Input,
    parser: Parser,
    config: Arc<FilesSourceConfig>,
}

/// What a call on the blocking thread found.
struct Found<T> {
    records: Vec<T>,
    bad: Vec<BadRecord>,
    place: Place,
    end: bool,
}

impl<T: DeserializeOwned + Send + 'static> FileReader<T> {
    /// Opens the split's file at its position.
    pub(crate) async fn open(
        split: FileSplit,
        folder: Folder,
        config: Arc<FilesSourceConfig>,
        dead_letters: Option<Folder>,
    ) -> Result<Self> {
        let (with, handle) = (Arc::clone(&config), Handle::current());
        let work = blocking(OPERATION, move || {
            let input = Input::open(&folder, &split, &with, handle)?;
            let parser = Parser::open(&input, split.place(), &with, columns::fields_of::<T>())?;
            Ok(Box::new(Work { input, parser, config: with }))
        });
        let work = work.await?;
        // What a snapshot says of the file is true of the one that is read.
        let split = work.input.split().clone();
        Ok(Self { work: State::Reads(work), ..Self::at(split, config, dead_letters) })
    }

    /// A reader of nothing: the user gave the split up by name.
    pub(crate) fn dropped(split: FileSplit, config: Arc<FilesSourceConfig>) -> Self {
        tracing::warn!(file = &*split.file, offset = split.offset, "dropped by name: it is read no more");
        Self { work: State::Dropped, ..Self::at(split, config, None) }
    }

    fn at(split: FileSplit, config: Arc<FilesSourceConfig>, dead_letters: Option<Folder>) -> Self {
        Self {
            work: State::Broken,
            split,
            config,
            dead_letters,
            name: None,
            batch_bytes: 0,
            record: PhantomData,
        }
    }

    /// Obeys the policy for records that cannot be read.
    async fn dispose(&mut self, bad: Vec<BadRecord>) -> Result<()> {
        let Some(first) = bad.first() else { return Ok(()) };
        let file = &*self.split.file;
        match &self.config.on_bad_record {
            OnBadRecord::Fail => {
                let error = Error::new(ErrorKind::Data, "read a record", &first.reason)
                    .with("file", file)
                    .with("offset", first.offset);
                return Err(match first.line {
                    Some(line) => error.with("line", line),
                    None => error,
                });
            }
            OnBadRecord::Skip => {}
            OnBadRecord::DeadLetter(_) => {
                let folder = self.dead_letters.as_ref().expect("invariant: the source opened the folder");
                let origin = Origin { name: self.name.as_ref(), folder: &self.config.folder, file };
                dead_letter::write(folder, origin, &bad).await?;
            }
        }
        metrics::counter!("tidelock_files_bad_records_total").increment(bad.len() as u64);
        let letters = match &self.config.on_bad_record {
            OnBadRecord::DeadLetter(folder) => Some(folder.as_str()),
            OnBadRecord::Fail | OnBadRecord::Skip => None,
        };
        tracing::warn!(
            file,
            offset = first.offset,
            line = first.line,
            reason = first.reason,
            count = bad.len(),
            letters,
            "bad records left out"
        );
        Ok(())
    }
}

impl Work {
    /// Parses up to a batch. With the policy `fail` it stops at the first bad record.
    fn batch<T: DeserializeOwned>(&mut self) -> Result<Found<T>> {
        let found = self.parse();
        // Damage in a file that is not the one that was found is explained by that. And records of such a
        // file are not handed over.
        self.input.verify()?;
        found
    }

    fn parse<T: DeserializeOwned>(&mut self) -> Result<Found<T>> {
        let begin = self.parser.place().offset;
        let (records_max, bytes_max) = (self.config.batch_records_max, self.config.batch_bytes_max as u64);
        let mut records = Vec::new();
        let mut bad = Vec::new();
        let mut end = false;
        while records.len() + bad.len() < records_max && self.parser.place().offset - begin < bytes_max {
            match self.parser.next(&self.input)? {
                Next::Record(record) => {
                    if records.capacity() == 0 {
                        records.reserve_exact(records_max);
                    }
                    records.push(record);
                }
                Next::Bad(record) => {
                    bad.push(record);
                    if self.config.on_bad_record == OnBadRecord::Fail {
                        break;
                    }
                }
                Next::End => {
                    end = true;
                    break;
                }
            }
        }
        Ok(Found { records, bad, place: self.parser.place(), end })
    }
}

#[async_trait]
impl<T: DeserializeOwned + Send + 'static> SplitReader for FileReader<T> {
    type Record = T;
    type Split = FileSplit;

    async fn next(&mut self) -> Result<Option<Batch<T, FileSplit>>> {
        let mut work = match std::mem::replace(&mut self.work, State::Broken) {
            State::Reads(work) => work,
            State::Dropped => {
                self.work = State::Dropped;
                return Ok(None);
            }
            State::Broken => {
                let why = "a reader is used after a call that failed";
                return Err(Error::new(ErrorKind::Bug, OPERATION, why));
            }
        };
        let (work, found) = blocking(OPERATION, move || {
            let found = work.batch::<T>()?;
            Ok((work, found))
        })
        .await?;
        self.work = State::Reads(work);
        if found.end && found.records.is_empty() && found.bad.is_empty() {
            return Ok(None);
        }
        self.dispose(found.bad).await?;
        self.batch_bytes = found.place.offset.saturating_sub(self.split.offset);
        (self.split.offset, self.split.line) = (found.place.offset, found.place.line);
        Ok(Some(Batch { records: found.records, resume: self.split.clone() }))
    }

    /// As many as their text.
    fn heap_bytes(&self) -> u64 {
        self.batch_bytes
    }

    fn belongs_to(&mut self, source: &SourceName) {
        self.name = Some(source.clone());
    }
}
