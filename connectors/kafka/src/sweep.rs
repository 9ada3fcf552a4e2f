//! What older attempts left in the cluster, and how it is made harmless.
//!
//! Open transactions are aborted, or they would hide everything behind them from `read_committed`
//! readers. Ids that an older attempt may still use are fenced as well: a record that is on its way, or
//! in the buffer of a process that is paused, can then open nothing any more.
//!
//! ```text
//!   whose transaction is open                  what is done
//!   an older attempt's, not listed             aborted, its id fenced
//!   an older attempt's, listed                 nothing: recovery commits it
//!   ours                                       nothing
//!   a newer attempt's, or one of our number    nothing is touched, and we do not go on
//!   before we opened any writer
//! ```
//!
//! The last line has two causes, which a target cannot tell apart: a newer attempt owns the job, or this
//! one runs on another log than the one that the other attempt ran with. So the sink ends the attempt, and
//! the coordinator looks into the log: a newer claim there means fenced. Otherwise the log is another one, and
//! then not even what looks older may be touched: that log may list it.
//!
//! One sweep at a time. It begins with recovery, with each of its repetitions, and a while after a commit: so
//! it ends with the attempt, which then commits nothing any more.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use futures::{TryStreamExt, stream};
use tidelock::{Error, ErrorKind, Pending, Position, Result, Retry, SinkAttempt};

use crate::committable::{KafkaCommittable, SlotName};
use crate::control::cluster::{AT_ONCE, Cluster};
use crate::control::connection::Address;
use crate::control::fault::Fault;
use crate::control::transactions::{Described, TransactionState};
use crate::verdict::{Verdict, judge};

/// Who sweeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) attempt: &'a SinkAttempt,
    /// The timeout that a fenced id gets.
    pub(crate) timeout_ms: i32,
}

/// Sweeps what older attempts of one sink left.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    known: Mutex<Known>,
    /// Held by whoever sweeps.
    turn: tokio::sync::Mutex<()>,
}

/// What was learned of the ids of other attempts.
#[derive(Debug, Default)]
struct Known {
    /// Ids that are known to be harmless: not looked at again by another recovery in this process.
    fenced: BTreeSet<String>,
    /// Ids that the snapshot lists.
    listed: BTreeSet<String>,
    /// The attempt that recovered or opened writers: from then on ids of its number are its own.
    begun: Option<Position>,
    /// What another owner of the job has open.
    stranger: Option<Stranger>,
}

/// An open transaction that no attempt before ours began.
#[derive(Debug, Clone)]
struct Stranger {
    id: String,
    theirs: Position,
    ours: Position,
    described: Option<Described>,
    /// So many of them were seen.
    count: usize,
}

impl Stranger {
    /// I5, I7: what we commit would be hidden behind it, and its log may list what looks like our leftovers.
    fn error(&self) -> Error {
        let Self { id, theirs, ours, described, count } = self;
        let why = "an attempt that is not older than this one has a transaction open: a newer attempt owns the \
                   job, or the job runs on another log than that attempt did";
        let remedy = "start the job with the log that it ran with before. If that log is lost: `tidelock-kafka \
                      transactions abort --force ID` throws away what is open under the id; or give the job \
                      another id";
        let error = Error::new(ErrorKind::Conflict, "recover in Kafka", why)
            .with("transactional_id", id)
            .with("its_attempt", theirs)
            .with("our_attempt", ours)
            .with("transactions", count);
        let error = match described {
            Some(one) => error.with("begun_at_ms", one.start_time_ms).with("partitions", places(one)),
            None => error,
        };
        error.with("remedy", remedy).with_retry(Retry::Halt)
    }
}

