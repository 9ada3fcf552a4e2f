//! Scenarios of attempts: who owns the job, what zombies may do, how a job goes back and is forked.

use std::time::Duration;

use tidelock::job::{OnCancel, StartFrom};
use tidelock::log::{Closed, EntryKind};
use tidelock_testkit::sim::doubles::Double;
use tidelock_testkit::sim::drive::Came;
use tidelock_testkit::sim::input::StartAt;
use tidelock_testkit::sim::keeper::Keeper;
use tidelock_testkit::sim::plan::JOB;
use tidelock_testkit::sim::points::{Action, Fault, Point};
use tidelock_testkit::sim::scene::{
    Scene, Told, appended, is_pending, passes, plain_spec, reached, sure, table, tell,
};
use tidelock_testkit::sim::world::{Life, State};

/// Longer than any scenario: until somebody wakes it.
const LONG: u64 = 3_600_000;

fn holds(scenario: impl AsyncFn(&mut Scene) -> Told) {
    assert_eq!(tell(None, scenario), Ok(()));
}

fn fails(double: Double, scenario: impl AsyncFn(&mut Scene) -> Told) {
    assert!(tell(Some(double), scenario).is_err(), "{double:?} is not found");
}

async fn slow_starter(scene: &mut Scene) -> Told {
    scene.fault(Fault::at(Point::OpenWriter, Action::PauseBefore(LONG)));
    let old = scene.start();
    scene.until_paused(old).await?;
    scene.start();
    scene.until("the newer one has prepared something", is_pending).await?;
    scene.wake(old);
    scene.until_fenced(old).await?;
    scene.finish().await
}

#[test]
fn an_older_attempt_slow_at_start_up_aborts_nothing_that_a_newer_one_prepared() {
    holds(slow_starter);
    fails(Double::SinkNamesWithoutAttempt, slow_starter);
}

async fn woken_after_fifty_epochs(scene: &mut Scene, point: Point, action: Action) -> Told {
    scene.spec().config.retained = 1;
    scene.spec().config.settings.interval = Duration::from_millis(8);
    scene.fault(Fault::at(point, action).after(5));
    let old = scene.start();
    scene.until_paused(old).await?;
    let before = appended(&scene.sim.world.lock(), EntryKind::Checkpoint);
    scene.start();
    let fifty_more = |state: &_| appended(state, EntryKind::Checkpoint) >= before + 50;
    scene.until("fifty epochs", fifty_more).await?;
    scene.wake(old);
    // A target may refuse it before the log does: it is fenced all the same, and says so.
    scene.until_fenced(old).await?;
    scene.finish().await
}

/// A target that refuses nobody: only the log tells a zombie that it is one.
async fn woken_beside_a_table(scene: &mut Scene, point: Point, action: Action) -> Told {
    scene.spec().topics.clear();
    scene.spec().tables = vec![table(JOB, "rows")];
    woken_after_fifty_epochs(scene, point, action).await
}

#[test]
fn an_attempt_woken_after_fifty_epochs_of_a_newer_one_changes_nothing() {
    for point in [Point::CreateCheckpoint, Point::NewsReport, Point::Commit, Point::Prepare] {
        for action in [Action::PauseBefore(LONG), Action::PauseAfter(LONG)] {
            let scenario = async |scene: &mut Scene| woken_after_fifty_epochs(scene, point, action).await;
            assert_eq!(tell(None, scenario), Ok(()), "{point:?}, {action:?}");
        }
    }
    for point in [Point::CreateCheckpoint, Point::NewsReport, Point::Commit] {
        for action in [Action::PauseBefore(LONG), Action::PauseAfter(LONG)] {
            let scenario = async |scene: &mut Scene| woken_beside_a_table(scene, point, action).await;
            assert_eq!(tell(None, scenario), Ok(()), "{point:?}, {action:?}, beside a table");
        }
    }
    fails(Double::StoreForgetsClaims, async |scene| {
        woken_beside_a_table(scene, Point::CreateCheckpoint, Action::PauseBefore(LONG)).await
    });
}

