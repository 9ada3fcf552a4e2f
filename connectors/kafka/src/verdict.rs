//! What became of a prepared transaction: pure decisions, as tables.
//!
//! ```text
//!   coordinator says                                   verdict
//!   same producer epoch, Ongoing, begun when ours      Open    (look at its partitions, then commit)
//!   same producer epoch, Ongoing, begun later          Done    a slot begins again only after a commit
//!   same producer epoch, PrepareCommit/CompleteCommit  Done
//!   next producer epoch, the same with our beginning   Done    committed by hand with a newer protocol
//!   anything else of this producer                     Lost    timed out, aborted, or stolen
//!   another producer id, an older state, or no such id Unknown nothing proves what became of it
//! ```

use tidelock::{Error, ErrorKind};

use crate::committable::KafkaCommittable;
use crate::control::transactions::{Described, TransactionState};

/// What became of a prepared transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is open and waits for its end.
    Open,
    /// It is committed, or being committed.
    Done,
    /// The broker threw it away: proven.
    Lost,
    /// It is not there, and nothing says whether it was committed before.
    Unknown,
}

/// What became of a prepared transaction, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Examined {
    /// The verdict.
    pub verdict: Verdict,
    /// What the coordinator says. `None`: it does not know the transactional id.
    pub described: Option<Described>,
    /// A partition in which the transaction is no longer open, although its coordinator says that it is.
    pub not_open_in: Option<(String, i32)>,
    /// Whether that partition was deleted.
    pub is_deleted: bool,
}

impl Examined {
    /// A finding, for tools and tests.
    pub fn new(verdict: Verdict, described: Option<Described>, not_open_in: Option<(String, i32)>) -> Self {
        Self { verdict, described, not_open_in, is_deleted: false }
    }
}

/// Judges by what the coordinator says of the transactional id; `None`: it does not know the id.
pub(crate) fn judge(ours: &KafkaCommittable, described: Option<&Described>) -> Verdict {
    use TransactionState as S;
    let Some(theirs) = described else { return Verdict::Unknown };
    if theirs.producer_id != ours.producer_id || theirs.producer_epoch < ours.producer_epoch {
        return Verdict::Unknown;
    }
    if theirs.start_time_ms >= 0 && theirs.start_time_ms < ours.started_at_ms {
        return Verdict::Unknown;
    }
    let same_start = theirs.start_time_ms == ours.started_at_ms;
    let committed = matches!(theirs.state, S::PrepareCommit | S::CompleteCommit);
    if theirs.producer_epoch == ours.producer_epoch {
        return match theirs.state {
            S::Ongoing if same_start => Verdict::Open,
            S::Ongoing => Verdict::Done,
            S::PrepareCommit | S::CompleteCommit => Verdict::Done,
            _ => Verdict::Lost,
        };
    }
    // Protocols from Kafka 4.0 on raise the producer epoch with the commit itself.
    let next = theirs.producer_epoch == ours.producer_epoch.wrapping_add(1);
    if next && committed && same_start { Verdict::Done } else { Verdict::Lost }
}

/// How a lost transaction was lost, in words.
fn cause(found: &Examined, ours: &KafkaCommittable, now_ms: i64) -> String {
    if let Some((topic, partition)) = &found.not_open_in {
        if found.is_deleted {
            return format!("partition {partition} of {topic}, which it wrote to, was deleted");
        }
        return format!(
            "it is no longer open in partition {partition} of {topic}, where somebody aborted it, while its \
             coordinator still says that it is"
        );
    }
    let age = now_ms.saturating_sub(ours.started_at_ms);
    let is_raised = found.described.as_ref().is_some_and(|one| one.producer_epoch > ours.producer_epoch);
    match (is_raised, age < i64::from(ours.timeout_ms)) {
        (true, true) => {
            "its transactional id was initialised anew before its timeout: something else uses it"
        }
        (true, false) => "it outlived its timeout and was aborted",
        (false, _) => "it was aborted",
    }
    .to_owned()
}

const REMEDY: &str = "decide: roll back to a snapshot before this epoch so that it is written again, or abandon \
                      what is pending; so that it does not happen again let transaction.max.timeout.ms of the \
                      brokers exceed the longest time that the job may be down";

const REMEDY_DELETED: &str = "decide: where the topic was meant to go, `tidelock-kafka transactions commit --log LOG \
                              --force` commits what the transaction holds elsewhere, and the job goes on; or roll \
                              back to a snapshot before this epoch so that it is written again, or abandon what is \
                              pending";

