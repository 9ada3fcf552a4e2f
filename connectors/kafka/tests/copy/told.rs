//! What a person sees while the job waits.

use std::process::Command;

use tidelock_processes::{Process, example};

/// Nobody listens there: the port of a socket that was closed again.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

#[tokio::test]
async fn a_job_whose_brokers_are_away_says_within_seconds_what_it_waits_for_and_until_when() {
    let folder = tempfile::tempdir().expect("a folder");
    let (nowhere, log) = (nowhere(), folder.path().join("log"));
    let start = |filter: Option<&str>, name: &str| {
        let mut command = Command::new(example("copy"));
        command.args(["--brokers", &nowhere, "--from", "a", "--to", "b"]).arg("--checkpoints").arg(&log);
        command.env_remove("RUST_LOG").envs(filter.map(|filter| ("RUST_LOG", filter)));
        Process::start(&mut command, &folder.path().join(name))
    };
    let told = |process: &Process| {
        let errors = process.errors();
        errors.contains("asked again") && errors.contains("s at most") && errors.contains(&nowhere)
    };
    let mut by_default = start(None, "default");
    by_default.wait_until("it says what it waits for", async |process| told(process)).await;
    let mut asked = start(Some("tidelock_kafka=warn"), "asked");
    asked.wait_until("it says so where RUST_LOG asks for it", async |process| told(process)).await;
    assert_eq!(by_default.errors().matches("asked again").count(), 1, "once: {}", by_default.errors());
}
