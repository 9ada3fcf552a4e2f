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

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tidelock::{Error, ErrorKind, Result, Retry};
use tokio::time::{Instant, sleep};

use crate::committable::KafkaCommittable;
use crate::control::cluster::Cluster;
use crate::control::fault::Fault;
use crate::control::transactions::{ActiveProducer, Described, TransactionState};
use crate::verdict::{Verdict, judge, open_in};

/// Partitions asked at once.
const AT_ONCE: usize = 16;

/// An idle broker has written its markers after this.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Between two looks at a broker that is slow.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// How long a broker may take to write markers before the attempt ends and recovers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks without asking the coordinator: it is nearly always done by then.
const LOOKS_BEFORE_ASKING: u32 = 4;

/// A partition that holds a committed transaction open.
struct Unfinished<'a> {
    topic: &'a str,
    partition: i32,
    producer: ActiveProducer,
}

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

/// Returns when a transaction that its coordinator committed is visible in every partition.
pub(crate) async fn finish(cluster: &Cluster, ours: &KafkaCommittable) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = PAUSE_MIN;
    let mut looks = 0;
    let mut complete = None;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        let unfinished = unfinished(cluster, ours).await?;
        let Some(first) = unfinished.first() else { return Ok(()) };
        if Instant::now() > deadline {
            let why =
                "a commit is not visible: a partition holds it open, and its coordinator goes on with it";
            return Err(Error::new(ErrorKind::Unavailable, "finish a commit in Kafka", why)
                .with("transactional_id", &ours.transactional_id)
                .with("topic", first.topic)
                .with("partition", first.partition));
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

async fn unfinished<'a>(cluster: &Cluster, ours: &'a KafkaCommittable) -> Result<Vec<Unfinished<'a>>> {
    let looks = ours.places().map(|(topic, partition)| async move {
        let producers = cluster.producers(topic, partition).await.map_err(failed)?;
        let producer = open_in(ours, producers);
        Ok(producer.map(|producer| Unfinished { topic, partition, producer }))
    });
    let looks: Vec<_> = looks.collect();
    let found: Vec<Option<Unfinished<'a>>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Writes the markers that are proven to be missing.
async fn mark(
    cluster: &Cluster,
    ours: &KafkaCommittable,
    producer_epoch: i16,
    unfinished: &[Unfinished<'_>],
) -> Result<()> {
    for Unfinished { topic, partition, producer } in unfinished {
        tracing::warn!(
            transactional_id = %ours.transactional_id,
            producer_id = ours.producer_id,
            topic,
            partition,
            open_since = producer.open_since,
            "the broker calls a commit complete that this partition holds open: its marker is written now"
        );
        metrics::counter!("tidelock_kafka_markers_written").increment(1);
        let written = cluster.write_commit_marker(
            topic,
            *partition,
            ours.producer_id,
            producer_epoch,
            producer.coordinator_epoch,
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
    Error::new(cause.kind(), "finish a commit in Kafka", why)
        .with("transactional_id", &ours.transactional_id)
        .with("producer_id", ours.producer_id)
        .with("producer_epoch", ours.producer_epoch)
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
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn only_this_commit_said_to_be_complete_proves_that_a_marker_is_missing() {
        use TransactionState as S;
        let ours = KafkaCommittable {
            cluster_id: "c".into(),
            transactional_id: "a.out.1.0.0".into(),
            producer_id: 7,
            producer_epoch: 3,
            started_at_ms: 1_000,
            timeout_ms: 60_000,
            partitions: BTreeMap::new(),
        };
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
