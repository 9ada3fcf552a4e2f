//! `tidelock snapshots verify`

use std::collections::{BTreeMap, BTreeSet};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tidelock::log::{ChunkRef, Entry, EntryHead, Log, fences};
use tidelock::{ErrorKind, Position};

use crate::failure::{Failure, Outcome};
use crate::place::{self, Place};
use crate::print;

#[derive(Debug, Default, Serialize)]
struct Report {
    entries: usize,
    chunks: usize,
    bytes: u64,
    /// Chunks of entries that are kept only as fences, pruned on purpose.
    chunks_gone_with_fences: usize,
    /// Chunks to which no entry refers: left by crashes, swept by the next start of the job.
    chunks_unused: usize,
    damage: Vec<String>,
}

/// Chunks to read, and whether somebody must be able to read them.
type Chunks = BTreeMap<ChunkRef, bool>;

pub(crate) async fn run(url: &str, json: bool) -> Outcome {
    let mut report = Report::default();
    match place::open(url).await? {
        Place::Savepoint(snapshot) => {
            report.entries = 1;
            let needed = chunks_of(snapshot.entry()).map(|chunk| (chunk, true)).collect();
            read(snapshot.log(), needed, &mut report).await?;
        }
        Place::Log(log, Some(position)) => match log.read(position).await {
            Ok(Some(entry)) => {
                report.entries = 1;
                let needed = chunks_of(&entry).map(|chunk| (chunk, true)).collect();
                read(&log, needed, &mut report).await?;
            }
            Ok(None) => return Err(Failure::unknown(format!("{url}: the log has no such entry"))),
            Err(error) if error.kind() == ErrorKind::Corrupt => report.damage.push(error.to_string()),
            Err(error) => return Err(error.into()),
        },
        Place::Log(log, None) => verify_log(&log, &mut report).await?,
    }
    if json {
        print::json(&report)?;
    } else {
        print_report(&report);
    }
    if report.damage.is_empty() { Ok(()) } else { Err(Failure::no("")) }
}

async fn verify_log(log: &Log, report: &mut Report) -> Outcome {
    let mut entries: BTreeMap<Position, Entry> = BTreeMap::new();
    for (position, entry) in place::entries(log).await? {
        match entry {
            Ok(entry) => drop(entries.insert(position, entry)),
            Err(error) => report.damage.push(error.to_string()),
        }
    }
    report.entries = entries.len();
    if let Some(job) = entries.values().next_back().map(|newest| newest.job.clone()) {
        let others = entries.values().filter(|entry| entry.job != job);
        report.damage.extend(others.map(|entry| {
            format!(
                "the entry at position {} belongs to job {}, the log to job {job}",
                entry.position, entry.job
            )
        }));
    }
    let heads: Vec<EntryHead> = entries.values().map(EntryHead::from).collect();
    let fences = fences(&heads);
    let newest = entries.keys().next_back();
    let mut chunks = Chunks::new();
    for (position, entry) in &entries {
        // A fence stays when its snapshot is pruned; the newest entry is always needed.
        let needed = !fences.contains(position) || newest == Some(position);
        for chunk in chunks_of(entry) {
            *chunks.entry(chunk).or_default() |= needed;
        }
    }
    let names: BTreeSet<String> = chunks.keys().map(|chunk| chunk.name.clone()).collect();
    report.chunks_unused = log.stored_chunks().await?.keys().filter(|name| !names.contains(*name)).count();
    read(log, chunks, report).await
}

fn chunks_of(entry: &Entry) -> impl Iterator<Item = ChunkRef> {
    entry.state.iter().flat_map(|state| state.chunks()).cloned()
}

/// Reads every chunk against its length and checksum.
async fn read(log: &Log, chunks: Chunks, report: &mut Report) -> Outcome {
    // Drawn on standard error, and only where that is a terminal.
    let bar = ProgressBar::new(chunks.keys().map(|chunk| chunk.bytes).sum());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {binary_bytes}/{binary_total_bytes} {eta}") {
        bar.set_style(style);
    }
    for (chunk, needed) in chunks {
        match log.read_chunk(&chunk).await {
            Ok(bytes) => {
                report.chunks += 1;
                report.bytes += bytes.len() as u64;
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !needed => {
                report.chunks_gone_with_fences += 1
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
                report.damage.push(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
        bar.inc(chunk.bytes);
    }
    bar.finish_and_clear();
    Ok(())
}

fn print_report(report: &Report) {
    let entries = print::count(report.entries, "entry", "entries");
    let chunks = print::count(report.chunks, "chunk", "chunks");
    print::say!("read {entries} and {chunks} of {} against their checksums", print::bytes(report.bytes));
    if report.chunks_gone_with_fences > 0 {
        print::say!(
            "{} of entries that are kept only as fences are gone, as they should be: those entries cannot be restored",
            print::count(report.chunks_gone_with_fences, "chunk", "chunks")
        );
    }
    if report.chunks_unused > 0 {
        print::say!(
            "{} that no entry refers to: the next start of the job deletes those of older attempts",
            print::count(report.chunks_unused, "chunk", "chunks")
        );
    }
    for damage in &report.damage {
        print::say!("DAMAGED: {damage}");
    }
    match report.damage.len() {
        0 => print::say!("nothing is damaged"),
        damaged => print::say!("{} damaged", print::count(damaged, "file is", "files are")),
    }
}
