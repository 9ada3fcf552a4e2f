//! A source of numbers and a sink of lines in files, whose state outlives every process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::*;

/// Splits of the numbers from 0, read slowly enough that a test can interfere.
pub(crate) struct Numbers {
    pub(crate) splits: u64,
    pub(crate) length: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Range {
    split: u64,
    next: u64,
    end: u64,
}

impl Versioned for Range {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Split for Range {
    fn id(&self) -> SplitId {
        SplitId::new(self.split.to_string())
    }
}

pub(crate) struct RangeReader(Range);

#[async_trait]
impl Source for Numbers {
    type Record = (u64, u64);
    type Split = Range;
    type Reader = RangeReader;

    async fn discover(&self, known: &Known<Range>) -> Result<Discovery<Range>> {
        let is_new = known.active.is_empty() && known.finished.is_empty();
        let splits = if is_new { self.splits } else { 0 };
        let new = (0..splits).map(|split| Range { split, next: 0, end: self.length }).collect();
        Ok(Discovery { new, complete: true, ..Discovery::default() })
    }

    async fn open(&self, split: Range) -> Result<RangeReader> {
        Ok(RangeReader(split))
    }
}

#[async_trait]
impl SplitReader for RangeReader {
    type Record = (u64, u64);
    type Split = Range;

    async fn next(&mut self) -> Result<Option<Batch<(u64, u64), Range>>> {
        let Range { split, next, end } = self.0;
        if next == end {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.0.next = end.min(next + 3);
        let records = (next..self.0.next).map(|number| (split, number)).collect();
        Ok(Some(Batch { records, resume: self.0.clone() }))
    }
}

/// Lines in files: hidden by a dot until they are committed by a rename.
pub(crate) struct LinesSink {
    folder: PathBuf,
}

impl LinesSink {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HiddenFile(String);

impl Versioned for HiddenFile {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Committable for HiddenFile {}

/// A line with this in it cannot be written.
pub(crate) const UNWRITABLE: &str = "\u{0}";

pub(crate) struct LinesWriter {
    folder: PathBuf,
    name: TargetName,
    lines: String,
    rejects: Rejects<String>,
}

impl Rejecting for LinesWriter {
    fn reject_to(&mut self, rejects: Rejects<String>) {
        self.rejects = rejects;
    }
}

fn io(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "write lines", error.to_string())
}

fn hidden(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}"))
}

#[async_trait]
impl Sink for LinesSink {
    type Record = String;
    type Committable = HiddenFile;
    type Writer = LinesWriter;

    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<HiddenFile>]) -> Result<()> {
        std::fs::create_dir_all(&self.folder).map_err(io)?;
        for file in std::fs::read_dir(&self.folder).map_err(io)? {
            let path = file.map_err(io)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some((target, epoch)) = name.strip_prefix('.').and_then(|name| name.rsplit_once('-')) else {
                continue;
            };
            let leftover = TargetName::parse(target).is_some_and(|name| name.is_leftover_for(attempt));
            let listed = pending.iter().any(|pending| pending.committable.0 == format!("{target}-{epoch}"));
            if leftover && !listed {
                std::fs::remove_file(&path).map_err(io)?;
            }
        }
        Ok(())
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<LinesWriter> {
        let name = attempt.target_name(writer);
        Ok(LinesWriter {
            folder: self.folder.clone(),
            name,
            lines: String::new(),
            rejects: Rejects::default(),
        })
    }

    async fn commit(&self, _: &CommitPermit, committables: Vec<Pending<HiddenFile>>) -> Result<Committed> {
        for Pending { committable: HiddenFile(name), .. } in committables {
            let visible = self.folder.join(&name);
            if let Err(error) = std::fs::rename(hidden(&self.folder, &name), &visible)
                && !visible.exists()
            {
                return Err(
                    Error::new(ErrorKind::Expired, "commit lines", error.to_string()).with("file", name)
                );
            }
        }
        Ok(Committed::default())
    }
}

#[async_trait]
impl SinkWriter for LinesWriter {
    type Record = String;
    type Committable = HiddenFile;

    async fn write(&mut self, records: &mut Vec<String>) -> Result<()> {
        for line in records.drain(..) {
            if line.contains(UNWRITABLE) {
                let error = Error::new(ErrorKind::Data, "write lines", "the line is not writable");
                self.rejects.push(line, error)?;
                continue;
            }
            self.lines.push_str(&line);
            self.lines.push('\n');
        }
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<HiddenFile>>> {
        if self.lines.is_empty() {
            return Ok(Vec::new());
        }
        let name = format!("{}-{epoch}", self.name);
        std::fs::write(hidden(&self.folder, &name), std::mem::take(&mut self.lines)).map_err(io)?;
        Ok(vec![Prepared::lasting(HiddenFile(name))])
    }

    async fn settled(&mut self, _: Epoch, _: bool) -> Result<()> {
        Ok(())
    }
}
