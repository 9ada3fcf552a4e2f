//! The example `copy` as a process that is killed again and again. Skipped, with a line that says so,
//! where `TIDELOCK_KAFKA` names no brokers.

mod support;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

const RECORDS: u64 = 60_000;
const KILLS: usize = 6;

/// The example that was built with this test.
fn copy(arguments: &[&str]) -> Child {
    let tests = std::env::current_exe().expect("this program");
    let target = tests.ancestors().nth(2).expect("the target folder");
    Command::new(target.join("examples/copy"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example was built")
}

fn output(child: Child) -> String {
    let output = child.wait_with_output().expect("ended");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_again_and_again_has_every_record_once_and_in_order() {
    let Some(brokers) = support::brokers("copy, killed") else { return };
    let (from, to) = (support::fresh_topic(&brokers, 2).await, support::fresh_topic(&brokers, 2).await);
    for partition in 0..2 {
        let values = (0..RECORDS / 2).map(|one| one.to_string());
        support::produce(&brokers, &from, partition, values);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoints = folder.path().join("checkpoints");
    let checkpoints = checkpoints.to_str().expect("text");
    let job = support::fresh("copy");
    let arguments = [
        "--brokers",
        &brokers,
        "--from",
        &from,
        "--to",
        &to,
        "--checkpoints",
        checkpoints,
        "--interval",
        "10ms",
        "--job-id",
        &job,
        "--workers",
        "2",
        "--stop-at-end",
        // Small fetches, so that the job is still at work when it is killed.
        "--property",
        "fetch.message.max.bytes=2000",
        "--property",
        "queued.max.messages.kbytes=16",
    ];
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
    let mut restored = 0;
    for _ in 0..KILLS {
        let mut child = copy(&arguments);
        let pause = rand::RngExt::random_range(&mut random, 300..1_500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        child.kill().expect("killed with signal 9");
        let said = child.wait_with_output().expect("ended").stdout;
        restored += usize::from(String::from_utf8_lossy(&said).contains("restored"));
    }
    let said = output(copy(&arguments));
    println!("{restored} of {KILLS} killed runs had been restored; the last one says: {said}");
    assert!(said.contains("finished"), "{said}");
    assert!(output(copy(&arguments)).contains("finished before"), "a second run has nothing to do");

    let seen = support::read(&brokers, &to, 2);
    for partition in 0..2 {
        let of_partition = seen.iter().filter(|one| one.partition == partition);
        let values: Vec<u64> = of_partition.map(|one| one.text().parse().expect("a number")).collect();
        assert_eq!(values, (0..RECORDS / 2).collect::<Vec<_>>(), "partition {partition}");
    }
}
