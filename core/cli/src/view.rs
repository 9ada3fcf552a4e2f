//! An entry as it is shown: the same fields in tables and in JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use tidelock::log::{Entry, EntryKind, Log, PendingState, State};
use tidelock::restore::read_source;
use tidelock::{Segment, SplitState, Uid};

use crate::digest::digest;
use crate::print::{self, Column};

/// One line of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) job: String,
    pub(crate) position: u64,
    pub(crate) kind: String,
    pub(crate) epoch: u64,
    pub(crate) attempt: u64,
    pub(crate) lineage: u64,
    /// The snapshot that the lineage began from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<String>,
    pub(crate) created_at: jiff::Timestamp,
    pub(crate) age_seconds: u64,
    /// The size of the whole state, with what it shares with other entries.
    pub(crate) state_bytes: u64,
    pub(crate) uids: Vec<Uid>,
    /// How many committables wait in it.
    pub(crate) pending: usize,
    /// How many were given up with it.
    pub(crate) abandoned: usize,
}

impl Summary {
    pub(crate) fn of(entry: &Entry) -> Self {
        let state = entry.state.as_ref();
        Self {
            job: entry.job.to_string(),
            position: entry.position.0,
            kind: kind(entry.kind),
            epoch: entry.epoch.0,
            attempt: entry.attempt.0,
            lineage: entry.lineage.id.0,
            origin: entry.lineage.origin.as_ref().map(ToString::to_string),
            created_at: entry.created_at,
            age_seconds: print::age_seconds(entry.created_at),
            state_bytes: state.map_or(0, State::bytes),
            uids: state.into_iter().flat_map(State::uids).cloned().collect(),
            pending: state.map_or(0, |state| state.sinks.values().map(Vec::len).sum()),
            abandoned: entry.abandoned.values().map(Vec::len).sum(),
        }
    }
}

pub(crate) fn kind(kind: EntryKind) -> String {
    match kind {
        EntryKind::Claim => "claim".to_owned(),
        EntryKind::Start => "start".to_owned(),
        EntryKind::Checkpoint => "checkpoint".to_owned(),
        EntryKind::Confirmation => "confirmation".to_owned(),
        EntryKind::Closed(how) => format!("closed ({how:?})").to_lowercase(),
    }
}

/// Everything that an entry says, with split positions.
#[derive(Debug, Serialize)]
pub(crate) struct Detail {
    #[serde(flatten)]
    pub(crate) summary: Summary,
    pub(crate) generation: u64,
    /// Rollback and fork requests that were obeyed.
    pub(crate) obeyed: Vec<String>,
    pub(crate) sources: BTreeMap<Uid, Splits>,
    pub(crate) operators: BTreeMap<Uid, BTreeMap<String, Part>>,
    pub(crate) sinks: BTreeMap<Uid, Vec<Committable>>,
    pub(crate) abandoned_committables: BTreeMap<Uid, Vec<Committable>>,
}

/// The splits of a source, or why they cannot be shown.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Splits {
    Splits(Vec<SplitState>),
    Unreadable(String),
}

/// A part of an operator's state.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) segments: usize,
    pub(crate) bytes: u64,
    pub(crate) chunks: Vec<String>,
    /// Length and CRC-32C of each segment: equal where the content is, wherever it is stored.
    pub(crate) contents: Vec<String>,
}

/// A committable with its origin.
#[derive(Debug, Serialize)]
pub(crate) struct Committable {
    pub(crate) epoch: u64,
    pub(crate) attempt: u64,
    pub(crate) writer: u32,
    pub(crate) version: u16,
    /// Length and CRC-32C.
    pub(crate) content: String,
    /// Its stored form, where that is JSON in the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) committable: Option<Box<RawValue>>,
    /// The chunks that its commit needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) chunks: Vec<String>,
}

