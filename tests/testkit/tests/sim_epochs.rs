//! Scenarios of epochs: appends, commits, failures and deadlines within an attempt and across a crash.

use std::time::Duration;

use tidelock::log::{Entry, EntryKind};
use tidelock::{ErrorKind, Retry};
use tidelock_testkit::sim::doubles::Double;
use tidelock_testkit::sim::drive::Came;
use tidelock_testkit::sim::keeper::Kept;
use tidelock_testkit::sim::plan::JOB;
use tidelock_testkit::sim::points::{Action, Fault, Point};
use tidelock_testkit::sim::scene::{Scene, Told, appended, passes, sure, table, tell, topic};
use tidelock_testkit::sim::store::CREATES;
use tidelock_testkit::sim::world::{Life, State};

fn holds(scenario: impl AsyncFn(&mut Scene) -> Told) {
    assert_eq!(tell(None, scenario), Ok(()));
}

fn fails(double: Double, scenario: impl AsyncFn(&mut Scene) -> Told) {
    assert!(tell(Some(double), scenario).is_err(), "{double:?} is not found");
}

fn attempts(scene: &Scene) -> usize {
    scene.sim.world.lock().processes.len()
}

/// Writers with one slot wait for a confirmation while checkpoints are stored slowly.
async fn two_appends_wanted(scene: &mut Scene) -> Told {
    scene.spec().topics[0].slots = 1;
    for skip in [2, 4, 6] {
        scene.fault(Fault::at(Point::CreateCheckpoint, Action::Delay(300)).after(skip));
    }
    scene.start();
    scene.finish().await?;
    let state = scene.sim.world.lock();
    sure(passes(&state, Point::NewsNoFreePlace) > 0, "a writer had no free place")?;
    sure(appended(&state, EntryKind::Confirmation) > 0, "a confirmation was appended")
}

#[test]
fn two_appends_wanted_at_once_are_asked_for_one_after_the_other() {
    holds(two_appends_wanted);
}

async fn lost_reply(scene: &mut Scene, point: Point, action: Action) -> Told {
    // One slot, so that confirmations are wanted too.
    scene.spec().topics[0].slots = 1;
    scene.fault(Fault::at(point, action));
    scene.start();
    scene.finish().await?;
    let state = scene.sim.world.lock();
    sure(passes(&state, Point::ReadBack) > 0, "the position was read back")?;
    drop(state);
    sure(attempts(scene) == 1, "the same attempt went on")
}

#[test]
fn a_create_whose_reply_was_lost_is_found_to_be_ours() {
    for point in CREATES {
        for action in [Action::LoseReply, Action::LoseRequest, Action::Twice, Action::Late(2_000)] {
            let scenario = async |scene: &mut Scene| lost_reply(scene, point, action).await;
            assert_eq!(tell(None, scenario), Ok(()), "{point:?}, {action:?}");
        }
    }
    fails(Double::StoreLosesWhatItAcknowledged, async |scene| {
        lost_reply(scene, Point::CreateCheckpoint, Action::LoseReply).await
    });
}

fn lists_two_epochs(entry: &Entry) -> bool {
    let pending = entry.state.iter().flat_map(|state| state.sinks.values().flatten());
    let mut epochs: Vec<_> = pending.map(|pending| pending.epoch).collect();
    epochs.dedup();
    epochs.len() >= 2
}

async fn failed_then_good(scene: &mut Scene, point: Point) -> Told {
    scene.spec().config.settings.interval = Duration::from_millis(60);
    scene.spec().config.settings.timeout = Duration::from_millis(100);
    scene.fault(Fault::at(point, Action::Delay(150)).after(5));
    scene.start();
    scene.finish().await?;
    sure(attempts(scene) == 1, "the same attempt went on")?;
    let both = scene.entries().iter().any(|entry| lists_two_epochs(entry));
    sure(both, "one entry lists what the failed one had, too")
}

