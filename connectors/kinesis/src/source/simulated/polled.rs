//! A hundred shards read by one thread: each as often and as fast as the service allows, and never beyond.

use std::time::Duration;

use tidelock::{Known, Source as _, SplitReader as _};
use tidelock_processes::{count, is_soak};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::cpu::Cpu;
use super::service::Service;
use crate::source::config::StreamStart;

const SHARDS: usize = 100;

/// How long they are read, on the clock of the simulation.
fn seconds() -> u64 {
    count(5, 20) as u64
}

/// Reads every shard for a while. Returns how often each was asked and how many records it gave, as the service counted it.
async fn read_all(name: &str, shards: usize, service: Service, seconds: u64) -> Vec<(u64, u64)> {
    let source = service.source(|config| config.start = StreamStart::Latest).await;
    let nothing = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let mut readers = Vec::new();
    for shard in source.discover(&nothing).await.expect("found").new {
        readers.push(source.open(shard).await.expect("opened"));
    }
    assert_eq!(readers.len(), shards);
    service.state().begin();
    let (end, cpu) = (Instant::now() + Duration::from_secs(seconds), Cpu::now());
    let mut reading = JoinSet::new();
    for mut reader in readers {
        reading.spawn(async move {
            let mut records = 0;
            while let Ok(next) = timeout_at(end, reader.next()).await {
                records += next.expect("records").expect("no end").records.len() as u64;
            }
            records
        });
    }
    let read: u64 = reading.join_all().await.into_iter().sum();
    let state = service.state();
    let counted: Vec<(u64, u64)> = state.read().collect();
    let (calls, given) = counted.iter().fold((0, 0), |(calls, given), one| (calls + one.0, given + one.1));
    println!(
        "{name}: {shards} shards, {seconds} s: {calls} calls, {given} records; {:?} of a processor, the service's own work in it",
        cpu.since()
    );
    assert_eq!(state.refused, 0, "the service refused what it does not allow");
    let on_the_way = counted.iter().map(|(calls, given)| given / calls.max(&1)).sum::<u64>() + shards as u64;
    assert!(read <= given && given - read <= 2 * on_the_way, "{read} of {given} were handed over");
    counted
}

#[tokio::test(start_paused = true)]
async fn a_hundred_busy_shards_are_asked_as_often_as_is_allowed() {
    let (each, seconds) = (if is_soak() { 1_000 } else { 50 }, seconds());
    let service = Service::with_shards(SHARDS, |_| each, 100);
    for (calls, given) in read_all("records of 100 bytes", SHARDS, service, seconds).await {
        // The first one is made at once, and the last one may be on its way.
        assert!((5 * seconds - 1..=5 * seconds + 1).contains(&calls), "{calls} calls");
        assert!(given >= each * (seconds - 1), "{given} records");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_idle_shards_are_left_alone() {
    let seconds = 20;
    for (calls, _) in read_all("idle", SHARDS, Service::with_shards(SHARDS, |_| 0, 1), seconds).await {
        // Once in a second, and a little more at first.
        assert!((seconds - 3..=seconds + 4).contains(&calls), "{calls} calls");
    }
}

/// Behind by far, a shard gives two megabytes in a second, however large the answers are.
#[tokio::test(start_paused = true)]
async fn shards_that_lag_behind_are_read_at_the_rate_of_the_service() {
    const RECORD: u64 = 50_000;
    let seconds = 20;
    let service = Service::with_shards(2, |_| 1_000_000, RECORD as usize);
    for (calls, given) in read_all("far behind", 2, service, seconds).await {
        // Ten megabytes at once, and then nothing for five seconds.
        let bytes = given * RECORD;
        let allowed = 2_000_000 * seconds;
        assert!(
            (allowed - 10_000_000..=allowed + 10_000_000).contains(&bytes),
            "{bytes} bytes in {calls} calls"
        );
    }
}
