//! Transactions that somebody else ended while the job was down: what is lost is reported and stops the job,
//! what was committed by hand is fine.

use tidelock_kafka::{KafkaCommittable, Verdict};
use tidelock_processes::{Defect, Fate, Process};

use crate::held::Held;
use crate::reader::{Checker, read_to_the_end};
use crate::support;

/// Longer than what must remain of a transaction's life when its entry is appended, 30 s.
const TIMEOUT: &str = "transaction.timeout.ms=36000";

/// A job that was killed while transactions were listed and not committed: these. Its newest entry may list
/// others that are committed, and not confirmed.
async fn killed(options: (&str, &str)) -> (Held, Vec<KafkaCommittable>) {
    let held = Held::new(options).await;
    let mut process = held.start().await;
    held.stop_between_durable_and_committed(&mut process).await;
    process.kill();
    held.release(Fate::Lost);
    let open = held.pending_that_are(Verdict::Open).await;
    assert!(!open.is_empty());
    (held, open)
}

/// What a fresh reader sees, with nothing wrong in it.
async fn visible(held: &Held) -> Vec<u64> {
    let (brokers, topic) = (held.world.brokers().to_owned(), held.world.target().to_owned());
    let read = tokio::task::spawn_blocking(move || read_to_the_end(&brokers, &topic, Checker::new(2)));
    let checker = read.await.expect("read");
    assert!(checker.wrong().is_empty(), "{:?}", checker.wrong());
    checker.next().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_transaction_that_timed_out_while_the_job_was_down_halts_it_and_nothing_later_is_committed() {
    let (held, open) = killed(("--property", TIMEOUT)).await;
    let timed_out = async || held.pending_that_are(Verdict::Lost).await == open;
    held.world.wait_until("they timed out", timed_out).await;
    let before = visible(&held).await;
    // However often it is started: it halts, and says what happened.
    for _ in 0..2 {
        let ended = held.world.start(&[]).ended().await;
        let id = open[0].transactional_id.as_str();
        ended.assert_error(
            1,
            &["(Expired, Halt)", id, "age_ms=", "timeout_ms=36000", "remedy=", "producer_id="],
        );
        assert_eq!(visible(&held).await, before, "nothing of that epoch or a later one is committed");
    }
    // A sink that hides it goes on, and is found out.
    let mut broken = held.world.start_broken(Defect::HidesLoss);
    broken.wait_until("it is found out", async |_: &Process| !held.world.wrong().is_empty()).await;
    assert!(held.world.wrong()[0].starts_with("lost"), "{:?}", held.world.wrong());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn one_that_an_operator_aborted_by_offset_halts_it_and_nothing_later_is_committed() {
    let (held, open) = killed(("--interval", "10ms")).await;
    let before = visible(&held).await;
    let aborted = &open[0];
    let (_, partition) = aborted.places().next().expect("it has records");
    let producer = support::wire::producer(aborted);
    support::wire::abort_in_partition(held.world.brokers(), producer, held.world.target(), partition);
    let ended = held.world.start(&[]).ended().await;
    ended.assert_error(
        1,
        &["(Expired, Halt)", &aborted.transactional_id, &format!("partition {partition} of"), "remedy="],
    );
    for one in &open {
        let found = held.transactions.examine(one).await.expect("examined");
        let expected = if one == aborted { Verdict::Lost } else { Verdict::Open };
        assert_eq!(found.verdict, expected, "nothing else was touched: {found:?}");
    }
    for one in &open {
        held.transactions.fence(&one.transactional_id).await.expect("tidied up");
    }
    assert_eq!(visible(&held).await, before, "nothing of that epoch or a later one was committed");
}

#[cfg(feature = "cli")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn one_that_was_committed_by_hand_meanwhile_is_fine() {
    let (mut held, _) = killed(("--interval", "10ms")).await;
    let listed = held.log.pending().await.len();
    let log = held.world.place("checkpoints");
    let command = std::process::Command::new(env!("CARGO_BIN_EXE_tidelock-kafka"))
        .args(["transactions", "commit", "--brokers", held.world.brokers(), "--log", &log])
        .output()
        .expect("the command was built");
    let said = String::from_utf8_lossy(&command.stdout);
    assert!(command.status.success(), "{}", String::from_utf8_lossy(&command.stderr));
    assert_eq!(said.matches(": committed").count(), listed, "{said}");
    let next = held.world.start(&[]);
    held.world.finish(next).await;
    assert_eq!(held.log.recoveries().await.with_pending, 1);
}
