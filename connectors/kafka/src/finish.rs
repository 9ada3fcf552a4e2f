//! Waits until a commit is visible, and finishes one that its broker forgot.
//!
//! A coordinator says "committed" when it has decided. Only then does it write a marker to each
//! partition, and records are visible from the marker on. Kafka 4.3.1 can lose markers: a coordinator
//! that is killed in between and started again finds partitions without a leader, takes them for
//! deleted ones, and calls the transaction complete. Nobody ever writes the marker. Readers of
//! `read_committed` wait for ever, and what was promised to be committed is thrown away with the next
//! transaction of the same producer that is aborted.
//!
//! So a commit is confirmed only when no partition holds it open (I6), and a marker that is proven to be
//! missing is written here. The proof, in this order: the partition holds the transaction open; its
//! coordinator says that it completed this commit; the partition holds it open still; the coordinator
//! says the same again. What is open is then this transaction and no later one: a later one begins only
//! after this one was confirmed, and tells the coordinator before it tells a partition.
//!
//! A partition that was deleted holds nothing open. All brokers must say that it is not there: a partition
//! without a leader is.

use std::time::Duration;

use tidelock::{Error, ErrorKind, Result, Retry};
use tokio::time::{Instant, sleep};

use crate::committable::KafkaCommittable;
use crate::control::cluster::Cluster;
use crate::control::fault::Fault;
use crate::control::producers::ActiveProducer;
use crate::control::transactions::{Described, TransactionState};
use crate::places::{Holds, Place, look_at_places};
use crate::verdict::{Verdict, judge};

/// An idle broker has written its markers after this.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Between two looks at a broker that is slow.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// How long a broker may take to write markers before the attempt ends and recovers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks without asking the coordinator: it is nearly always done by then.
const LOOKS_BEFORE_ASKING: u32 = 4;

/// What the coordinator says of a commit that is not visible yet.
#[derive(Debug, PartialEq, Eq)]
enum Says {
    /// It is writing the markers.
    Underway,
    /// It wrote them all, for this producer epoch.
    Complete(i16),
    /// Something else: this commit cannot be told from another transaction.
    Other,
}

fn says(ours: &KafkaCommittable, described: Option<&Described>) -> Says {
    let Some(theirs) = described else { return Says::Other };
    if judge(ours, described) != Verdict::Done || theirs.start_time_ms != ours.started_at_ms {
        return Says::Other;
    }
    match theirs.state {
        TransactionState::PrepareCommit => Says::Underway,
        TransactionState::CompleteCommit => Says::Complete(theirs.producer_epoch),
        _ => Says::Other,
    }
}

/// A partition that holds a commit open, and the producer that it does so for.
struct Unfinished<'a> {
    topic: &'a str,
    partition: i32,
    by: ActiveProducer,
}

/// A target that somebody deleted holds nothing back, and what it held cannot be had back.
fn tell_deleted(ours: &KafkaCommittable, topic: &str, partition: i32) {
    tracing::warn!(
        transactional_id = %ours.transactional_id,
        topic,
        partition,
        "a partition that a commit wrote to was deleted: what it held of the commit is gone with it"
    );
}

