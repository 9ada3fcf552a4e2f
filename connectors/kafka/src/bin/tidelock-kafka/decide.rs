//! What may be done to a transaction without asking a person twice.

use tidelock::TargetName;
use tidelock::log::Listed;
use tidelock_kafka::{Described, Examined, KafkaCommittable, TransactionState, Verdict};

/// What the newest entry of a job's log says is pending in Kafka.
pub(crate) type Pending = Listed<KafkaCommittable>;

/// Whether to do what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is proven to be safe.
    Go,
    /// There is nothing left to do.
    Done,
    /// It is not, and this is why.
    Refuse(&'static str),
}

/// Whether a transaction hides what comes behind it from `read_committed` readers.
pub(crate) fn is_open(described: &Described) -> bool {
    use TransactionState as S;
    matches!(described.state, S::Ongoing | S::PrepareCommit | S::PrepareAbort | S::PrepareEpochFence)
}

/// Whether a transaction that a log lists may be committed by hand.
pub(crate) fn commit(found: &Examined) -> Decision {
    match (found.verdict, &found.not_open_in) {
        (Verdict::Open, _) => Decision::Go,
        (Verdict::Done, _) => Decision::Done,
        (Verdict::Lost, Some(_)) => Decision::Refuse(
            "it is no longer open in one of its partitions: a commit would show the rest alone",
        ),
        (Verdict::Lost, None) => Decision::Refuse("the broker threw it away"),
        _ => Decision::Refuse("nothing proves what became of it"),
    }
}

/// Whether a transaction may be aborted by hand.
pub(crate) fn abort(id: &str, pending: Option<&Pending>) -> Decision {
    let Some(pending) = pending else {
        return Decision::Refuse("give --log of its job: nothing else proves that no job waits to commit it");
    };
    if pending.pending.iter().any(|one| one.committable.transactional_id == id) {
        return Decision::Refuse("the job's log lists it: start the job, and it commits it");
    }
    let Some(name) = id.rsplit_once('.').and_then(|(target, _)| TargetName::parse(target)) else {
        return Decision::Refuse("no sink of ours made this id");
    };
    if name.job != pending.job {
        return Decision::Refuse("it belongs to another job than the log");
    }
    if pending.unread.contains(&name.uid) {
        return Decision::Refuse(
            "this build cannot read what the job's log lists of its sink: use the newest one",
        );
    }
    if name.attempt >= pending.attempt {
        return Decision::Refuse("its attempt is the job's newest and may be running");
    }
    Decision::Go
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidelock::{Epoch, JobId, Position, Uid, WriterId};

    use super::*;

    fn pending() -> Pending {
        let committable = KafkaCommittable {
            cluster_id: "c".into(),
            transactional_id: "a.out.3.0.1".into(),
            producer_id: 7,
            producer_epoch: 3,
            started_at_ms: 1_000,
            timeout_ms: 60_000,
            partitions: BTreeMap::new(),
        };
        let listed =
            tidelock::Pending { epoch: Epoch(1), attempt: Position(3), writer: WriterId(0), committable };
        Pending::new(JobId::new("a").expect("a name"), Position(5), Vec::new(), vec![listed])
    }

    #[test]
    fn only_what_an_older_attempt_left_and_no_log_lists_is_aborted() {
        let pending = pending();
        assert_eq!(abort("a.out.3.0.0", Some(&pending)), Decision::Go);
        for id in ["a.out.3.0.1", "a.out.5.0.0", "a.out.6.0.0", "a-b.out.3.0.0", "somebody-elses", "a.out.3"]
        {
            assert!(matches!(abort(id, Some(&pending)), Decision::Refuse(_)), "{id}");
        }
        assert!(matches!(abort("a.out.3.0.0", None), Decision::Refuse(_)), "no log, no proof");
        let mut newer = pending;
        newer.unread.push(Uid::new("out").expect("a name"));
        let refused = abort("a.out.3.0.0", Some(&newer));
        assert!(matches!(refused, Decision::Refuse(_)), "a newer build wrote what is listed");
    }

    #[test]
    fn only_what_is_there_whole_is_committed() {
        let found = |verdict| Examined::new(verdict, None, None);
        assert_eq!(commit(&found(Verdict::Open)), Decision::Go);
        assert_eq!(commit(&found(Verdict::Done)), Decision::Done);
        assert!(matches!(commit(&found(Verdict::Lost)), Decision::Refuse(_)));
        assert!(matches!(commit(&found(Verdict::Unknown)), Decision::Refuse(_)));
        let torn = Examined::new(Verdict::Lost, None, Some(("t".into(), 0)));
        assert!(matches!(commit(&torn), Decision::Refuse(why) if why.contains("partitions")));
    }
}