#[test]
fn a_checkpoint_that_timed_out_is_covered_by_the_next_good_one() {
    for point in [Point::NewsReport, Point::CreateCheckpoint] {
        let scenario = async |scene: &mut Scene| failed_then_good(scene, point).await;
        assert_eq!(tell(None, scenario), Ok(()), "{point:?}");
    }
    fails(Double::HostForgetsCommittables, async |scene| failed_then_good(scene, Point::NewsReport).await);
}

/// An entry lists what the target throws away while the job is down.
async fn thrown_away(scene: &mut Scene) -> Told {
    scene.spec().topics[0].timeout_ms = 1_000;
    scene.spec().config.commit_margin = Duration::from_millis(100);
    scene.fault(Fault::at(Point::CreateCheckpoint, Action::CrashAfter).after(4));
    let first = scene.start();
    scene.until_dead(first).await?;
    scene.sim.pass(5_000).await?;
    let visible = |state: &State| state.topics.values().map(|topic| topic.visible().len()).sum::<usize>();
    let before = visible(&scene.sim.world.lock());
    scene.start();
    let kept = scene.keep().await?;
    sure(kept == Kept::Halted, &format!("halted, and not {kept:?}"))?;
    sure(visible(&scene.sim.world.lock()) == before, "nothing else of the epoch was committed")
}

#[test]
fn data_past_its_deadline_while_the_job_was_down_halts_it() {
    holds(thrown_away);
    fails(Double::SinkSkipsExpired, thrown_away);
}

#[test]
fn data_too_near_to_its_deadline_is_written_again() {
    holds(async |scene| {
        scene.spec().topics[0].timeout_ms = 600;
        scene.spec().config.commit_margin = Duration::from_millis(400);
        scene.fault(Fault::at(Point::NewsReport, Action::Delay(350)).after(6));
        let first = scene.start();
        scene.finish().await?;
        let error = scene.sim.outcome(first).and_then(|outcome| outcome.as_ref().err());
        let again =
            error.is_some_and(|error| (error.kind(), error.retry()) == (ErrorKind::Expired, Retry::Restart));
        sure(again, &format!("it restarted before anything was lost, and not {error:?}"))
    });
}

/// The target throws away the first half of an epoch while its writer stands still.
async fn torn_epoch(scene: &mut Scene) -> Told {
    scene.spec().topics[0].timeout_ms = 3_000;
    scene.spec().config.commit_margin = Duration::from_millis(100);
    // No barrier comes between the halves.
    scene.spec().config.settings.interval = Duration::from_millis(2_500);
    scene.fault(Fault::at(Point::OrderBarrier, Action::Delay(1_000)));
    scene.fault(Fault::at(Point::Write, Action::PauseAfter(4_000)).after(6));
    let first = scene.start();
    scene.until("it ends", |state| state.processes[first].life == Life::Ended).await?;
    scene.finish().await?;
    let error = scene.sim.outcome(first).and_then(|outcome| outcome.as_ref().err());
    let again = error.is_some_and(|error| error.retry() == Retry::Restart);
    sure(again, &format!("the epoch was written again, and not {error:?}"))
}

#[test]
fn an_epoch_of_which_the_target_threw_a_part_away_is_written_again_whole() {
    holds(torn_epoch);
    fails(Double::SinkWritesOnInATornEpoch, torn_epoch);
}

async fn one_of_two_lost(scene: &mut Scene, action: Action) -> Told {
    scene.spec().topics.push(topic(JOB, "b"));
    scene.fault(Fault::at(Point::Commit, action).after(5));
    scene.start();
    scene.finish().await
}