/// Returns when a transaction that its coordinator committed is visible in every partition that exists.
pub(crate) async fn finish(cluster: &Cluster, ours: &KafkaCommittable) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = PAUSE_MIN;
    let mut looks = 0;
    let mut complete = None;
    let mut is_told = false;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        let places = look_at_places(cluster, ours).await.map_err(failed)?;
        let mut unfinished = Vec::new();
        for Place { topic, partition, holds } in places {
            match holds {
                Holds::Open(by) => unfinished.push(Unfinished { topic, partition, by }),
                Holds::Ended => {}
                // Nobody waits for a marker there. It is told once, and the commit is what it can be.
                Holds::Deleted if is_told => {}
                Holds::Deleted => tell_deleted(ours, topic, partition),
            }
        }
        is_told = true;
        let Some(first) = unfinished.first() else { return Ok(()) };
        if Instant::now() > deadline {
            let why =
                "a commit is not visible: a partition holds it open, and its coordinator goes on with it";
            let error = Error::new(ErrorKind::Unavailable, "finish a commit in Kafka", why);
            return Err(ours.named_in(error).with("topic", first.topic).with("partition", first.partition));
        }
        looks += 1;
        if looks < LOOKS_BEFORE_ASKING {
            continue;
        }
        let described = cluster.describe_transaction(&ours.transactional_id).await.map_err(failed)?;
        match says(ours, described.as_ref()) {
            Says::Underway => complete = None,
            Says::Complete(epoch) if complete == Some(epoch) => {
                mark(cluster, ours, epoch, &unfinished).await?
            }
            Says::Complete(epoch) => complete = Some(epoch),
            // A later transaction under its id, which begins only after ours was confirmed.
            Says::Other => return Ok(()),
        }
    }
}

/// Writes the markers that are proven to be missing.
async fn mark(
    cluster: &Cluster,
    ours: &KafkaCommittable,
    producer_epoch: i16,
    unfinished: &[Unfinished<'_>],
) -> Result<()> {
    for Unfinished { topic, partition, by } in unfinished {
        tracing::warn!(
            transactional_id = %ours.transactional_id,
            producer_id = ours.producer_id,
            topic,
            partition,
            open_since = by.open_since,
            "the broker calls a commit complete that this partition holds open: its marker is written now"
        );
        metrics::counter!("tidelock_kafka_markers_written").increment(1);
        let written = cluster.write_commit_marker(
            topic,
            *partition,
            ours.producer_id,
            producer_epoch,
            by.coordinator_epoch,
        );
        written.await.map_err(|fault| not_finished(fault, ours, topic, *partition))?;
    }
    Ok(())
}

fn failed(fault: Fault) -> Error {
    fault.into_error("look whether a commit to Kafka is visible")
}

/// Readers wait at this partition until somebody who may writes the marker.
fn not_finished(fault: Fault, ours: &KafkaCommittable, topic: &str, partition: i32) -> Error {
    let cause = fault.into_error("finish a commit in Kafka");
    let retry = if cause.kind() == ErrorKind::Auth { Retry::Halt } else { cause.retry() };
    let why = "the broker calls a commit complete that a partition holds open, and its marker could not be \
               written; readers wait there, and an abort would lose what is committed";
    ours.named_in(Error::new(cause.kind(), "finish a commit in Kafka", why))
        .with("topic", topic)
        .with("partition", partition)
        .with(
            "remedy",
            "give the job ClusterAction on the cluster, or run `tidelock-kafka transactions commit` \
                         with an identity that has it; never abort it",
        )
        .with_retry(retry)
        .because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_commit_said_to_be_complete_proves_that_a_marker_is_missing() {
        use TransactionState as S;
        let ours = KafkaCommittable::example();
        let table = [
            (S::PrepareCommit, 3, 1_000, Says::Underway),
            (S::CompleteCommit, 3, 1_000, Says::Complete(3)),
            (S::CompleteCommit, 4, 1_000, Says::Complete(4)),
            (S::CompleteCommit, 3, 1_001, Says::Other),
            (S::Ongoing, 3, 1_000, Says::Other),
            (S::Ongoing, 3, 1_001, Says::Other),
            (S::CompleteAbort, 3, 1_000, Says::Other),
            (S::Empty, 4, -1, Says::Other),
        ];
        for (state, producer_epoch, start_time_ms, expected) in table {
            let described = Described {
                state,
                producer_id: 7,
                producer_epoch,
                start_time_ms,
                timeout_ms: 60_000,
                partitions: vec![],
            };
            assert_eq!(says(&ours, Some(&described)), expected, "{described:?}");
        }
        assert_eq!(says(&ours, None), Says::Other);
    }
}