impl Detail {
    pub(crate) async fn of(log: &Log, entry: &Entry) -> Self {
        let state = entry.state.clone().unwrap_or_default();
        let mut sources = BTreeMap::new();
        for (uid, segments) in &state.sources {
            let splits = match read_source(log, segments).await {
                Ok(source) => Splits::Splits(source.splits.into_values().collect()),
                // The rest of the entry is worth showing all the same.
                Err(error) => Splits::Unreadable(error.to_string()),
            };
            sources.insert(uid.clone(), splits);
        }
        let operators = state.operators.iter().map(|(uid, parts)| {
            let parts = parts.iter().map(|(name, segments)| (name.clone(), Part::of(segments)));
            (uid.clone(), parts.collect())
        });
        Self {
            summary: Summary::of(entry),
            generation: entry.lineage.generation.0,
            obeyed: entry.obeyed.iter().map(ToString::to_string).collect(),
            sources,
            operators: operators.collect(),
            sinks: committables(&state.sinks),
            abandoned_committables: committables(&entry.abandoned),
        }
    }
}

pub(crate) fn committables(sinks: &BTreeMap<Uid, Vec<PendingState>>) -> BTreeMap<Uid, Vec<Committable>> {
    sinks.iter().map(|(uid, pending)| (uid.clone(), pending.iter().map(Committable::of).collect())).collect()
}

impl Part {
    fn of(segments: &[Segment]) -> Self {
        let chunks = segments.iter().filter_map(|segment| match segment {
            Segment::Chunk(chunk) => Some(chunk.name.clone()),
            Segment::Json(_) | Segment::Bytes(_) => None,
        });
        Self {
            segments: segments.len(),
            bytes: segments.iter().map(Segment::size).sum(),
            chunks: chunks.collect(),
            contents: segments.iter().map(content).collect(),
        }
    }
}

fn content(segment: &Segment) -> String {
    let crc32c = match segment {
        Segment::Json(json) => crc32c::crc32c(json.get().as_bytes()),
        Segment::Bytes(bytes) => crc32c::crc32c(bytes),
        Segment::Chunk(chunk) => chunk.crc32c,
    };
    format!("{} B crc32c={crc32c:08x}", segment.size())
}

impl Committable {
    fn of(pending: &PendingState) -> Self {
        Self {
            epoch: pending.epoch.0,
            attempt: pending.attempt.0,
            writer: pending.writer.0,
            version: pending.version,
            content: content(&pending.committable),
            committable: pending.inline().map(|stored| stored.json),
            chunks: pending.chunks.iter().map(|chunk| chunk.name.clone()).collect(),
        }
    }

    /// Its stored form for people, who do not want to see all of its records.
    pub(crate) fn text(&self) -> String {
        self.committable.as_ref().map_or_else(|| self.content.clone(), |json| digest(json.get()))
    }

    /// The same, and other than that of any other.
    pub(crate) fn whole(&self) -> String {
        match &self.committable {
            Some(json) => format!("{} {}", self.content, digest(json.get())),
            None => self.content.clone(),
        }
    }
}

/// Prints committables below a title.
pub(crate) fn print_committables(title: &str, sinks: &BTreeMap<Uid, Vec<Committable>>) {
    print::say!("\n{title}");
    let mut rows = Vec::new();
    for (uid, committables) in sinks {
        for one in committables {
            let (epoch, attempt, writer) = (one.epoch, one.attempt, one.writer);
            rows.push(vec![
                uid.to_string(),
                epoch.to_string(),
                attempt.to_string(),
                writer.to_string(),
                one.text(),
            ]);
        }
        if committables.is_empty() {
            rows.push(vec![
                uid.to_string(),
                "-".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
                "nothing".to_owned(),
            ]);
        }
    }
    let columns = [
        Column::text("SINK"),
        Column::number("EPOCH"),
        Column::number("ATTEMPT").dispensable(1),
        Column::number("WRITER").dispensable(0),
        Column::text("COMMITTABLE"),
    ];
    print::table(&columns, rows);
}
