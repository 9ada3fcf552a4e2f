//! Stopped, continued with other workers, rolled back, forked.

use std::collections::BTreeSet;

use flights::answer::{self, Row};
use rustix::process::Signal;
use tidelock_e2e::{Watcher, World};

fn path(world: &World, name: &str) -> String {
    world.path(name).to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_stopped_job_goes_on_and_says_when_there_is_nothing_left() {
    let world = World::new();
    let watcher = Watcher::start(world.out());
    let mut first = world.start(&["--rate", "9000"]);
    first.wait_for_flights(9_000);
    first.signal(Signal::TERM);
    first.ended().assert_success();
    let mut second = world.start(&["--rate", "0"]);
    second.ended().assert_success();
    assert!(second.restored_epoch().is_some());
    world.assert_exact();
    let mut third = world.start(&[]);
    let ended = third.ended();
    ended.assert_success();
    assert_eq!(ended.flights, 0);
    world.assert_exact();
    watcher.assert_nothing_changed();
}

#[test]
fn stopped_with_a_savepoint_under_one_worker_continued_under_two_and_back_to_one() {
    let world = World::with_files(4);
    let watcher = Watcher::start(world.out());
    let (first, second) = (path(&world, "first"), path(&world, "second"));
    let mut job = world.start(&["--workers", "1", "--savepoint", &first]);
    job.wait_for_flights(8_000);
    job.signal(Signal::TERM);
    job.ended().assert_success();
    let mut job = world.start(&["--workers", "2", "--from-savepoint", &first, "--savepoint", &second]);
    job.wait_for_flights(8_000);
    job.signal(Signal::INT);
    job.ended().assert_success();
    let mut job = world.start(&["--workers", "1", "--from-savepoint", &second]);
    job.ended().assert_success();
    watcher.assert_nothing_changed();
    world.assert_exact();
}

#[test]
fn a_rollback_replays_once_however_often_it_is_asked_for() {
    let world = World::new();
    let watcher = Watcher::start(world.out());
    let savepoint = path(&world, "savepoint");
    let mut job = world.start(&["--savepoint", &savepoint]);
    job.wait_for_flights(6_000);
    let before: BTreeSet<Row> = world.visible().into_iter().collect();
    job.signal(Signal::USR1);
    job.wait_for_note("savepoint of");
    job.wait_for_flights(14_000);
    job.kill();

    // The rollback, which is killed, and asked for again by a supervisor that repeats its arguments.
    let options = ["--from-savepoint", &savepoint];
    let mut job = world.start(&options);
    let rolled_back_to = job.restored_epoch();
    job.wait_for_flights(3_000);
    job.kill();
    let mut job = world.start(&options);
    job.ended().assert_success();
    assert!(job.restored_epoch() > rolled_back_to, "the second request went back again");
    watcher.assert_nothing_changed();

    let difference = world.difference();
    assert!(difference.missing.is_empty() && difference.wrong.is_empty(), "{difference:?}");
    assert!(!difference.double.is_empty(), "what was visible after the savepoint is written again");
    let twice: BTreeSet<Row> = difference.double.iter().cloned().collect();
    assert_eq!(twice.len(), difference.double.len(), "a row is there three times");
    assert!(twice.is_disjoint(&before), "a row from before the savepoint is written again");
}

/// What the docs say to do where each row has to be there once.
#[test]
fn a_rollback_into_the_folder_as_it_was_at_the_savepoint_has_each_row_once() {
    let world = World::new();
    let savepoint = path(&world, "savepoint");
    let mut job = world.start(&["--savepoint", &savepoint]);
    job.wait_for_flights(8_000);
    job.signal(Signal::TERM);
    job.ended().assert_success();
    std::fs::create_dir(world.path("kept")).expect("a folder");
    for file in answer::result_files(&world.out()).expect("the rows") {
        std::fs::copy(&file, world.path("kept").join(file.file_name().expect("a name"))).expect("a copy");
    }
    world.start(&["--rate", "0"]).ended().assert_success();
    world.assert_exact();

    let options = ["--from-savepoint", &savepoint, "--rate", "0"];
    let mut job = world.start_in("kept", "checkpoints", &options);
    job.ended().assert_success();
    assert!(job.restored_epoch().is_some());
    let rows = answer::visible(&world.path("kept")).expect("the rows");
    let difference = answer::compare(&world.expected(), &rows);
    assert!(difference.missing.is_empty() && difference.wrong.is_empty(), "{difference:?}");
    assert!(difference.double.is_empty(), "{difference:?}");
    world.assert_exact();
}

#[test]
fn a_fork_goes_on_by_itself_and_the_first_job_is_not_disturbed() {
    let world = World::new();
    let watcher = Watcher::start(world.out());
    let savepoint = path(&world, "savepoint");
    let mut first = world.start(&["--savepoint", &savepoint]);
    first.wait_for_flights(9_000);
    let before: BTreeSet<Row> = world.visible().into_iter().collect();
    first.signal(Signal::USR1);
    first.wait_for_note("savepoint of");
    let after: BTreeSet<Row> = world.visible().into_iter().collect();
    let options = ["--job-id", "fork", "--from-savepoint", &savepoint, "--rate", "0"];
    let mut fork = world.start_in("fork-rows", "fork-checkpoints", &options);
    fork.ended().assert_success();
    first.ended().assert_success();
    watcher.assert_nothing_changed();
    world.assert_exact();

    let forked = answer::visible(&world.path("fork-rows")).expect("the rows of the fork");
    let rows: BTreeSet<Row> = forked.iter().cloned().collect();
    assert_eq!(rows.len(), forked.len(), "the fork doubled a row");
    let expected: BTreeSet<Row> = world.expected().into_iter().collect();
    assert!(rows.is_subset(&expected), "the fork wrote a wrong row");
    // What was visible before the savepoint is in it; what it does not have was visible right after it.
    assert!(rows.is_disjoint(&before));
    assert!(expected.difference(&rows).all(|row| after.contains(row)), "the fork lost a row");
}

#[test]
fn a_folder_that_is_taken_is_refused_before_anything_is_read() {
    let world = World::new();
    std::fs::create_dir(world.path("taken")).expect("a folder");
    std::fs::write(world.path("taken/letter"), "dear").expect("a file");
    let mut job = world.start(&["--savepoint", &path(&world, "taken")]);
    let ended = job.ended();
    ended.assert_error(1, &["not empty", "choose a new name"]);
    assert_eq!(ended.flights, 0);
}

#[test]
fn a_fork_into_the_first_jobs_log_is_refused() {
    let world = World::new();
    let savepoint = path(&world, "savepoint");
    let mut first = world.start(&["--savepoint", &savepoint]);
    first.wait_for_flights(3_000);
    first.signal(Signal::TERM);
    first.ended().assert_success();
    let mut fork = world.start(&["--job-id", "fork", "--from-savepoint", &savepoint]);
    fork.ended().assert_error(1, &["another job", "checkpoints"]);
}