/// The partitions whose readers wait, as people write them.
fn places(described: &Described) -> String {
    let places = described.partitions.iter().map(|(topic, partition)| format!("{topic}/{partition}"));
    places.collect::<Vec<_>>().join(",")
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

/// An id of this job and sink, with the broker that coordinates it.
#[derive(Debug)]
struct Found {
    id: String,
    attempt: Position,
    is_open: bool,
    coordinator: Address,
}

impl Sweeper {
    /// Aborts and fences what attempts before ours left and `pending` does not list.
    pub(crate) async fn sweep(&self, owner: Owner<'_>, pending: &[Pending<KafkaCommittable>]) -> Result<()> {
        let _turn = self.turn.lock().await;
        let committables = || pending.iter().map(|one| &one.committable);
        let listed = |id: &str| committables().find(|one| one.transactional_id == id);
        self.begin(owner.attempt, committables().map(|one| one.transactional_id.clone()).collect());
        let mut unknown = self.look(owner, false).await?;
        unknown.retain(|one| !self.lock().fenced.contains(&one.id));
        unknown.sort_by(|one, other| one.coordinator.cmp(&other.coordinator));
        for of_one in unknown.chunk_by(|one, next| one.coordinator == next.coordinator) {
            let ids: Vec<_> = of_one.iter().map(|one| one.id.clone()).collect();
            let described = owner.cluster.describe_transactions(&of_one[0].coordinator, &ids).await;
            let described = described.map_err(failed)?;
            stream::iter(ids.into_iter().zip(described).map(Ok))
                .try_for_each_concurrent(AT_ONCE, |(id, described)| async move {
                    match need(listed(&id), described.as_ref()) {
                        Need::Later => return Ok(()),
                        Need::Nothing => {}
                        Need::Fence => fence(owner, &id, described.as_ref()).await?,
                    }
                    self.lock().fenced.insert(id);
                    Ok(())
                })
                .await?;
        }
        self.opens(owner.attempt);
        Ok(())
    }

    fn begin(&self, attempt: &SinkAttempt, listed: BTreeSet<String>) {
        let mut known = self.lock();
        known.listed = listed;
        if known.begun != Some(attempt.number) {
            known.stranger = None;
        }
    }

    /// Aborts what a process of an older attempt began after the sweep: one that was asleep, or that made
    /// an id which was not there yet. It learns from its log that it is fenced, and until then it hides
    /// what we commit. What the snapshot lists stays as it is, as long as we run: a crash of ours may
    /// need its evidence.
    pub(crate) async fn sweep_again(&self, owner: Owner<'_>) -> Result<()> {
        // Another sweep runs: it finds the same.
        let Ok(_turn) = self.turn.try_lock() else { return Ok(()) };
        for one in self.look(owner, true).await? {
            if one.is_open && !self.lock().listed.contains(&one.id) {
                let described = owner.cluster.describe_transaction(&one.id).await.map_err(failed)?;
                fence(owner, &one.id, described.as_ref()).await?;
            }
        }
        Ok(())
    }

    /// A writer opens: from now on ids of the attempt's number are its own.
    pub(crate) fn opens(&self, attempt: &SinkAttempt) {
        self.lock().begun = Some(attempt.number);
    }

    /// Fails where another owner of the job was seen: what is committed now its readers may not see.
    pub(crate) fn check_owner(&self) -> Result<()> {
        self.lock().stranger.as_ref().map_or(Ok(()), |stranger| Err(stranger.error()))
    }

    /// The ids of older attempts of this sink; with `only_open` at least those with an open transaction.
    /// Fails where one of them proves that the job has another owner.
    async fn look(&self, owner: Owner<'_>, only_open: bool) -> Result<Vec<Found>> {
        let Owner { cluster, attempt, .. } = owner;
        let prefix = format!("{}.{}.", attempt.job, attempt.uid);
        let listed = cluster.list_transactions(Some(&prefix), only_open).await.map_err(failed)?;
        let mut leftovers = Vec::new();
        let mut strangers = Vec::new();
        let has_begun = self.lock().begun == Some(attempt.number);
        for (coordinator, one) in listed {
            // The prefix saves work; which ids are ours is decided by their whole names. The filter by
            // state saves work as well; what is open we see for ourselves.
            let Some(SlotName { target, .. }) = SlotName::parse(&one.transactional_id) else { continue };
            if target.job != attempt.job || target.uid != attempt.uid {
                continue;
            }
            let is_open = one.state == TransactionState::Ongoing;
            let found = Found { id: one.transactional_id, attempt: target.attempt, is_open, coordinator };
            match target.attempt.cmp(&attempt.number) {
                Ordering::Less => leftovers.push(found),
                Ordering::Equal if has_begun => {}
                Ordering::Equal | Ordering::Greater if is_open => strangers.push(found),
                Ordering::Equal | Ordering::Greater => {}
            }
        }
        strangers.sort_by(|one, other| (one.attempt, &one.id).cmp(&(other.attempt, &other.id)));
        let Some(newest) = strangers.last() else { return Ok(leftovers) };
        let stranger = Stranger {
            id: newest.id.clone(),
            theirs: newest.attempt,
            ours: attempt.number,
            // Evidence for people: without it the error says less.
            described: cluster.describe_transaction(&newest.id).await.ok().flatten(),
            count: strangers.len(),
        };
        let error = stranger.error();
        self.lock().stranger = Some(stranger);
        Err(error)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fence(owner: Owner<'_>, id: &str, described: Option<&Described>) -> Result<()> {
    tracing::info!(transactional_id = %id, state = ?described, "fencing an older attempt");
    owner.cluster.fence(id, owner.timeout_ms).await.map_err(failed)?;
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
            assert_eq!(
                need(None, Some(&Described::example(state, epoch, 1_000))),
                expected,
                "{state:?} {epoch}"
            );
        }
        assert_eq!(need(None, None), Need::Nothing);
    }

    #[test]
    fn what_a_snapshot_lists_is_never_touched_but_a_later_transaction_under_its_id_is() {
        use TransactionState as S;
        for state in [S::Ongoing, S::PrepareCommit, S::CompleteCommit, S::CompleteAbort, S::Empty] {
            assert_eq!(
                need(Some(&KafkaCommittable::example()), Some(&Described::example(state, 3, 1_000))),
                Need::Later,
                "{state:?}"
            );
        }
        assert_eq!(
            need(Some(&KafkaCommittable::example()), Some(&Described::example(S::CompleteAbort, 4, 1_000))),
            Need::Later
        );
        assert_eq!(
            need(Some(&KafkaCommittable::example()), Some(&Described::example(S::Ongoing, 3, 1_001))),
            Need::Fence
        );
    }
}
