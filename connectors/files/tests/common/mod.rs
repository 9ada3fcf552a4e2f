//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidelock::{
    CommitPermit, Epoch, Error, ErrorKind, Generation, JobId, Known, Pending, Position, Result, Retry, Sink,
    SinkAttempt, SinkWriter, Source, SplitReader, Uid, WriterId,
};
use tidelock_files::{FileCommittable, FileSplit, FilesSink, FilesSource};

/// A record with what formats find hard: text with separators, a missing value, a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) delay: Option<f64>,
}

pub(crate) fn row(id: u64) -> Row {
    let name = ["plain", "comma, quote \"", "line\nbreak", "é"][(id % 4) as usize];
    Row { id, name: name.into(), delay: (!id.is_multiple_of(3)).then_some(id as f64 / 2.0) }
}

pub(crate) fn attempt(number: u64) -> SinkAttempt {
    attempt_of("orders", number)
}

pub(crate) fn attempt_of(job: &str, number: u64) -> SinkAttempt {
    let job = JobId::new(job).unwrap();
    SinkAttempt { job, uid: uid(), number: Position(number), generation: Generation(1), chunks: None }
}

pub(crate) fn uid() -> Uid {
    Uid::new("out").unwrap()
}

pub(crate) fn permit(epoch: u64) -> CommitPermit {
    CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid(), Epoch(epoch))
}

pub(crate) fn first_run() -> Known<FileSplit> {
    Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true }
}

/// Reads a split to its end; the records with the split as it stands after each batch.
pub(crate) async fn read_split<T>(
    source: &FilesSource<T>,
    split: FileSplit,
) -> Result<Vec<(Vec<T>, FileSplit)>>
where
    FilesSource<T>: Source<Record = T, Split = FileSplit>,
{
    let mut reader = source.open(split).await?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next().await? {
        batches.push((batch.records, batch.resume));
    }
    Ok(batches)
}

/// Reads all files to their end.
pub(crate) async fn read_all<T>(source: &FilesSource<T>) -> Result<Vec<T>>
where
    FilesSource<T>: Source<Record = T, Split = FileSplit>,
{
    let mut records = Vec::new();
    for split in source.discover(&first_run()).await?.new {
        for (batch, _) in read_split(source, split).await? {
            records.extend(batch);
        }
    }
    Ok(records)
}

/// Writes records in one epoch and prepares it.
pub(crate) async fn prepare<W: SinkWriter<Committable = FileCommittable>>(
    writer: &mut W,
    attempt: u64,
    epoch: u64,
    mut records: Vec<W::Record>,
) -> Result<Vec<Pending<FileCommittable>>> {
    writer.write(&mut records).await?;
    assert!(records.is_empty(), "a writer of files always has a free place");
    let prepared = writer.prepare(Epoch(epoch)).await?;
    Ok(prepared
        .into_iter()
        .map(|prepared| Pending {
            epoch: Epoch(epoch),
            attempt: Position(attempt),
            writer: WriterId(0),
            committable: prepared.committable,
        })
        .collect())
}

/// Recovers and opens writer 0.
pub(crate) async fn start<T>(sink: &FilesSink<T>, number: u64) -> <FilesSink<T> as Sink>::Writer
where
    FilesSink<T>: Sink<Committable = FileCommittable>,
{
    sink.recover(&attempt(number), &[]).await.unwrap();
    sink.open(&attempt(number), WriterId(0)).await.unwrap()
}

/// The files that a reader of the folder sees, with their content.
pub(crate) fn visible(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with(['.', '_']) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// The hidden files that are in progress.
pub(crate) fn in_progress(folder: &Path) -> Vec<PathBuf> {
    hidden(folder).into_iter().filter(|path| path.extension().is_none()).collect()
}

/// All hidden files: what is in progress, and the marks of what became visible.
pub(crate) fn hidden(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    entries(folder.join(".tidelock")).into_iter().flat_map(entries).collect()
}

/// The records of JSON Lines files, in the order of their names.
pub(crate) fn json_lines<T: DeserializeOwned>(files: &BTreeMap<String, Vec<u8>>) -> Vec<T> {
    let lines = files.values().flat_map(|content| content.split(|byte| *byte == b'\n'));
    lines.filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// The ids of all visible rows, in the order of file names.
pub(crate) fn visible_ids(folder: &Path) -> Vec<u64> {
    json_lines(&visible(folder)).into_iter().map(|row: Row| row.id).collect()
}

/// Asserts that an error names all of `facts`, and halts.
pub(crate) fn assert_names(error: &Error, kind: ErrorKind, facts: &[&str]) {
    let text = error.to_string();
    assert_eq!((error.kind(), error.retry()), (kind, Retry::Halt), "{text}");
    for fact in facts {
        assert!(text.contains(fact), "{fact:?} is not in: {text}");
    }
}
