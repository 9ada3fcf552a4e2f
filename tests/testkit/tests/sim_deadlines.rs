//! Scenarios of time: targets that keep prepared data for a while only, stores and targets that are slow or
//! never answer, and books that cannot be read.

use std::time::Duration;

use tidelock::log::EntryKind;
use tidelock::{Error, ErrorKind, Retry};
use tidelock_testkit::sim::keeper::Kept;
use tidelock_testkit::sim::plan::JOB;
use tidelock_testkit::sim::points::{Action, Fault, Point};
use tidelock_testkit::sim::scene::{Scene, Told, appended, passes, sure, tell, topic};
use tidelock_testkit::sim::world::{Life, ProcessId, State};

/// Longer than any scenario.
const LONG: u64 = 3_600_000;

fn holds(scenario: impl AsyncFn(&mut Scene) -> Told) {
    assert_eq!(tell(None, scenario), Ok(()));
}

/// How an attempt failed, in all its words.
fn failure(scene: &Scene, process: ProcessId) -> Option<(ErrorKind, Retry, String)> {
    let error = scene.sim.outcome(process).and_then(|outcome| outcome.as_ref().err());
    error.map(|error: &Error| (error.kind(), error.retry(), format!("{error:?}")))
}

fn attempts(scene: &Scene) -> usize {
    scene.sim.world.lock().processes.len()
}

#[test]
fn a_target_that_keeps_prepared_data_too_shortly_is_refused_by_numbers_before_the_claim() {
    holds(async |scene| {
        scene.spec().topics[0].timeout_ms = 1_000;
        scene.spec().config.settings.interval = Duration::from_millis(700);
        scene.spec().config.commit_margin = Duration::from_millis(301);
        // Nobody looks after this attempt: a person does.
        let refused = scene.sim.start(&scene.keeper.spec);
        scene.until("it is refused", |state| state.processes[refused].life == Life::Ended).await?;
        let told = failure(scene, refused);
        let numbers = |text: &str| {
            ["uid=a", "kept_for=1s", "needed=1.001s", "interval=700ms", "commit_margin=301ms"]
                .iter()
                .all(|part| text.contains(part))
        };
        let right = matches!(&told, Some((ErrorKind::Config, Retry::Halt, text)) if numbers(text));
        sure(right, &format!("refused by numbers, and not {told:?}"))?;
        sure(appended(&scene.sim.world.lock(), EntryKind::Claim) == 0, "before the claim")?;
        // The remedies that it names, one after the other.
        scene.spec().config.commit_margin = Duration::from_millis(300);
        scene.start();
        scene.finish().await
    });
}

#[test]
fn settings_that_leave_no_time_to_commit_are_refused_while_the_job_runs() {
    holds(async |scene| {
        scene.spec().topics[0].timeout_ms = 1_000;
        scene.spec().config.commit_margin = Duration::from_millis(200);
        let process = scene.start();
        scene.until("it writes", |state| passes(state, Point::Write) >= 1).await?;
        let control = scene.sim.control(process).ok_or("the job is open")?;
        let mut settings = control.settings();
        settings.interval = Duration::from_millis(801);
        let refused = control.set_settings(settings.clone()).err().map(|error| format!("{error:?}"));
        let told = refused.as_ref().is_some_and(|text| text.contains("needed=1.001s"));
        sure(told, &format!("refused by the same numbers, and not {refused:?}"))?;
        sure(control.settings().interval == Duration::from_millis(20), "nothing was changed")?;
        settings.interval = Duration::from_millis(400);
        sure(control.set_settings(settings).is_ok(), "what fits is taken")?;
        scene.finish().await?;
        sure(attempts(scene) == 1, "the job went on")
    });
}

/// An entry takes so long that the transactions in it would be thrown away before it is durable.
async fn slow_append(scene: &mut Scene, point: Point) -> Told {
    scene.spec().topics[0].timeout_ms = 3_000;
    scene.spec().config.commit_margin = Duration::from_millis(1_000);
    // Committables too large for an entry: they become chunks first.
    scene.spec().topics[0].padding = 17_000;
    scene.fault(Fault::at(point, Action::Delay(4_000)).after(4));
    scene.start();
    let kept = scene.keep().await?;
    sure(kept != Kept::Halted, "no entry lists what was thrown away before it was durable")
}

#[test]
fn an_entry_that_is_stored_slowly_lists_nothing_that_expired_meanwhile() {
    for point in [Point::CreateCheckpoint, Point::WriteChunk] {
        let scenario = async |scene: &mut Scene| slow_append(scene, point).await;
        assert_eq!(tell(None, scenario), Ok(()), "{point:?}");
    }
}

/// Something never answers: the attempt ends, says what, and the next one goes on.
async fn never_answers(scene: &mut Scene, fault: Fault, names: &[&str]) -> Told {
    scene.spec().config.call_timeout = Duration::from_secs(2);
    scene.fault(fault);
    let first = scene.start();
    scene.until("it ends", |state| state.processes[first].life == Life::Ended).await?;
    let told = failure(scene, first);
    let named = |text: &str| names.iter().all(|name| text.contains(name));
    let right = matches!(&told, Some((_, Retry::Restart, text)) if named(text));
    sure(right, &format!("it restarts and names {names:?}, and not {told:?}"))?;
    scene.finish().await
}