/// The error for a prepared transaction that cannot be committed (I7).
pub(crate) fn cannot_commit(found: &Examined, ours: &KafkaCommittable, now_ms: i64) -> Error {
    let (kind, message) = match found.verdict {
        Verdict::Lost => {
            let cause = cause(found, ours, now_ms);
            (ErrorKind::Expired, format!("the broker threw away a prepared transaction: {cause}"))
        }
        _ => {
            let why = "the broker does not know a prepared transaction any more; whether it was committed \
                       before cannot be told";
            (ErrorKind::NotFound, why.to_owned())
        }
    };
    let seen = found.described.as_ref().map_or_else(
        || "unknown transactional id".to_owned(),
        |theirs| {
            let Described { state, producer_id, producer_epoch, start_time_ms, .. } = theirs;
            format!("{state:?} of {producer_id} in producer epoch {producer_epoch} begun at {start_time_ms}")
        },
    );
    ours.named_in(Error::new(kind, "commit to Kafka", message))
        .with("begun_at_ms", ours.started_at_ms)
        .with("age_ms", now_ms.saturating_sub(ours.started_at_ms))
        .with("timeout_ms", ours.timeout_ms)
        .with("broker_says", seen)
        .with("remedy", if found.is_deleted { REMEDY_DELETED } else { REMEDY })
}

#[cfg(test)]
mod tests {
    use tidelock::Retry;

    use super::*;

    fn ours() -> KafkaCommittable {
        KafkaCommittable::example()
    }

    #[test]
    fn the_table_of_verdicts() {
        use TransactionState as S;
        use Verdict as V;
        let table = [
            // The same producer epoch.
            (S::Ongoing, 3, 1_000, V::Open),
            (S::Ongoing, 3, 1_001, V::Done),
            (S::Ongoing, 3, 999, V::Unknown),
            (S::PrepareCommit, 3, 1_000, V::Done),
            (S::CompleteCommit, 3, 1_000, V::Done),
            (S::CompleteCommit, 3, 2_000, V::Done),
            (S::PrepareAbort, 3, 1_000, V::Lost),
            (S::CompleteAbort, 3, 1_000, V::Lost),
            (S::PrepareEpochFence, 3, 1_000, V::Lost),
            (S::Empty, 3, -1, V::Lost),
            (S::Other, 3, 1_000, V::Lost),
            // The next one: a commit by a newer protocol, or the broker's own abort.
            (S::CompleteCommit, 4, 1_000, V::Done),
            (S::PrepareCommit, 4, 1_000, V::Done),
            (S::CompleteCommit, 4, 1_001, V::Lost),
            (S::CompleteAbort, 4, 1_000, V::Lost),
            (S::Ongoing, 4, 1_000, V::Lost),
            (S::Empty, 4, -1, V::Lost),
            (S::CompleteCommit, 5, 1_000, V::Lost),
            // An older one, or one begun earlier: the broker went back in time.
            (S::CompleteCommit, 2, 1_000, V::Unknown),
            (S::CompleteCommit, 3, 999, V::Unknown),
        ];
        for (state, epoch, start, verdict) in table {
            let described = Described::example(state, epoch, start);
            assert_eq!(judge(&ours(), Some(&described)), verdict, "{described:?}");
        }
        assert_eq!(judge(&ours(), None), V::Unknown);
        let other_producer = Described { producer_id: 8, ..Described::example(S::CompleteCommit, 3, 1_000) };
        assert_eq!(judge(&ours(), Some(&other_producer)), V::Unknown);
    }

    #[test]
    fn a_loss_halts_with_its_evidence_and_what_to_do() {
        let aborted = Described::example(TransactionState::CompleteAbort, 4, 1_000);
        let found = Examined::new(Verdict::Lost, Some(aborted), None);
        let error = cannot_commit(&found, &ours(), 100_000);
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt));
        let text = error.to_string();
        for part in [
            "a.out.1.0.0",
            "producer_id=7",
            "producer_epoch=3",
            "age_ms=99000",
            "timeout_ms=60000",
            "remedy=",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        assert!(text.contains("outlived its timeout"), "{text}");
        let early = cannot_commit(&found, &ours(), 2_000).to_string();
        assert!(early.contains("something else uses it"), "{early}");
        let found = Examined { not_open_in: Some(("t".into(), 3)), ..found };
        let in_partition = cannot_commit(&found, &ours(), 2_000).to_string();
        assert!(in_partition.contains("partition 3 of t"), "{in_partition}");
        let found = Examined { is_deleted: true, ..found };
        let deleted = cannot_commit(&found, &ours(), 2_000).to_string();
        assert!(deleted.contains("partition 3 of t") && deleted.contains("transactions commit"), "{deleted}");
    }

    #[test]
    fn what_is_not_proven_lost_is_not_reported_as_lost() {
        let found = Examined::new(Verdict::Unknown, None, None);
        let error = cannot_commit(&found, &ours(), 100_000);
        assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt));
    }
}
