//! What the job's log and the cluster say, asked from outside.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;

use tidelock_kafka::{KafkaCommittable, KafkaSplit, Transactions, Verdict};
use tidelock_processes::splits_of;

/// The log of a job, looked at.
#[derive(Debug, Clone)]
pub(crate) struct Evidence(tidelock_processes::Evidence);

impl Deref for Evidence {
    type Target = tidelock_processes::Evidence;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Evidence {
    /// The log in a folder, which is made where it is not there yet.
    pub(crate) async fn of(folder: &Path) -> Self {
        Self(tidelock_processes::Evidence::of(folder).await)
    }

    /// The transactions that the newest entry lists.
    pub(crate) async fn pending(&self) -> Vec<KafkaCommittable> {
        self.0.pending().await
    }

    /// Where the newest entry stands in each partition of the input.
    pub(crate) async fn positions(&self) -> Vec<u64> {
        positions(self.splits().await)
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
}

/// Where a savepoint stands in each partition of its input.
pub(crate) async fn positions_of(savepoint: &str) -> Vec<u64> {
    positions(splits_of(savepoint).await)
}

/// What was fed has no gaps, so that offsets are numbers of records.
fn positions(splits: Vec<KafkaSplit>) -> Vec<u64> {
    let position = |split: KafkaSplit| (split.partition, u64::try_from(split.offset).expect("an offset"));
    splits.into_iter().map(position).collect::<BTreeMap<_, _>>().into_values().collect()
}
