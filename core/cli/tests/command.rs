//! The command, as a person or a script runs it, against logs that the library made.

mod world;

use std::fs;

use serde_json::Value;
use world::{World, checkpoint_file};

#[test]
fn list_shows_every_entry_and_what_is_settled() {
    let world = World::new();
    let ran = world.ok(&["snapshots", "list", &world.log]);
    let lines: Vec<&str> = ran.lines().collect();
    assert!(lines[0].starts_with("POSITION"), "{ran}");
    assert_eq!(lines.len(), 1 + 6, "{ran}");
    for (line, parts) in [
        (1, &["claim", "fence", "not restorable"][..]),
        (3, &["checkpoint", "committed by 5"]),
        (4, &["checkpoint", "committed by 6"]),
        (6, &["checkpoint", "newest"]),
    ] {
        for part in parts {
            assert!(lines[line].contains(part), "{part} is missing in: {}", lines[line]);
        }
    }
    let listing = world.json(&["snapshots", "list", &world.log]);
    let newest = &listing["entries"][5];
    assert_eq!(
        (&newest["epoch"], &newest["pending"], &newest["settled"]),
        (&4.into(), &1.into(), &"not_yet".into())
    );
    assert_eq!(newest["uids"], serde_json::json!(["in", "count", "out"]));
    assert_eq!(listing["entries"][2]["settled"], serde_json::json!({ "by": 5 }));
}

#[test]
fn show_tells_split_positions_and_pending_committables() {
    let world = World::new();
    let ran = world.ok(&["snapshots", "show", &world.log]);
    for part in ["orders", "6 (checkpoint)", r#"{"offset":40}"#, "part=epoch-4", "0-127", "b-split"] {
        assert!(ran.contains(part), "{part} is missing in:\n{ran}");
    }
    let shown = world.json(&["snapshots", "show", &world.at(3)]);
    assert_eq!(shown["sources"]["in"]["splits"][0]["split"]["json"]["offset"], 10);
    assert_eq!(shown["sinks"]["out"][0]["committable"]["part"], "epoch-1");
    let (code, _, errors) = world.run(&["snapshots", "show", &world.at(99)]);
    assert_eq!(code, 3, "{errors}");
}

#[test]
fn verify_reads_every_byte() {
    let world = World::new();
    assert!(world.ok(&["snapshots", "verify", &world.log]).contains("nothing is damaged"));
    let report = world.json(&["snapshots", "verify", &world.log]);
    assert_eq!((&report["entries"], &report["chunks"]), (&6.into(), &4.into()));

    // A damaged chunk, a damaged entry and a chunk that is gone, each with its name and what to do.
    for file in world.files() {
        let good = fs::read(&file).expect("readable");
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 0x10;
        fs::write(&file, bad).expect("writable");
        let (code, output, _) = world.run(&["snapshots", "verify", &world.log]);
        let name = file.file_name().and_then(|name| name.to_str()).expect("ours");
        assert_eq!(code, 1, "{output}");
        assert!(output.contains("DAMAGED") && output.contains(name) && output.contains("backup"), "{output}");
        fs::write(&file, good).expect("writable");
    }
    let chunk =
        world.files().into_iter().find(|file| file.to_string_lossy().contains("chunks")).expect("one");
    fs::remove_file(chunk).expect("removable");
    let (code, output, _) = world.run(&["snapshots", "verify", &world.log]);
    assert_eq!(code, 1, "{output}");
}

#[test]
fn a_list_with_a_damaged_entry_shows_the_rest() {
    let world = World::new();
    fs::write(checkpoint_file(&world, 4), "junk").expect("writable");
    let (code, output, errors) = world.run(&["snapshots", "list", &world.log]);
    assert_eq!(code, 1);
    assert_eq!(output.lines().count(), 1 + 5, "{output}");
    assert!(errors.contains("00000000000000000004.json") && errors.contains("LOG#POSITION"), "{errors}");
}

#[test]
fn show_names_splits_that_cannot_be_read() {
    // The first golden log has a source whose state is no list of splits.
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tidelock/tests/golden/v1/log");
    let (code, output, errors) = World::new().run(&["snapshots", "show", golden]);
    assert_eq!(code, 1);
    assert!(output.contains("unreadable") && errors.contains("splits of in"), "{output}{errors}");
    assert!(output.contains("Abandoned with this entry"), "the rest is shown:\n{output}");
}

