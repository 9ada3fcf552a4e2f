//! Rows by a write-ahead sink that keeps every epoch in chunks of the log: each process writes those of its own writers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::write_ahead::{Apply, Version, WriteAhead, WriteAheadConfig, Writes};
use tidelock::{Epoch, Error, ErrorKind, Generation, JobId, Result, Uid, Versioned, unknown_version};
use tidelock_runtime::{State, Workers};

use super::KEYS;
use super::lines::Numbers;
use super::run::{INTERVAL, open};

#[derive(Debug, Serialize, Deserialize)]
struct Line(String);

impl Versioned for Line {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

/// A file for each version: it is there, or it is not.
struct Files {
    folder: PathBuf,
}

fn io(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "write lines", error.to_string())
}

#[async_trait]
impl Apply for Files {
    type Record = Line;

    async fn newest(&self, _job: &JobId, _uid: &Uid) -> Result<Option<Version>> {
        std::fs::create_dir_all(&self.folder).map_err(io)?;
        let mut newest = None;
        for file in std::fs::read_dir(&self.folder).map_err(io)? {
            let name = file.map_err(io)?.file_name();
            let Some((generation, epoch)) = name.to_str().and_then(|name| name.split_once('-')) else {
                continue;
            };
            if let (Ok(generation), Ok(epoch)) = (generation.parse(), epoch.parse()) {
                newest =
                    newest.max(Some(Version { generation: Generation(generation), epoch: Epoch(epoch) }));
            }
        }
        Ok(newest)
    }

    async fn apply(&self, writes: Writes<Line>) -> Result<()> {
        let Version { generation, epoch } = writes.version;
        let mut text = String::new();
        let mut batches = writes.batches();
        while let Some(lines) = batches.next().await? {
            lines.iter().for_each(|Line(line)| text.extend([line.as_str(), "\n"]));
        }
        let hidden = self.folder.join(format!(".{generation}-{epoch}"));
        std::fs::write(&hidden, text).map_err(io)?;
        std::fs::rename(&hidden, self.folder.join(format!("{generation}-{epoch}"))).map_err(io)
    }
}

pub(crate) async fn run(directory: &Path, workers: Workers, numbers: Numbers) -> Result<String> {
    let job = open(directory, INTERVAL).await?;
    let source = Arc::new(numbers);
    let mut config = WriteAheadConfig::default();
    (config.in_entry_bytes_max, config.chunk_bytes) = (0, 64);
    let sink = Arc::new(WriteAhead::new(Files { folder: directory.join("rows") }, config)?);
    let ended = job.run(workers, move |graph| {
        let numbers = graph.source("numbers", &source).stream();
        numbers
            .key_by(|(_, number)| number % KEYS)
            .stateful("count", |key, count: &mut State<u64>, (split, number): (u64, u64), context| {
                let seen = count.get_or_insert(0);
                *seen += 1;
                context.emit(format!("{split} {number} {key} {seen}"));
                Ok(())
            })
            .map(Line)
            .sink("rows", &sink);
    });
    Ok(format!("{:?}", ended.await?.closed))
}
