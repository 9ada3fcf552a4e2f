//! What the job's log and the cluster say, asked from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tidelock::log::{Entry, EntryKind, Log, Snapshot, State};
use tidelock::restore::read_source;
use tidelock::{Position, Stored};
use tidelock_kafka::{KafkaCommittable, KafkaSplit, Transactions, Verdict};

/// The log of a job, looked at.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    log: Log,
}

/// How the attempts of a log began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recoveries {
    /// Attempts that claimed the job.
    pub(crate) attempts: usize,
    /// Those whose claim listed pending transactions, and which ended these and started.
    pub(crate) with_pending: usize,
    /// The transactions that those claims listed.
    pub(crate) transactions: usize,
}

impl Evidence {
    /// The log in a folder, which is made where it is not there yet.
    pub(crate) async fn of(folder: &Path) -> Self {
        Self { log: Log::open(folder.to_str().expect("text")).await.expect("a log") }
    }

    pub(crate) async fn newest(&self) -> Option<Entry> {
        self.log.newest().await.expect("a log that is whole")
    }

    /// The newest position, or 0.
    pub(crate) async fn position(&self) -> Position {
        self.newest().await.map_or(Position(0), |entry| entry.position)
    }

    /// The newest attempt that has started: it recovered, and its start entry is durable.
    pub(crate) async fn started(&self) -> Option<Position> {
        let newest = self.newest().await?;
        (newest.kind != EntryKind::Claim).then_some(newest.attempt)
    }

    /// The transactions that the newest entry lists.
    pub(crate) async fn pending(&self) -> Vec<KafkaCommittable> {
        match self.newest().await {
            Some(entry) => self.pending_in(&entry).await,
            None => Vec::new(),
        }
    }

    async fn pending_in(&self, entry: &Entry) -> Vec<KafkaCommittable> {
        let mut committables = Vec::new();
        for pending in entry.state.iter().flat_map(|state| state.sinks.values().flatten()) {
            let json = self.log.read_segment(&pending.committable).await.expect("there");
            let stored =
                Stored { version: pending.version, json: serde_json::from_slice(&json).expect("JSON") };
            committables.push(stored.decode::<KafkaCommittable>().expect("ours"));
        }
        committables
    }

    /// Where the newest entry stands in each partition of the input.
    pub(crate) async fn positions(&self) -> Vec<u64> {
        match self.newest().await.and_then(|entry| entry.state) {
            Some(state) => positions_in(&self.log, &state).await,
            None => Vec::new(),
        }
    }

    /// The transactions that the newest entry lists and of which the cluster says this.
    pub(crate) async fn pending_that_are(
        &self,
        verdict: Verdict,
        transactions: &Transactions,
    ) -> Vec<KafkaCommittable> {
        let mut found = self.pending().await;
        let mut verdicts = Vec::new();
        for one in &found {
            verdicts.push(transactions.examine(one).await.expect("examined").verdict);
        }
        let mut verdicts = verdicts.into_iter();
        found.retain(|_| verdicts.next() == Some(verdict));
        found
    }

    /// How all attempts of the log began. Claims and the entry below each are never deleted: what a claim
    /// took over and whether its attempt got further can be read for ever.
    pub(crate) async fn recoveries(&self) -> Recoveries {
        let mut claims = BTreeMap::new();
        let mut started = BTreeSet::new();
        for position in self.log.positions().await.expect("a list") {
            let Some(entry) = self.log.read(position).await.expect("an entry that is whole") else {
                continue;
            };
            if entry.kind == EntryKind::Claim {
                claims.insert(position, self.pending_in(&entry).await.len());
            } else {
                started.insert(entry.attempt);
            }
        }
        let listed = claims.iter().filter(|(attempt, listed)| **listed > 0 && started.contains(*attempt));
        Recoveries {
            attempts: claims.len(),
            with_pending: listed.clone().count(),
            transactions: listed.map(|(_, listed)| listed).sum(),
        }
    }
}

/// Where a savepoint stands in each partition of its input.
pub(crate) async fn positions_of(savepoint: &str) -> Vec<u64> {
    let snapshot = Snapshot::load(savepoint).await.expect("a savepoint");
    positions_in(snapshot.log(), snapshot.state()).await
}

/// What was fed has no gaps, so that offsets are numbers of records.
async fn positions_in(log: &Log, state: &State) -> Vec<u64> {
    let mut positions = BTreeMap::new();
    for segments in state.sources.values() {
        for split in read_source(log, segments).await.expect("a source").splits.into_values() {
            let split: KafkaSplit = split.split.decode().expect("a split of Kafka");
            positions.insert(split.partition, u64::try_from(split.offset).expect("an offset"));
        }
    }
    positions.into_values().collect()
}