#[test]
fn diff_tells_what_moved() {
    let world = World::new();
    let (code, output, _) = world.run(&["snapshots", "diff", &world.at(3), &world.at(4)]);
    assert_eq!(code, 1);
    for part in ["a-split", r#"{"offset":10}"#, r#"{"offset":20}"#, "pending epoch 2", "part 0-127"] {
        assert!(output.contains(part), "{part} is missing in:\n{output}");
    }
    assert!(!output.contains("b-split"), "it did not move:\n{output}");
    let same = world.ok(&["snapshots", "diff", &world.at(4), &world.at(4)]);
    assert!(same.contains("the same"), "{same}");
}

#[test]
fn copy_makes_a_savepoint_of_a_settled_snapshot_only() {
    let world = World::new();
    let to = world.path("savepoint");
    let (code, _, errors) = world.run(&["snapshots", "copy", &world.log, &to]);
    assert_eq!(code, 1);
    assert!(errors.contains("not settled") && errors.contains("wait until"), "{errors}");
    assert!(!fs::exists(&to).expect("a folder"), "nothing was created");

    world.ok(&["snapshots", "copy", &world.at(4), &to]);
    assert!(world.ok(&["snapshots", "verify", &to]).contains("nothing is damaged"));
    // What was pending in entry 4 was committed; all else is the same.
    let (_, difference, _) = world.run(&["snapshots", "diff", &world.at(4), &to]);
    assert_eq!(difference.lines().count(), 1 + 1 + 2, "a title, a header, two changes:\n{difference}");
    assert!(difference.contains("pending epoch 1") && difference.contains("pending epoch 2"), "{difference}");
    let (code, _, errors) = world.run(&["snapshots", "copy", &world.at(4), &to]);
    assert_eq!(code, 1);
    assert!(errors.contains("not empty"), "{errors}");

    let chunk =
        fs::read_dir(world.path("savepoint/chunks")).expect("chunks").next().expect("one").expect("a file");
    let good = fs::read(chunk.path()).expect("readable");
    fs::remove_file(chunk.path()).expect("removable");
    assert_eq!(world.run(&["snapshots", "verify", &to]).0, 1, "a chunk is missing");
    assert_eq!(world.run(&["snapshots", "copy", &to, &world.path("copy")]).0, 3);
    fs::write(chunk.path(), good).expect("writable");

    fs::rename(&world.log, world.path("gone")).expect("renamable");
    let shown = world.json(&["snapshots", "show", &to]);
    assert_eq!(shown["sources"]["in"]["splits"][0]["split"]["json"]["offset"], 20);
    world.ok(&["snapshots", "delete", &to, "--yes"]);
    assert_eq!(world.run(&["snapshots", "show", &to]).0, 3);
}

#[test]
fn delete_refuses_what_must_stay_and_asks_first() {
    let world = World::new();
    for (position, why) in [(1, "a claim"), (6, "the newest entry")] {
        let (code, _, errors) = world.run(&["snapshots", "delete", &world.at(position), "--yes"]);
        assert_eq!(code, 1);
        assert!(errors.contains(why), "{errors}");
    }
    let (code, _, errors) = world.run(&["snapshots", "delete", &world.log, "--yes"]);
    assert_eq!(code, 1, "a whole log");
    assert!(errors.contains("LOG#N"), "{errors}");

    let (code, output, errors) = world.run(&["snapshots", "delete", &world.at(2), &world.at(3)]);
    assert_eq!(code, 1);
    assert!(output.contains("would delete 2 entries") && errors.contains("--yes"), "{output}{errors}");
    assert_eq!(world.files().len(), 6 + 4);
    let output = world.ok(&["snapshots", "delete", &world.at(2), &world.at(3), "--yes"]);
    assert!(output.contains("1 shared and kept"), "{output}");
    assert_eq!(world.files().len(), 4 + 4);
    assert!(world.ok(&["snapshots", "verify", &world.log]).contains("nothing is damaged"));
}

