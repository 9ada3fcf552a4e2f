//! Input of which one line in a hundred is damaged, and a job that is killed with SIGKILL again and again: the rows are
//! those of the good lines, and each damaged line is once among the dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use flights::answer::{self, Difference};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tidelock_e2e::{Job, Watcher, World, with_seeds};

const KILLS: usize = 12;

/// Damages one line in a hundred of every file, each with a name of its own, and leaves the good ones alone in
/// another folder. Returns that folder's answer, and the names.
fn damage(world: &World, random: &mut StdRng) -> (Vec<answer::Row>, BTreeSet<String>) {
    let clean = world.path("clean");
    fs::create_dir(&clean).expect("a folder");
    let mut names = BTreeSet::new();
    for file in fs::read_dir(world.data()).expect("the data") {
        let path = file.expect("a file").path();
        let name = path.file_name().expect("a name").to_owned();
        if !name.to_string_lossy().starts_with("flights") {
            fs::copy(&path, clean.join(name)).expect("a table");
            continue;
        }
        let text = fs::read_to_string(&path).expect("flights");
        let (header, lines) = text.split_once('\n').expect("a header");
        let columns: Vec<&str> = header.split(',').collect();
        let place = |column: &str| columns.iter().position(|name| *name == column).expect("a column");
        let victims = [place("dep_delay"), place("time_hour")];
        let (mut good, mut all) = (format!("{header}\n"), format!("{header}\n"));
        for line in lines.lines() {
            if random.random_range(0..100) > 0 {
                good += &format!("{line}\n");
                all += &format!("{line}\n");
                continue;
            }
            let damage = format!("damaged-{}", names.len());
            let mut fields: Vec<&str> = line.split(',').collect();
            match victims.get(random.random_range(0..=victims.len())) {
                Some(victim) => fields[*victim] = &damage,
                // No record of so many columns at all.
                None => fields = vec![&damage],
            }
            all += &format!("{}\n", fields.join(","));
            names.insert(damage);
        }
        fs::write(path, all).expect("damaged flights");
        fs::write(clean.join(name), good).expect("good flights");
    }
    (tidelock_e2e::expected(&clean), names)
}

/// How often each damage is among the letters that a reader sees.
fn letters(folder: &Path) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for file in answer::result_files(folder).expect("the letters") {
        for line in fs::read_to_string(file).expect("letters").lines() {
            let letter: Value = serde_json::from_str(line).expect("a letter");
            let Some(record) = letter["record"].as_str() else {
                // The source's own: the whole line, and where it stood.
                assert!(letter["file"].as_str().expect("a file").starts_with("flights"), "{letter}");
                assert!(letter["offset"].is_u64() && letter["reason"].is_string(), "{letter}");
                *seen.entry(letter["text"].as_str().expect("the line").trim_end().to_owned()).or_default() +=
                    1;
                continue;
            };
            let record: Value = serde_json::from_str(record).expect("JSON");
            let is_damage = |value: &&Value| value.as_str().is_some_and(|text| text.starts_with("damaged-"));
            let fields = record.as_object().expect("a line");
            let damage = fields.values().find(is_damage).and_then(Value::as_str).expect("a damaged field");
            assert_eq!(letter["uid"], "parse");
            assert!(letter["reason"].as_str().expect("a reason").contains(damage), "{letter}");
            *seen.entry(damage.to_owned()).or_default() += 1;
        }
    }
    seen
}

fn killed_again_and_again(world: &World, workers: &str, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (expected, damaged) = damage(world, &mut random);
    let folder = world.path("letters");
    let location = folder.to_str().expect("UTF-8").to_owned();
    let options = ["--interval", "10ms", "--rate", "4500", "--workers", workers, "--dead-letters", &location];
    let watchers = [Watcher::start(world.out()), Watcher::start(folder.clone())];
    for _ in 0..KILLS {
        let mut job = world.start(&options);
        job.wait_for("a checkpoint", |job| job.checkpoints() > 0);
        let until = job.flights() + random.random_range(0..1_500);
        job.wait_for("it read its share", |job| job.flights() >= until);
        std::thread::sleep(Duration::from_micros(random.random_range(0..10_000)));
        Job::kill(job);
    }
    world.start(&options).ended().assert_success();
    watchers.into_iter().for_each(Watcher::assert_nothing_changed);
    let Difference { missing, double, wrong } = answer::compare(&expected, &world.visible());
    assert!(missing.is_empty() && double.is_empty() && wrong.is_empty(), "{missing:?} {double:?} {wrong:?}");
    println!("{KILLS} kills, {} damaged lines", damaged.len());
    assert!(damaged.len() > 100, "nothing was damaged, so nothing was shown");
    assert_eq!(letters(&folder), damaged.into_iter().map(|name| (name, 1)).collect());
}

#[test]
fn each_damaged_line_is_once_among_the_dead_letters_with_one_worker() {
    with_seeds(|seed| killed_again_and_again(&World::new(), "1", seed));
}

#[test]
fn each_damaged_line_is_once_among_the_dead_letters_with_two_workers() {
    with_seeds(|seed| killed_again_and_again(&World::with_files(4), "2", seed));
}
