//! Killed at exact moments: a proxy holds back the statement that commits or prepares, or its answer.

use tidelock_containers::SqlServer;
use tidelock_processes::{Fate, Process, count};
use tidelock_sql::Mode;

use crate::held::Held;
use crate::wire::Point;
use crate::world::Listed;
use crate::{MODES, databases};

/// Runs a scene on each database, in each mode.
async fn in_each_mode(scene: impl AsyncFn(Held)) {
    for database in databases() {
        for mode in MODES {
            let server = SqlServer::shared(database).await.unwrap();
            println!("{database:?}, {mode:?}");
            Box::pin(scene(Held::new(server, mode).await)).await;
        }
    }
}

/// Killed again and again when it stands at a moment at which its entry lists what is to be committed.
async fn killed_at(stop: impl AsyncFn(&Held, &mut Process), is_there: impl Fn(&Listed) -> bool) {
    in_each_mode(async |mut held| {
        let rounds = count(2, 20);
        for round in 1..=rounds {
            let mut process = held.world.start_at_work().await;
            stop(&held, &mut process).await;
            process.kill();
            let listed = held.world.listed().await;
            assert!(is_there(&listed), "round {round}: {listed:?}");
            held.release(held.commit(), Fate::Lost);
        }
        let last = held.world.start_at_work().await;
        held.world.finish(last).await;
        let recoveries = held.world.log().await.recoveries().await;
        assert_eq!(recoveries.with_pending, rounds, "{recoveries:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn killed_between_durable_and_committed_the_next_run_commits_it() {
    killed_at(Held::stop_between_durable_and_committed, |listed| listed.open > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn killed_between_committed_and_confirmed_the_next_run_doubles_nothing() {
    killed_at(Held::stop_between_committed_and_confirmed, |listed| listed.done > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn killed_between_prepared_and_durable_the_next_run_rolls_it_back() {
    for database in databases() {
        let server = SqlServer::shared(database).await.unwrap();
        let mut held = Held::new(server, Mode::Prepared).await;
        for _ in 0..count(2, 20) {
            let mut process = held.world.start_at_work().await;
            let unlisted = held.stop_between_prepared_and_durable(&mut process).await;
            process.kill();
            held.release(Point::Prepare, Fate::Lost);
            let before = held.world.log().await.position().await;
            let mut next = held.world.start();
            // It looks whether anything of older attempts is prepared.
            held.world.recovered(&mut next, before).await;
            let prepared = held.world.place.prepared().await;
            assert!(!prepared.iter().any(|name| unlisted.contains(name)), "{unlisted:?} in {prepared:?}");
            next.kill();
        }
        let last = held.world.start_at_work().await;
        held.world.finish(last).await;
    }
}

/// What the dead one sent is on its way still, while the next one goes around the proxy.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_commit_that_arrives_after_its_sender_died_changes_nothing() {
    in_each_mode(async |mut held| {
        for _ in 0..count(1, 10) {
            let mut process = held.world.start_at_work().await;
            held.stop_between_durable_and_committed(&mut process).await;
            let before = held.world.log().await.position().await;
            process.kill();
            let mut next = held.world.start_as(&held.direct);
            if held.direct.mode == Mode::Ledger {
                // The dead one's transaction is open: whoever applies the epoch again waits for its end.
                let waits = async |_: &Process| held.world.place.is_waited_for_a_lock().await;
                next.wait_until("it waits for the ledger's row", waits).await;
            } else {
                held.world.recovered(&mut next, before).await;
                held.world.wait_for_rows(&mut next, 1).await;
            }
            assert!(held.is_held(held.commit()));
            held.release(held.commit(), Fate::Delivered);
            held.world.recovered(&mut next, before).await;
            held.world.wait_for_rows(&mut next, 200).await;
            next.kill();
        }
        let last = held.world.start_at_work().await;
        held.world.finish(last).await;
    })
    .await;
}