#[test]
fn restore_says_what_becomes_of_each_uid() {
    let world = World::new();
    let ran = world.ok(&["restore", "--dry-run", &world.log, "--uid", "in", "count", "out", "late"]);
    assert!(ran.contains("1 prepared write is committed first"), "{ran}");
    assert!(ran.contains("begins without state"), "{ran}");

    let (code, output, errors) = world.run(&["restore", "--dry-run", &world.at(4), "--uid", "in", "out"]);
    assert_eq!(code, 1);
    assert!(output.contains("REFUSED") && errors.contains("count"), "{output}{errors}");
    let args = ["restore", "--dry-run", &world.at(4), "--uid", "in", "out", "--allow-dropped", "count"];
    let report = world.json(&args);
    assert_eq!(report["dropped"], serde_json::json!(["count"]));

    // Prepared data is never dropped; a snapshot of choice must be settled.
    let args = ["restore", "--dry-run", &world.log, "--uid", "in", "count", "--allow-dropped", "out"];
    let (code, _, errors) = world.run(&args);
    assert_eq!(code, 1);
    assert!(errors.contains("prepared data"), "{errors}");
    assert_eq!(world.run(&["restore", "--dry-run", &world.at(6), "--uid", "in", "count", "out"]).0, 1);
}

#[test]
fn abandon_names_what_it_gives_up_and_fences_the_job() {
    let world = World::new();
    let (code, output, errors) = world.run(&["snapshots", "abandon", &world.log, "--job", "orders"]);
    assert_eq!(code, 1);
    assert!(output.contains("Would be abandoned") && output.contains("epoch-4"), "{output}");
    assert!(errors.contains("--yes"), "{errors}");
    let (code, _, errors) = world.run(&["snapshots", "abandon", &world.log, "--job", "other", "--yes"]);
    assert_eq!(code, 1);
    assert!(errors.contains("another job"), "{errors}");
    assert_eq!(world.files().len(), 6 + 4, "nothing was changed");

    let report = world.json(&["snapshots", "abandon", &world.log, "--job", "orders", "--yes"]);
    assert_eq!((&report["abandoned"], &report["position"]), (&Value::Bool(true), &8.into()));
    assert_eq!(report["committables"]["out"][0]["committable"]["part"], "epoch-4");
    let listing = world.json(&["snapshots", "list", &world.log]);
    assert_eq!(listing["entries"][7]["abandoned"], 1);
    assert_eq!(listing["entries"][5]["settled"], "never");
    let ran = world.ok(&["snapshots", "abandon", &world.log, "--job", "orders", "--yes"]);
    assert!(ran.contains("nothing is abandoned"), "{ran}");
    world.ok(&["snapshots", "copy", &world.log, &world.path("savepoint")]);
}

#[test]
fn exit_codes_tell_no_from_wrong_usage_and_from_not_known() {
    let world = World::new();
    assert_eq!(world.run(&["snapshots", "list", &world.path("nowhere")]).0, 3);
    assert_eq!(world.run(&["snapshots", "list", "ftp://host/folder"]).0, 1);
    assert_eq!(world.run(&["snapshots", "list"]).0, 2);
    assert_eq!(world.run(&["restore", &world.log, "--uid", "in"]).0, 2, "only with --dry-run");
    assert!(!fs::exists(world.path("nowhere")).expect("a folder"), "looking creates nothing");
    for command in [&["--help"][..], &["snapshots", "--help"], &["snapshots", "abandon", "--help"]] {
        world.ok(command);
    }
}

#[test]
fn list_names_the_uids_where_asked() {
    let world = World::new();
    assert!(world.ok(&["snapshots", "list", &world.log, "--uids"]).contains("in count out"));
    assert!(!world.ok(&["snapshots", "list", &world.log]).contains("in count out"));
}

#[test]
fn completions_know_every_command() {
    let script = World::new().ok(&["completions", "bash"]);
    for command in ["snapshots", "abandon", "restore", "--dry-run", "completions"] {
        assert!(script.contains(command), "{command}");
    }
}

/// `head` has seen enough after a line, and closes the pipe.
#[test]
fn a_reader_that_has_seen_enough_ends_every_command_quietly() {
    let world = World::new();
    let commands: [&[&str]; 4] = [
        &["completions", "bash"],
        &["snapshots", "list", &world.log],
        &["--json", "snapshots", "list", &world.log],
        &["snapshots", "verify", &world.log],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidelock"));
        let ended = command.args(arguments).stdout(writer).output().expect("it runs");
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}
