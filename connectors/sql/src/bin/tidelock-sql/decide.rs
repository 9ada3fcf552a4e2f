//! What may be done to a transaction without asking a person twice.

use tidelock_sql::{Outcome, TransactionName};

use crate::pending::{self, Pending};

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

/// Whether a transaction that a log lists may be committed by hand.
pub(crate) fn commit(outcome: Outcome) -> Decision {
    match outcome {
        Outcome::Open => Decision::Go,
        Outcome::Committed => Decision::Done,
        Outcome::RolledBack => Decision::Refuse("it was rolled back: its rows are gone"),
        _ => Decision::Refuse("it is not there, and nothing proves what became of it"),
    }
}

/// Whether a transaction may be rolled back by hand.
pub(crate) fn roll_back(name: &TransactionName, pending: Option<&Pending>) -> Decision {
    let Some(pending) = pending else {
        return Decision::Refuse("give --log of its job: nothing else proves that no job waits to commit it");
    };
    if pending::lists(pending, name) {
        return Decision::Refuse("the job's log lists it: start the job, and it commits it");
    }
    if pending::may_list(pending, name) {
        return Decision::Refuse(
            "this build cannot read what the job's log lists of its sink: use the newest one",
        );
    }
    if !pending::is_of_job(pending, name) {
        return Decision::Refuse("no sink of the log's job made it");
    }
    if name.attempt() >= pending.attempt {
        return Decision::Refuse(
            "its attempt is the job's newest and may be running: start the job, and its next attempt rolls it back, as no log lists \
             it. Where the job never comes back, and no process of it runs: --force",
        );
    }
    Decision::Go
}

#[cfg(test)]
mod tests {
    use tidelock::{Epoch, JobId, Position, Uid, WriterId};

    use super::*;

    fn name(text: &str) -> TransactionName {
        TransactionName::parse(text).expect("a name")
    }

    #[test]
    fn only_what_an_older_attempt_left_and_no_log_lists_is_rolled_back() {
        let stored =
            r#"{"prepared":{"v":1,"json":{"transaction":"tidelock:a.out:3.0.1:0000001f","changes":1}}}"#;
        let listed = tidelock::Pending {
            epoch: Epoch(1),
            attempt: Position(3),
            writer: WriterId(0),
            committable: serde_json::from_str(stored).expect("a committable"),
        };
        let sinks = vec![Uid::new("out").expect("a uid")];
        let pending = Pending::new(JobId::new("a").expect("a job"), Position(5), sinks, vec![listed]);
        assert_eq!(roll_back(&name("tidelock:a.out:3.0.2:0000001f"), Some(&pending)), Decision::Go);
        for refused in [
            "tidelock:a.out:3.0.1:0000001f",
            "tidelock:a.out:5.0.1:0000001f",
            "tidelock:a.out:6.0.1:0000001f",
            "tidelock:b.out:3.0.2:0000001f",
            "tidelock:a.other:3.0.2:0000001f",
        ] {
            assert!(matches!(roll_back(&name(refused), Some(&pending)), Decision::Refuse(_)), "{refused}");
        }
        let mut newer = pending.clone();
        newer.unread = pending.sinks.clone();
        let refused = roll_back(&name("tidelock:a.out:3.0.2:0000001f"), Some(&newer));
        assert!(matches!(refused, Decision::Refuse(_)), "a newer build wrote what is listed");
        let unproven = roll_back(&name("tidelock:a.out:3.0.2:0000001f"), None);
        assert!(matches!(unproven, Decision::Refuse(_)), "no log, no proof");
    }

    #[test]
    fn only_what_is_there_is_committed() {
        assert_eq!(commit(Outcome::Open), Decision::Go);
        assert_eq!(commit(Outcome::Committed), Decision::Done);
        assert!(matches!(commit(Outcome::RolledBack), Decision::Refuse(_)));
        assert!(matches!(commit(Outcome::Unknown), Decision::Refuse(_)));
    }
}
