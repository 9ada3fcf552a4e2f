//! What older attempts left in the cluster, and how it is made harmless.
//!
//! Open transactions are aborted, or they would hide everything behind them from `read_committed`
//! readers. Ids that an older attempt may still use are fenced as well: a record that is on its way, or
//! in the buffer of a process that is paused, can then open nothing any more.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use futures::{TryStreamExt, stream};
use tidelock::{Pending, Result, SinkAttempt};

use crate::committable::{KafkaCommittable, SlotName};
use crate::control::cluster::{AT_ONCE, Cluster};
use crate::control::fault::Fault;
use crate::control::transactions::{Described, Listed, TransactionState};
use crate::verdict::{Verdict, judge};

/// Sweeps what older attempts of one sink left.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    known: Mutex<Known>,
}

/// What was learned of the ids of older attempts.
#[derive(Debug, Default)]
struct Known {
    /// Ids that are known to be harmless: not looked at again by another recovery in this process.
    fenced: BTreeSet<String>,
    /// Ids that the snapshot lists.
    listed: BTreeSet<String>,
}

/// What a leftover id needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Abort what is open, and fence its producer.
    Fence,
    /// Nothing: fenced before, or none of ours.
    Nothing,
    /// Nothing now: it is being ended by somebody.
    Later,
}

/// Decides what an id of an older attempt needs.
fn need(listed: Option<&KafkaCommittable>, described: Option<&Described>) -> Need {
    use TransactionState as S;
    let Some(theirs) = described else { return Need::Nothing };
    if let Some(ours) = listed {
        // A snapshot lists its last transaction: fencing would destroy the evidence of a commit. Only
        // what was begun after that one was committed is a leftover.
        let begun_later = theirs.state == S::Ongoing && judge(ours, described) == Verdict::Done;
        return if begun_later { Need::Fence } else { Need::Later };
    }
    match theirs.state {
        S::Ongoing | S::CompleteCommit | S::CompleteAbort => Need::Fence,
        // Initialised once and never used. Each fencing raises the producer epoch, and leaves it empty:
        // with a higher one it was fenced before.
        S::Empty if theirs.producer_epoch == 0 => Need::Fence,
        S::Empty => Need::Nothing,
        S::PrepareCommit | S::PrepareAbort | S::PrepareEpochFence | S::Other => Need::Later,
    }
}

impl Sweeper {
    /// Aborts and fences what attempts before `attempt` left and `pending` does not list.
    pub(crate) async fn sweep(
        &self,
        cluster: &Cluster,
        attempt: &SinkAttempt,
        pending: &[Pending<KafkaCommittable>],
        timeout_ms: i32,
    ) -> Result<()> {
        let listed = |id: &str| {
            let mut pending = pending.iter().map(|one| &one.committable);
            pending.find(|one| one.transactional_id == id)
        };
        self.lock().listed = pending.iter().map(|one| one.committable.transactional_id.clone()).collect();
        let leftovers = leftovers(cluster, attempt, false).await?;
        let leftovers = leftovers.into_iter().map(|one| one.transactional_id);
        let leftovers: Vec<String> = leftovers.filter(|id| !self.lock().fenced.contains(id)).collect();
        stream::iter(leftovers.into_iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE, |id| async move {
                let described = cluster.describe_transaction(&id).await.map_err(failed)?;
                match need(listed(&id), described.as_ref()) {
                    Need::Later => return Ok(()),
                    Need::Nothing => {}
                    Need::Fence => fence(cluster, &id, described.as_ref(), timeout_ms).await?,
                }
                self.lock().fenced.insert(id);
                Ok(())
            })
            .await
    }

    /// Aborts what a process of an older attempt began after the sweep: one that was asleep, or that made
    /// an id which was not there yet. It learns from its log that it is fenced, and until then it hides
    /// what we commit. What the snapshot lists stays as it is, as long as we run: a crash of ours may
    /// need its evidence.
    pub(crate) async fn sweep_again(
        &self,
        cluster: &Cluster,
        attempt: &SinkAttempt,
        timeout_ms: i32,
    ) -> Result<()> {
        for one in leftovers(cluster, attempt, true).await? {
            let id = one.transactional_id;
            // The filter saves work; what is open we see for ourselves.
            if one.state == TransactionState::Ongoing && !self.lock().listed.contains(&id) {
                let described = cluster.describe_transaction(&id).await.map_err(failed)?;
                fence(cluster, &id, described.as_ref(), timeout_ms).await?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ids of older attempts of this sink; with `only_open` at least those with an open transaction.
async fn leftovers(cluster: &Cluster, attempt: &SinkAttempt, only_open: bool) -> Result<Vec<Listed>> {
    let prefix = format!("{}.{}.", attempt.job, attempt.uid);
    let mut ids = cluster.list_transactions(Some(&prefix), only_open).await.map_err(failed)?;
    // The prefix saves work; which ids are ours is decided by their whole names.
    ids.retain(|one| {
        SlotName::parse(&one.transactional_id).is_some_and(|name| name.target.is_leftover_for(attempt))
    });
    Ok(ids)
}

async fn fence(cluster: &Cluster, id: &str, described: Option<&Described>, timeout_ms: i32) -> Result<()> {
    tracing::info!(transactional_id = %id, state = ?described, "fencing an older attempt");
    cluster.fence(id, timeout_ms).await.map_err(failed)?;
    if described.is_some_and(|one| one.state == TransactionState::Ongoing) {
        metrics::counter!("tidelock_kafka_leftovers_aborted").increment(1);
    }
    Ok(())
}

fn failed(fault: Fault) -> tidelock::Error {
    fault.into_error("sweep leftovers in Kafka")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(state: TransactionState, producer_epoch: i16, start_time_ms: i64) -> Described {
        Described {
            state,
            producer_id: 7,
            producer_epoch,
            start_time_ms,
            timeout_ms: 60_000,
            partitions: vec![],
        }
    }

    #[test]
    fn what_no_snapshot_lists_is_fenced_once() {
        use TransactionState as S;
        let table = [
            (S::Ongoing, 3, Need::Fence),
            (S::CompleteCommit, 3, Need::Fence),
            (S::CompleteAbort, 0, Need::Fence),
            (S::Empty, 0, Need::Fence),
            (S::Empty, 1, Need::Nothing),
            (S::PrepareCommit, 3, Need::Later),
            (S::PrepareAbort, 3, Need::Later),
            (S::PrepareEpochFence, 3, Need::Later),
        ];
        for (state, epoch, expected) in table {
            assert_eq!(need(None, Some(&described(state, epoch, 1_000))), expected, "{state:?} {epoch}");
        }
        assert_eq!(need(None, None), Need::Nothing);
    }

    #[test]
    fn what_a_snapshot_lists_is_never_touched_but_a_later_transaction_under_its_id_is() {
        use TransactionState as S;
        for state in [S::Ongoing, S::PrepareCommit, S::CompleteCommit, S::CompleteAbort, S::Empty] {
            assert_eq!(
                need(Some(&KafkaCommittable::example()), Some(&described(state, 3, 1_000))),
                Need::Later,
                "{state:?}"
            );
        }
        assert_eq!(
            need(Some(&KafkaCommittable::example()), Some(&described(S::CompleteAbort, 4, 1_000))),
            Need::Later
        );
        assert_eq!(
            need(Some(&KafkaCommittable::example()), Some(&described(S::Ongoing, 3, 1_001))),
            Need::Fence
        );
    }
}