/// An older attempt whose prepared data a newer one swept, and whose target says so before the log can.
async fn refused_by_its_target(scene: &mut Scene, log: Action) -> Told {
    // In its first epoch: it appends nothing that the log could refuse.
    scene.fault(Fault::at(Point::Prepare, Action::PauseBefore(LONG)));
    let old = scene.start();
    scene.until_paused(old).await?;
    scene.start();
    scene.until("the newer one has prepared something", is_pending).await?;
    scene.fault(Fault::at(Point::Relist, log).of(old));
    scene.wake(old);
    scene.until_failed(old).await?;
    let outcome = scene.sim.outcome(old).and_then(|outcome| outcome.as_ref().err());
    let told = outcome.map(|error| format!("{error:?}")).unwrap_or_default();
    sure(
        told.contains("uid=a") && !told.contains("Fenced"),
        &format!("the target's refusal, and not {told}"),
    )?;
    scene.finish().await
}

#[test]
fn what_a_target_refused_is_not_masked_or_held_up_where_the_log_cannot_be_read() {
    for log in [Action::LoseRequest, Action::LoseReply, Action::Delay(LONG)] {
        assert_eq!(tell(None, async |scene: &mut Scene| refused_by_its_target(scene, log).await), Ok(()));
    }
}

#[test]
fn a_rollback_while_the_old_attempt_still_runs_shows_each_history_once() {
    holds(async |scene| {
        scene.spec().config.retained = 1000;
        scene.spec().tables = vec![table(JOB, "rows")];
        let old = scene.start();
        scene.until("ten epochs", |state| appended(state, EntryKind::Checkpoint) >= 10).await?;
        scene.roll_back_to_the_start();
        scene.start();
        scene.until_fenced(old).await?;
        scene.finish().await?;
        sure(scene.lineages() == 2, "two histories")
    });
}

#[test]
fn a_rollback_to_what_the_old_attempt_pruned_meanwhile_is_refused_before_it_claims() {
    holds(async |scene| {
        // Positions that are stored in chunks: an entry without its chunks cannot be restored.
        scene.partitions(|_, partition| partition.ballast = 9_000);
        let old = scene.start();
        scene.until("an epoch", |state| appended(state, EntryKind::Checkpoint) >= 1).await?;
        scene.roll_back_to_the_start();
        // It opened the job and found the snapshot whole; it looks once more before it claims.
        scene.fault(Fault::at(Point::Look, Action::PauseBefore(LONG)).after(1));
        let back = scene.start();
        scene.until_paused(back).await?;
        let pruned = |state: &State| state.objects.entries("jobs/job").any(|fact| fact.deleted.is_some());
        scene.until("the old one prunes", pruned).await?;
        scene.until("ten epochs", |state| appended(state, EntryKind::Checkpoint) >= 10).await?;
        scene.wake(back);
        scene.until_failed(back).await?;
        let refused = format!("{:?}", scene.sim.outcome(back));
        sure(refused.contains("was pruned") && refused.contains("snapshot=job#2"), &refused)?;
        scene.finish().await?;
        let claims = appended(&scene.sim.world.lock(), EntryKind::Claim);
        sure(claims == 1 && scene.lineages() == 1, "the old attempt went on as if nothing had been")?;
        sure(scene.sim.outcome(old).is_some_and(Result::is_ok), "to its end")
    });
}

