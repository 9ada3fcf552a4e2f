//! Two processes of one job: the newer one owns it.

use rustix::process::Signal;
use tidelock_e2e::{Watcher, World};

/// The exit code of a process that a newer one fenced.
const FENCED: i32 = 3;

#[test]
fn the_older_of_two_processes_is_fenced_says_so_and_doubles_nothing() {
    let world = World::new();
    let watcher = Watcher::start(world.out());
    let mut older = world.start(&["--rate", "5000"]);
    older.wait_for("a row is visible", |_| watcher.rows() > 0);
    let mut newer = world.start(&["--rate", "5000"]);
    older.ended().assert_error(FENCED, &["fenced", "newer"]);
    newer.ended().assert_success();
    watcher.assert_nothing_changed();
    world.assert_exact();
}

#[test]
fn a_process_that_was_stopped_for_fifty_epochs_of_a_newer_one_is_fenced_when_it_wakes() {
    let world = World::new();
    let watcher = Watcher::start(world.out());
    let mut older = world.start(&["--rate", "5000"]);
    older.wait_for("a row is visible", |_| watcher.rows() > 0);
    older.signal(Signal::STOP);
    let mut newer = world.start(&["--rate", "5000"]);
    newer.wait_for("fifty epochs", |newer| newer.checkpoints() >= 50);
    assert!(older.is_running());
    older.signal(Signal::CONT);
    older.ended().assert_error(FENCED, &["fenced", "newer"]);
    newer.ended().assert_success();
    watcher.assert_nothing_changed();
    world.assert_exact();
}
