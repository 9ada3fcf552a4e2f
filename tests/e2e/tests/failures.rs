//! What goes wrong is named, and nothing is lost once it is mended.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tidelock_e2e::{Watcher, World};
use tidelock_testkit::SmallDisk;

/// Replaces a text in a file by one of the same length, and keeps its time: the file is the same as before,
/// as far as anybody can tell from the outside.
fn mend(path: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let time = fs::metadata(path).and_then(|metadata| metadata.modified()).expect("a time");
    let text = fs::read_to_string(path).expect("a file");
    assert!(text.contains(from), "{from} is not in the file");
    fs::write(path, text.replacen(from, to, 1)).expect("a file");
    let file = File::options().write(true).open(path).expect("a file");
    file.set_modified(time).expect("a time");
}

#[test]
fn a_damaged_line_is_named_and_nothing_is_lost_once_it_is_mended() {
    let world = World::new();
    let text = fs::read_to_string(world.month()).expect("the month");
    let line = text.lines().nth(20_000).expect("a line").to_owned();
    let damaged = line.replacen("2013-01-", "2013-O1-", 1);
    assert_ne!(line, damaged);
    mend(&world.month(), &line, &damaged);
    let watcher = Watcher::start(world.out());
    let mut job = world.start(&["--rate", "0"]);
    let offset = text.find(&line).expect("a line").to_string();
    job.ended().assert_error(1, &["flights-2013-01.csv", &offset, "as month"]);
    mend(&world.month(), &damaged, &line);
    world.start(&["--rate", "0"]).ended().assert_success();
    watcher.assert_nothing_changed();
    world.assert_exact();
}

#[test]
fn a_deleted_input_file_is_named_and_nothing_is_lost_once_it_is_back() {
    let world = World::with_files(2);
    let (file, away) = (world.data().join("flights-2013-01-1.csv"), world.path("away"));
    let mut job = world.start(&["--rate", "9000"]);
    job.wait_for("a checkpoint", |job| job.checkpoints() > 0);
    fs::rename(&file, &away).expect("a rename");
    job.ended().assert_error(1, &["flights-2013-01-1.csv"]);
    fs::rename(&away, &file).expect("a rename");
    world.start(&["--rate", "0"]).ended().assert_success();
    world.assert_exact();
}

#[test]
fn a_missing_column_is_named() {
    let world = World::new();
    mend(&world.month(), ",carrier,", ",Carrier,");
    world.start(&[]).ended().assert_error(1, &["flights-2013-01.csv", "carrier"]);
    mend(&world.month(), ",Carrier,", ",carrier,");
    mend(&world.data().join("planes.csv"), ",seats,", ",chair,");
    world.start(&[]).ended().assert_error(1, &["planes.csv", "seats"]);
    mend(&world.data().join("planes.csv"), ",chair,", ",seats,");
    world.start(&["--rate", "0"]).ended().assert_success();
    world.assert_exact();
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_nothing_is_lost_once_it_can() {
    let world = World::new();
    fs::write(world.out(), "in the way").expect("a file");
    world.start(&[]).ended().assert_error(1, &[world.out().to_str().expect("UTF-8")]);
    fs::remove_file(world.out()).expect("a file");
    world.start(&["--rate", "0"]).ended().assert_success();
    world.assert_exact();
}

/// A small disk in the place of a folder; nothing where this process may not mount one.
fn small_disk(folder: &Path) -> Option<SmallDisk> {
    fs::create_dir(folder).expect("a folder");
    SmallDisk::mount(folder, 32 * 1024)
}

/// Takes all the space that is left, until the returned file is removed.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join(".filler");
    let mut file = File::create(&path).expect("a file");
    let full = std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("the disk is small");
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    path
}

#[test]
fn a_full_disk_under_the_rows_is_named_and_nothing_is_lost_once_there_is_space() {
    let world = World::new();
    let Some(_disk) = small_disk(&world.out()) else { return };
    let watcher = Watcher::start(world.out());
    let mut job = world.start(&["--rate", "9000"]);
    job.wait_for("a row is visible", |_| watcher.rows() > 0);
    let filler = fill(&world.out());
    job.ended().assert_error(1, &["no space left", world.out().to_str().expect("UTF-8")]);
    fs::remove_file(filler).expect("a file");
    world.start(&["--rate", "0"]).ended().assert_success();
    watcher.assert_nothing_changed();
    world.assert_exact();
}

#[test]
fn a_full_disk_under_the_checkpoints_is_named_and_the_job_goes_on_once_there_is_space() {
    let world = World::new();
    let checkpoints = world.path("checkpoints");
    let Some(_disk) = small_disk(&checkpoints) else { return };
    let watcher = Watcher::start(world.out());
    let mut job = world.start(&["--rate", "9000"]);
    job.wait_for("a row is visible", |_| watcher.rows() > 0);
    let filler = fill(&checkpoints);
    job.wait_for_error(&["the disk is full", checkpoints.to_str().expect("UTF-8")]);
    fs::remove_file(filler).expect("a file");
    job.ended().assert_success();
    watcher.assert_nothing_changed();
    world.assert_exact();
}

#[test]
fn no_input_is_an_error_that_names_the_folder() {
    let world = World::new();
    fs::remove_file(world.month()).expect("the month");
    let data = world.data();
    world.start(&[]).ended().assert_error(1, &[data.to_str().expect("UTF-8"), "flights*.csv"]);
}

#[test]
fn flights_that_come_too_late_are_counted_and_end_the_job_with_an_error() {
    let world = World::new();
    let ended = world.start(&["--rate", "0", "--out-of-orderness", "1h"]).ended();
    ended.assert_error(1, &["late", "--out-of-orderness"]);
}
