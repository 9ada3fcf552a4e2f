//! What a job's log says, asked from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tidelock::log::{Entry, EntryKind, Log, PendingState, Snapshot, State};
use tidelock::restore::read_source;
use tidelock::{Committable, Position, Split, Stored};

use crate::Process;

/// The log of a job, looked at.
#[derive(Debug, Clone)]
pub struct Evidence {
    log: Log,
    folder: PathBuf,
}

/// How the attempts of a log began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recoveries {
    /// Attempts that claimed the job.
    pub attempts: usize,
    /// Those whose claim listed something pending, and which ended that and started.
    pub with_pending: usize,
    /// The committables that those claims listed.
    pub committables: usize,
}

impl Evidence {
    /// The log in a folder, which is made where it is not there yet.
    ///
    /// # Panics
    /// Where it cannot be read, as everything here.
    pub async fn of(folder: &Path) -> Self {
        let log = Log::open(folder.to_str().expect("text")).await.expect("a log");
        Self { log, folder: folder.to_owned() }
    }

    /// The newest entry.
    pub async fn newest(&self) -> Option<Entry> {
        self.log.newest().await.expect("a log that is whole")
    }

    /// The newest position, or 0.
    pub async fn position(&self) -> Position {
        self.newest().await.map_or(Position(0), |entry| entry.position)
    }

    /// The newest attempt that has started: it recovered, and its start entry is durable.
    pub async fn started(&self) -> Option<Position> {
        let newest = self.newest().await?;
        (newest.kind != EntryKind::Claim).then_some(newest.attempt)
    }

    /// Whether the job has ended.
    pub async fn is_closed(&self) -> bool {
        self.newest().await.is_some_and(|entry| matches!(entry.kind, EntryKind::Closed(_)))
    }

    /// What the newest entry lists as pending.
    pub async fn listed(&self) -> Vec<PendingState> {
        let state = self.newest().await.and_then(|entry| entry.state);
        state.into_iter().flat_map(|state| state.sinks.into_values().flatten()).collect()
    }

    /// The same as the committables of a sink.
    pub async fn pending<C: Committable>(&self) -> Vec<C> {
        let mut committables = Vec::new();
        for pending in self.listed().await {
            let json = self.log.read_segment(&pending.committable).await.expect("there");
            let json = serde_json::from_slice(&json).expect("JSON");
            committables.push(Stored { version: pending.version, json }.decode().expect("of this sink"));
        }
        committables
    }

    /// The splits of all sources in the newest entry.
    pub async fn splits<S: Split>(&self) -> Vec<S> {
        match self.newest().await.and_then(|entry| entry.state) {
            Some(state) => splits_in(&self.log, &state).await,
            None => Vec::new(),
        }
    }

    /// How all attempts of the log began. Claims and the entry below each are never deleted: what a claim
    /// took over and whether its attempt got further can be read for ever.
    pub async fn recoveries(&self) -> Recoveries {
        let mut claims = BTreeMap::new();
        let mut started = BTreeSet::new();
        for position in self.log.positions().await.expect("a list") {
            let Some(entry) = self.log.read(position).await.expect("an entry that is whole") else {
                continue;
            };
            if entry.kind == EntryKind::Claim {
                let listed = entry.state.iter().flat_map(|state| state.sinks.values()).map(Vec::len).sum();
                claims.insert(position, listed);
            } else {
                started.insert(entry.attempt);
            }
        }
        let listed = claims.iter().filter(|(attempt, listed)| **listed > 0 && started.contains(*attempt));
        Recoveries {
            attempts: claims.len(),
            with_pending: listed.clone().count(),
            committables: listed.map(|(_, listed)| listed).sum(),
        }
    }

    /// Waits until an attempt after `before` has started. Returns it.
    pub async fn wait_for_attempt(&self, process: &mut Process, before: Position) -> Position {
        let mut attempt = before;
        let started = async |_: &Process| {
            attempt = self.started().await.unwrap_or(before);
            attempt > before
        };
        process.wait_until("an attempt started", started).await;
        attempt
    }

    /// Waits until so many more entries show in the log, and returns at that very moment: names are looked at
    /// without a pause, and nothing is read. A later entry counts as well, because old ones are soon deleted.
    pub async fn wait_for_entry(&self, process: &mut Process, more: u64) {
        let position = self.position().await.0 + more;
        let (log, wanted) = (self.folder.join("log"), format!("{position:020}.json"));
        let shows = || {
            let names = std::fs::read_dir(&log).expect("the log's folder");
            names.filter_map(Result::ok).any(|name| {
                let name = name.file_name();
                name.len() == wanted.len() && name.as_encoded_bytes() >= wanted.as_bytes()
            })
        };
        process.wait_at_once("an entry shows", shows).await;
    }
}

/// The splits of all sources in a savepoint.
///
/// # Panics
/// Where it cannot be read.
pub async fn splits_of<S: Split>(savepoint: &str) -> Vec<S> {
    let snapshot = Snapshot::load(savepoint).await.expect("a savepoint");
    splits_in(snapshot.log(), snapshot.state()).await
}

async fn splits_in<S: Split>(log: &Log, state: &State) -> Vec<S> {
    let mut splits = Vec::new();
    for segments in state.sources.values() {
        for split in read_source(log, segments).await.expect("a source").splits.into_values() {
            splits.push(split.split.decode().expect("a split of this source"));
        }
    }
    splits
}