async fn asked_again_after_every_crash(scene: &mut Scene) -> Told {
    scene.spec().config.retained = 1000;
    let first = scene.start();
    scene.until("ten epochs", |state| appended(state, EntryKind::Checkpoint) >= 10).await?;
    scene.kill(first);
    scene.roll_back_to_the_start();
    for (point, action, skip) in [
        (Point::CreateStart, Action::CrashBefore, 0),
        (Point::CreateStart, Action::CrashAfter, 0),
        (Point::CreateStart, Action::CrashAfter, 0),
        (Point::CreateCheckpoint, Action::CrashAfter, 5),
        (Point::Commit, Action::CrashBefore, 5),
    ] {
        scene.fault(Fault::at(point, action).after(skip));
        let process = scene.start();
        scene.until_dead(process).await?;
    }
    scene.finish().await?;
    let obeyed = scene.entries().last().map_or(0, |entry| entry.obeyed.len());
    sure(obeyed == 1 && scene.lineages() == 2, "it went back once")
}

#[test]
fn a_rollback_asked_for_again_after_every_crash_is_obeyed_once() {
    holds(asked_again_after_every_crash);
}

/// Takes a savepoint of the running job, and starts other jobs from it.
async fn fork(scene: &mut Scene, names: &[&str]) -> Told {
    let first = scene.start();
    scene.until("ten epochs", |state| appended(state, EntryKind::Checkpoint) >= 10).await?;
    let control = scene.sim.control(first).ok_or("the job is open")?;
    let taken = scene.sim.during(30_000, async { control.savepoint("savepoints/1").await }).await?;
    sure(matches!(taken, Came::To(Ok(_))), &format!("a savepoint, and not {taken:?}"))?;
    let files = scene.sim.world.lock().objects.names("savepoints/1");
    let mut forks = Vec::new();
    for name in names {
        let mut spec = plain_spec(name);
        spec.config.start_from = StartFrom::Snapshot { url: "savepoints/1".to_owned(), request: None };
        forks.push(Keeper::new(spec));
    }
    for fork in &mut forks {
        fork.start(&mut scene.sim);
    }
    scene.finish().await?;
    let one_attempt = scene.entries().iter().filter(|entry| entry.kind == EntryKind::Claim).count() == 1;
    sure(one_attempt && scene.lineages() == 1, "the first job was not touched")?;
    for fork in forks {
        scene.keeper = fork;
        scene.finish().await?;
    }
    sure(scene.sim.world.lock().objects.names("savepoints/1") == files, "the savepoint was not touched")
}

#[test]
fn a_fork_from_a_running_job_leaves_it_alone() {
    holds(async |scene| fork(scene, &["fork"]).await);
}

#[test]
fn one_savepoint_is_restored_twice() {
    holds(async |scene| fork(scene, &["left", "right"]).await);
}

#[test]
fn rescaling_commits_what_other_writers_had_pending() {
    let rescale = async |scene: &mut Scene| {
        for (tasks, next) in [(3, 1), (1, 2)] {
            scene.spec().tasks = tasks;
            scene.fault(Fault::at(Point::CreateCheckpoint, Action::CrashAfter).after(5));
            let process = scene.start();
            scene.until_dead(process).await?;
            sure(is_pending(&scene.sim.world.lock()), "something is pending")?;
            scene.spec().tasks = next;
        }
        scene.start();
        scene.finish().await?;
        sure(passes(&scene.sim.world.lock(), Point::RecoveryCommit) >= 3, "recovery committed")
    };
    holds(rescale);
    fails(Double::SinkForgetsPending, rescale);
}

#[test]
fn a_garbage_collection_paused_in_the_middle_deletes_nothing_that_is_needed() {
    holds(async |scene| {
        scene.partitions(|_, partition| partition.ballast = 9_000);
        scene.spec().config.retained = 1;
        scene.fault(Fault::at(Point::Prune, Action::PauseBefore(LONG)).after(6));
        let old = scene.start();
        scene.until_paused(old).await?;
        let newer = scene.start();
        let prunes = passes(&scene.sim.world.lock(), Point::Prune);
        scene.until("the newer one prunes", |state| passes(state, Point::Prune) > prunes + 4).await?;
        scene.wake(old);
        scene.until_failed(old).await?;
        // What stands can still be restored.
        scene.kill(newer);
        let reads = passes(&scene.sim.world.lock(), Point::ReadChunk);
        scene.start();
        scene.finish().await?;
        sure(passes(&scene.sim.world.lock(), Point::ReadChunk) > reads, "chunks were read")
    });
}