#[test]
fn a_call_that_never_answers_is_named_and_restarted() {
    for (point, skip, names) in [
        (Point::Commit, 3, &["commit: no answer in time", "uid=a", "epoch="][..]),
        (Point::RecoveryCommit, 0, &["commit: no answer in time", "uid=a"]),
        (Point::Sweep, 0, &["recover: no answer in time", "uid=a"]),
        (Point::Discover, 0, &["discover: no answer in time", "uid=in"]),
        (Point::Discover, 1, &["discover: no answer in time", "uid=in"]),
        (Point::OpenWriter, 0, &["open: the host did not open"]),
        (Point::Relist, 0, &["list: no answer in time"]),
    ] {
        let scenario = async |scene: &mut Scene| {
            // There is more to be found, so that discovery is asked again.
            scene.partitions(|split, partition| partition.appears = u64::from(split) * 500);
            if point == Point::RecoveryCommit {
                // Something is pending when the attempt in question begins.
                scene.fault(Fault::at(Point::CreateCheckpoint, Action::CrashAfter).after(2));
                let before = scene.start();
                scene.until_dead(before).await?;
            }
            never_answers(scene, Fault::at(point, Action::Delay(LONG)).after(skip), names).await
        };
        assert_eq!(tell(None, scenario), Ok(()), "{point:?} after {skip}");
    }
}

#[test]
fn a_commit_that_hangs_is_named_before_what_another_sink_wrote_is_thrown_away() {
    holds(async |scene| {
        let spec = scene.spec();
        spec.topics.push(topic(JOB, "b"));
        spec.topics[1].timeout_ms = 4_000;
        spec.config.commit_margin = Duration::from_millis(200);
        // One of the two hangs, whichever comes first.
        scene.fault(Fault::at(Point::Commit, Action::Delay(LONG)).after(6));
        let first = scene.start();
        scene.until("it ends", |state| state.processes[first].life == Life::Ended).await?;
        let told = failure(scene, first);
        let named = matches!(&told, Some((ErrorKind::Unavailable, Retry::Restart, text)) if text.contains("commit: no answer"));
        sure(named, &format!("the commit is named, and not {told:?}"))?;
        scene.finish().await
    });
}

/// Nothing waits for it: all sinks commit side by side, and none has written yet. Given up as early as while the job
/// runs, it would be given up by each attempt anew.
#[test]
fn a_commit_of_recovery_may_take_longer_than_another_sink_keeps_what_it_writes() {
    holds(async |scene| {
        let spec = scene.spec();
        spec.topics.push(topic(JOB, "b"));
        spec.topics[1].timeout_ms = 4_000;
        spec.config.commit_margin = Duration::from_millis(200);
        scene.fault(Fault::at(Point::CreateCheckpoint, Action::CrashAfter).after(2));
        let before = scene.start();
        scene.until_dead(before).await?;
        scene.fault(Fault::at(Point::RecoveryCommit, Action::Delay(10_000)));
        scene.start();
        scene.finish().await?;
        sure(attempts(scene) == 2, "the attempt that recovers waits")
    });
}

#[test]
fn what_nothing_depends_on_may_hang_without_harm_and_is_asked_again() {
    holds(async |scene| {
        scene.partitions(|_, partition| partition.gap = 80);
        scene.spec().config.call_timeout = Duration::from_secs(1);
        scene.fault(Fault::at(Point::Acknowledge, Action::Delay(LONG)));
        scene.start();
        scene.until("positions are exported again", |state| passes(state, Point::Acknowledge) >= 2).await?;
        scene.finish().await?;
        sure(attempts(scene) == 1, "the same attempt went on")
    });
    holds(async |scene| {
        scene.spec().config.sweep_interval = Duration::from_millis(50);
        scene.fault(Fault::at(Point::Sweep, Action::Delay(LONG)).after(1));
        scene.start();
        scene.finish().await?;
        // That of recovery, the one that hangs, and that of the end.
        sure(passes(&scene.sim.world.lock(), Point::Sweep) == 3, "no sweep begins while the last one runs")
    });
}

#[test]
fn books_that_could_not_be_loaded_are_loaded_later_and_the_log_is_pruned() {
    holds(async |scene| {
        scene.partitions(|_, partition| partition.gap = 80);
        // The first list is the one after the claim; then the books are tried, in vain for two times.
        for _ in 0..2 {
            scene.fault(Fault::at(Point::Relist, Action::LoseReply).after(1));
        }
        scene.start();
        let pruned = |state: &State| state.objects.entries("jobs/job").any(|fact| fact.deleted.is_some());
        scene.until("old entries are deleted", pruned).await?;
        scene.finish().await?;
        sure(attempts(scene) == 1, "the same attempt went on")?;
        let state = scene.sim.world.lock();
        let left = state.objects.entries("jobs/job").filter(|fact| fact.deleted.is_none()).count();
        sure(left < 10, &format!("nothing older than is retained is left, and not {left} entries"))
    });
}