#[test]
fn one_of_two_sinks_commits_lost_is_committed_again() {
    for action in [Action::LoseRequest, Action::LoseReply, Action::Late(3_000), Action::CrashBefore] {
        let scenario = async |scene: &mut Scene| one_of_two_lost(scene, action).await;
        assert_eq!(tell(None, scenario), Ok(()), "{action:?}");
    }
    fails(Double::SinkForgetsPending, async |scene| one_of_two_lost(scene, Action::CrashBefore).await);
    fails(Double::SinkIgnoresReinit, async |scene| {
        scene.spec().topics[0].slots = 2;
        one_of_two_lost(scene, Action::Echo(45)).await
    });
}

#[test]
fn a_committable_in_a_chunk_that_cannot_be_read_at_once_is_read_again() {
    for (point, reads) in [(Point::CreateCheckpoint, 2), (Point::Commit, 4)] {
        let scenario = async |scene: &mut Scene| {
            // Committables too large for an entry: commit and recovery read them back.
            scene.spec().topics[0].padding = 17_000;
            scene.fault(Fault::at(point, Action::CrashAfter).after(5));
            for skip in 0..reads {
                scene.fault(Fault::at(Point::ReadChunk, Action::LoseReply).after(skip));
            }
            let first = scene.start();
            scene.until("it crashes", |state| state.processes[first].life == Life::Dead).await?;
            scene.start();
            scene.finish().await?;
            sure(attempts(scene) == 2, "no attempt ended because of a read")
        };
        assert_eq!(tell(None, scenario), Ok(()), "{point:?}");
    }
}

async fn late_commit(scene: &mut Scene) -> Told {
    scene.spec().topics.clear();
    scene.spec().tables = vec![table(JOB, "rows")];
    scene.fault(Fault::at(Point::Commit, Action::Late(700)).after(5));
    scene.start();
    scene.finish().await?;
    let state = scene.sim.world.lock();
    let late = state.hits.states.get("a commit arrived after a later epoch's");
    sure(late.is_some(), "the commit arrived after a later one")
}

#[test]
fn a_commit_that_arrives_after_the_next_ones_changes_nothing() {
    holds(late_commit);
    fails(Double::TableIgnoresVersions, late_commit);
}

#[test]
fn a_writer_without_a_free_place_goes_on_though_the_next_checkpoint_fails() {
    for point in [Point::CreateCheckpoint, Point::NewsReport, Point::Commit] {
        let scenario = async |scene: &mut Scene| {
            scene.spec().topics[0].slots = 1;
            scene.spec().config.epochs_in_flight_max = 2;
            scene.spec().config.settings.timeout = Duration::from_millis(100);
            scene.fault(Fault::at(point, Action::Delay(400)).after(3));
            scene.start();
            scene.finish().await?;
            sure(passes(&scene.sim.world.lock(), Point::NewsNoFreePlace) > 0, "a writer had no free place")
        };
        assert_eq!(tell(None, scenario), Ok(()), "{point:?}");
    }
    fails(Double::HostDropsWhatWasGivenBack, async |scene| {
        scene.spec().topics[0].slots = 1;
        scene.start();
        scene.finish().await
    });
}

#[test]
fn the_last_epoch_of_an_idle_job_is_settled_without_another_checkpoint() {
    holds(async |scene| {
        scene.partitions(|split, partition| {
            partition.at_once = partition.records;
            partition.appears = if split == 0 { 0 } else { 60_000 };
        });
        scene.spec().config.settings.interval = Duration::from_secs(600);
        let process = scene.start();
        scene.until("it reads", |state| passes(state, Point::Write) >= 1).await?;
        let control = scene.sim.control(process).ok_or("the job is open")?;
        let taken = scene.sim.during(10_000, async { control.checkpoint().await }).await?;
        sure(matches!(taken, Came::To(Ok(_))), "a checkpoint")?;
        let settled = scene.sim.until(10_000, |state| {
            passes(state, Point::OrderSettled) > 0 && appended(state, EntryKind::Confirmation) > 0
        });
        sure(settled.await? == Came::To(()), "settled while nothing happens")?;
        sure(appended(&scene.sim.world.lock(), EntryKind::Checkpoint) == 1, "without another checkpoint")
    });
}