#[test]
fn a_cancellation_with_delete_by_a_fenced_attempt_deletes_nothing() {
    holds(async |scene| {
        scene.spec().config.on_cancel = OnCancel::Delete;
        scene.fault(Fault::at(Point::CreateCheckpoint, Action::PauseBefore(LONG)).after(5));
        let old = scene.start();
        scene.until_paused(old).await?;
        let before = appended(&scene.sim.world.lock(), EntryKind::Checkpoint);
        scene.start();
        let five_more = |state: &_| appended(state, EntryKind::Checkpoint) >= before + 5;
        scene.until("five epochs", five_more).await?;
        let control = scene.sim.control(old).ok_or("the job is open")?;
        scene.sim.during(1_000, async { control.cancel().await }).await?;
        scene.wake(old);
        scene.until_fenced(old).await?;
        let closed = |entry: &tidelock::log::Entry| matches!(entry.kind, EntryKind::Closed(_));
        sure(!scene.entries().iter().any(|entry| closed(entry)), "nothing is closed yet")?;
        scene.finish().await
    });
}

/// What somebody has begun in the target and not ended.
fn is_open(state: &State) -> bool {
    state.topics.values().any(|topic| !topic.open().is_empty())
}

/// An attempt that is cancelled in the middle of an epoch: much is written in it, and nothing prepared.
async fn cancelled_while_it_writes(scene: &mut Scene) -> Result<usize, String> {
    scene.spec().config.settings.interval = Duration::from_millis(200);
    let first = scene.start();
    scene.until("an epoch", |state| appended(state, EntryKind::Checkpoint) >= 1).await?;
    scene.sim.pass(100).await?;
    sure(is_open(&scene.sim.world.lock()), "something is written")?;
    let control = scene.sim.control(first).ok_or("the job is open")?;
    scene.sim.during(1_000, async { control.cancel().await }).await?;
    Ok(first)
}

#[test]
fn what_a_cancelled_job_had_begun_is_aborted_at_its_end() {
    let cancelled = async |scene: &mut Scene| {
        let first = cancelled_while_it_writes(scene).await?;
        scene.until("the job is over", |state| state.processes[first].life == Life::Ended).await?;
        sure(scene.sim.outcome(first).is_some_and(Result::is_ok), "it is cancelled")?;
        sure(!is_open(&scene.sim.world.lock()), "nobody is left to abort what it had begun")?;
        scene.start();
        scene.until("the next one has prepared something", is_pending).await?;
        scene.finish().await
    };
    holds(cancelled);
    fails(Double::HostTidiesNothing, cancelled);
}

/// The next attempt runs while the one that was cancelled before still tidies, or dies in it.
async fn tidies_late(scene: &mut Scene, point: Point, action: Action) -> Told {
    scene.fault(Fault::at(point, action).after(if point == Point::Sweep { 1 } else { 0 }));
    let first = cancelled_while_it_writes(scene).await?;
    let dies = matches!(action, Action::CrashBefore | Action::CrashAfter);
    match dies {
        true => scene.until_dead(first).await?,
        false => scene.until_paused(first).await?,
    }
    sure(appended(&scene.sim.world.lock(), EntryKind::Closed(Closed::Cancelled)) == 1, "the job is closed")?;
    scene.start();
    scene.until("the next one has prepared something", is_pending).await?;
    if !dies {
        scene.wake(first);
    }
    scene.finish().await?;
    let claims = appended(&scene.sim.world.lock(), EntryKind::Claim);
    sure(claims == 2, &format!("the next one was not disturbed: {claims} claims"))?;
    sure(!is_open(&scene.sim.world.lock()), "nothing is left")
}

