//! The scopes in which the real machine is explored, each around one kind of trouble. Each asserts that it
//! came to the states that it is there for.

use super::Size::{Large, Normal, Small};
use super::holds;
use super::marks::Mark;
use super::scope::{Kind, Scope};

const MIXED: [Kind; 2] = [Kind::Transactions, Kind::WriteAhead];

/// Everything else is a variant of this: one writer, two attempts, nothing that fails but attempts.
pub(crate) fn beside() -> Scope {
    Scope::small("an older attempt beside a newer one")
}

pub(crate) fn lost() -> Scope {
    Scope { lost: 1, ..Scope::small("answers of the store are lost") }
}

pub(crate) fn one_after_another() -> Scope {
    Scope { attempts: 3, alive: 1, lost: 1, ..Scope::small("three attempts, one after another") }
}

pub(crate) fn three_attempts() -> Scope {
    Scope { attempts: 3, records: 1, there: 1, ..Scope::small("three attempts, two alive") }
}

pub(crate) fn two_writers() -> Scope {
    let sinks = MIXED.to_vec();
    Scope { tasks: 2, sinks, diagonal: true, ..Scope::small("two writers, a target of each kind") }
}

pub(crate) fn names() -> Scope {
    let name = "names are used again, commits come late";
    Scope { records: 3, there: 3, slots: 1, delays: 1, ..Scope::small(name) }
}

pub(crate) fn failures() -> Scope {
    Scope { slots: 4, timeouts: 1, ..Scope::small("checkpoints fail") }
}

pub(crate) fn failures_and_losses() -> Scope {
    Scope { lost: 1, name: "checkpoints fail, answers are lost", ..failures() }
}

pub(crate) fn pruned() -> Scope {
    Scope { prune: true, records: 1, there: 1, ..Scope::small("entries are pruned") }
}

pub(crate) fn pruned_and_lost() -> Scope {
    let name = "entries are pruned, answers are lost";
    Scope { prune: true, lost: 1, timeouts: 1, slots: 4, crashes: false, ..Scope::small(name) }
}

pub(crate) fn latest() -> Scope {
    Scope { there: 0, latest: true, ..Scope::small("a first run starts at the end") }
}

pub(crate) fn closed() -> Scope {
    let name = "stopped and cancelled";
    Scope { stops: 1, cancels: 1, attempts: 3, alive: 1, ..Scope::small(name) }
}

pub(crate) fn thrown() -> Scope {
    let name = "data is thrown away while the job is down";
    Scope { tasks: 2, throws: 1, alive: 1, ..Scope::small(name) }
}

#[test]
fn an_older_attempt_beside_a_newer_one() {
    let marks = [
        Mark::TwoAttemptsRun,
        Mark::Fenced,
        Mark::ClaimedAbove,
        Mark::OpenedBesideANewerAttempt,
        Mark::CommitAfterFencing,
        Mark::RecoveredPending,
        Mark::SweptLeftover,
        Mark::EpochsOverlap,
        Mark::AppliedAfterItsSenderCrashed,
        Mark::CrashWithCommitUnderWay,
        Mark::LateCommitApplied,
        Mark::EmptyEpoch,
        Mark::WasFinished,
        Mark::Finished,
    ];
    holds(Small, &beside(), &marks);
}

#[test]
fn answers_of_the_store_are_lost() {
    let marks = [Mark::TakenByOurOwnRequest, Mark::OlderRequestStands, Mark::TwoAttemptsRun];
    holds(Normal, &lost(), &marks);
}

#[test]
fn three_attempts_hold() {
    holds(
        Small,
        &one_after_another(),
        &[Mark::RecoveredPending, Mark::AppliedAfterItsSenderCrashed, Mark::Finished],
    );
    holds(Small, &three_attempts(), &[Mark::TwoAttemptsRun, Mark::SweptLeftover, Mark::Finished]);
}

#[test]
fn two_writers_and_two_kinds_of_targets() {
    holds(
        Normal,
        &two_writers(),
        &[Mark::TwoAttemptsRun, Mark::LateCommitOfAnEpochThatIsPassed, Mark::Finished],
    );
}

#[test]
fn names_are_used_again() {
    let marks = [
        Mark::SlotUsedAgain,
        Mark::FreshIdentity,
        Mark::BlockedWriter,
        Mark::Confirmation,
        Mark::LateCommitApplied,
    ];
    holds(Normal, &names(), &marks);
}

#[test]
fn checkpoints_fail() {
    holds(Normal, &failures(), &[Mark::GivenUpCheckpointStands, Mark::LeftoverOfAFailedCheckpointListed]);
}

#[test]
fn entries_are_pruned() {
    holds(Small, &pruned(), &[Mark::Pruned, Mark::PruneOfAFencedAttempt, Mark::ClaimInAGap]);
}

#[test]
fn latest_is_decided_once() {
    holds(Normal, &latest(), &[Mark::ResolvedAgain]);
}

#[test]
fn a_closed_job_goes_on() {
    holds(Small, &closed(), &[Mark::Stopped, Mark::Cancelled, Mark::WentOnAfterClosed]);
}

#[test]
fn thrown_away_data_halts_the_job() {
    holds(Small, &thrown(), &[Mark::HaltedWithEvidence, Mark::Finished]);
}

/// Some gigabytes of memory.
#[test]
fn larger_scopes() {
    holds(Large, &failures_and_losses(), &[Mark::GivenUpCheckpointStands, Mark::OlderRequestStands]);
    holds(Large, &pruned_and_lost(), &[Mark::Pruned, Mark::PruneOfAFencedAttempt]);
    let scope = Scope { records: 3, there: 3, ..beside() };
    holds(Large, &Scope { name: "three records", ..scope }, &[Mark::TwoAttemptsRun]);
    let scope = Scope { lost: 1, delays: 1, ..two_writers() };
    holds(Large, &Scope { name: "two writers, losses and delays", ..scope }, &[Mark::TwoAttemptsRun]);
    let scope = Scope { tasks: 3, sinks: vec![Kind::Transactions], ..two_writers() };
    holds(Large, &Scope { name: "three writers", ..scope }, &[Mark::TwoAttemptsRun]);
    let scope = Scope { diagonal: false, ..two_writers() };
    holds(Large, &Scope { name: "two writers to two targets each", ..scope }, &[Mark::TwoAttemptsRun]);
    let scope = Scope { records: 2, there: 2, ..three_attempts() };
    holds(Large, &Scope { name: "three attempts, two alive, two records", ..scope }, &[Mark::TwoAttemptsRun]);
}
