//! Transactions that somebody ended while the job was down: what is lost is reported and stops the job, what was committed by
//! hand is fine. The promises of the sink itself are tried in `prepared`.

use std::process::Command;

use tidelock_containers::SqlServer;
use tidelock_processes::{Defect, Fate, Process};
use tidelock_sql::{Mode, SqlCommittable};

use crate::databases;
use crate::held::Held;

/// A job that was killed while a transaction was listed and not committed: that one.
async fn killed(server: &SqlServer) -> (Held, String) {
    let held = Held::new(server, Mode::Prepared).await;
    let mut process = held.world.start_at_work().await;
    held.stop_between_durable_and_committed(&mut process).await;
    process.kill();
    held.release(held.commit(), Fate::Lost);
    let listed = held.world.log().await.pending::<SqlCommittable>().await;
    let prepared = held.world.place.prepared().await;
    let mut open = listed.iter().filter_map(|one| Some(one.transaction()?.to_string()));
    let open = open.find(|name| prepared.contains(name)).expect("one is open");
    (held, open)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn one_that_was_committed_by_hand_while_the_job_was_down_is_fine() {
    for database in databases() {
        let server = SqlServer::shared(database).await.unwrap();
        let (mut held, open) = killed(server).await;
        held.world.place.end_by_hand(&open, "COMMIT").await;
        let last = held.world.start_at_work().await;
        held.world.finish(last).await;
    }
}

#[cfg(feature = "cli")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn those_that_the_tool_committed_while_the_job_was_down_are_fine() {
    for database in databases() {
        let server = SqlServer::shared(database).await.unwrap();
        let (mut held, _) = killed(server).await;
        let command = Command::new(env!("CARGO_BIN_EXE_tidelock-sql"))
            .args(["transactions", "commit", "--log", &held.direct.checkpoints])
            .env("TIDELOCK_SQL_URL", &held.direct.to)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&command.stdout);
        assert!(command.status.success(), "{said}{}", String::from_utf8_lossy(&command.stderr));
        assert_eq!(held.world.listed().await.open, 0, "{said}");
        let last = held.world.start_at_work().await;
        held.world.finish(last).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn one_that_was_rolled_back_by_hand_halts_the_job_and_nothing_later_is_committed() {
    for database in databases() {
        let server = SqlServer::shared(database).await.unwrap();
        let (held, open) = killed(server).await;
        held.world.place.end_by_hand(&open, "ROLLBACK").await;
        let before = held.world.copies("copied").await;
        // However often it is started: it halts, and says what happened.
        for _ in 0..2 {
            let ended = held.world.start().ended().await;
            ended.assert_error(1, &["(Expired, Halt)", &open, "changes=", "remedy="]);
            assert_eq!(held.world.copies("copied").await, before, "nothing of that epoch or a later one");
        }
        // A sink that hides it goes on, and is found out.
        let mut broken = held.world.start_broken(Defect::HidesLoss);
        let found = async |_: &Process| !held.world.reader.wrong().is_empty();
        broken.wait_until("it is found out", found).await;
        assert!(held.world.reader.wrong()[0].starts_with("lost"), "{:?}", held.world.reader.wrong());
    }
}