#[test]
fn whoever_tidies_late_aborts_nothing_of_a_newer_attempt() {
    for point in [Point::Sweep, Point::SweepAbort] {
        for action in
            [Action::PauseBefore(LONG), Action::PauseAfter(LONG), Action::CrashBefore, Action::CrashAfter]
        {
            let scenario = async |scene: &mut Scene| tidies_late(scene, point, action).await;
            assert_eq!(tell(None, scenario), Ok(()), "{point:?}, {action:?}");
        }
    }
    let paused = Action::PauseBefore(LONG);
    fails(Double::SinkSweepsNewer, async |scene| tidies_late(scene, Point::Sweep, paused).await);
    fails(Double::HostTidiesAsTheNewest, async |scene| tidies_late(scene, Point::Sweep, paused).await);
}

#[test]
fn two_processes_started_at_once_on_an_empty_store_do_the_work_once() {
    let twins = async |scene: &mut Scene| {
        scene.start();
        scene.start();
        scene.finish().await?;
        let claims = appended(&scene.sim.world.lock(), EntryKind::Claim);
        sure(claims >= 1 && scene.lineages() == 1, "one history")
    };
    holds(twins);
    fails(Double::StoreAcceptsSecondCreate, twins);
}

async fn latest(scene: &mut Scene, action: Action) -> Told {
    scene.partitions(|split, partition| {
        partition.at_once = 20;
        partition.appears = if split == 2 { 600 } else { 0 };
    });
    scene.spec().start = StartAt::Latest;
    scene.fault(Fault::at(Point::CreateStart, action));
    let first = scene.start();
    scene.until_dead(first).await?;
    // Records arrive meanwhile: whoever decides again decides otherwise.
    scene.sim.pass(300).await?;
    scene.start();
    scene.finish().await
}

#[test]
fn a_crash_before_the_first_entry_of_a_job_that_starts_at_latest_decides_once() {
    for action in [Action::CrashBefore, Action::CrashAfter] {
        holds(async |scene| latest(scene, action).await);
        fails(Double::SourceStartsAtLatestAgain, async |scene| latest(scene, action).await);
    }
}

#[test]
fn a_job_that_fails_between_looking_and_claiming_changed_nothing() {
    holds(async |scene| {
        scene.fault(Fault::at(Point::CreateClaim, Action::CrashBefore));
        let first = scene.start();
        scene.until_dead(first).await?;
        sure(scene.entries().is_empty(), "the log is empty")?;
        // Another one looked, and finds its place taken when it claims.
        scene.fault(Fault::at(Point::CreateClaim, Action::PauseBefore(LONG)));
        let slow = scene.start();
        scene.until_paused(slow).await?;
        scene.start();
        scene.until("ten epochs", |state| appended(state, EntryKind::Checkpoint) >= 10).await?;
        scene.wake(slow);
        scene.finish().await
    });
}

#[test]
fn a_claim_in_a_gap_that_pruning_left_is_made_again_from_the_newest_entry() {
    holds(async |scene| {
        scene.spec().config.retained = 1;
        let first = scene.start();
        scene.until("ten epochs", |state| appended(state, EntryKind::Checkpoint) >= 10).await?;
        // It looked, and is slow to claim: its position is taken meanwhile, and pruned.
        scene.fault(Fault::at(Point::CreateClaim, Action::PauseBefore(LONG)));
        let slow = scene.start();
        scene.until_paused(slow).await?;
        scene.until("ten more", |state| appended(state, EntryKind::Checkpoint) >= 20).await?;
        // The claim that counts is all that it leaves: the next attempt restores it.
        scene.fault(Fault::at(Point::CreateClaim, Action::CrashAfter));
        scene.wake(slow);
        scene.until_dead(slow).await?;
        scene.until_failed(first).await?;
        let in_gap = |state: &_| reached(state, "an entry was created in a gap that pruning left");
        sure(in_gap(&scene.sim.world.lock()), "the first claim stood in a gap")?;
        scene.finish().await
    });
}
