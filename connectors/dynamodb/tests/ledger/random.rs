//! Attempts that are killed at any moment while requests meet every fault: the table is what the records make of it, counters too.

use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidelock::{Sink as _, WriterId};
use tidelock_dynamodb::{ItemChange, ItemUpdate};
use tidelock_processes::{count, seed};
use tidelock_testkit::Fault;

use super::place::{Expected, Listed, Place, WRITES, add, attempt_of, commit, gone, key, put, refused};

fn random_records(rng: &mut StdRng) -> Vec<ItemChange> {
    let (most, items) = if rng.random_bool(0.5) { (60, 50) } else { (900, 400) };
    let record = |rng: &mut StdRng| {
        let of = format!("r{:03}", rng.random_range(0..items));
        match rng.random_range(0..10) {
            0 => gone(&of),
            1 | 2 => put(&of, rng.random_range(0..99)),
            3 => ItemChange::update(
                ItemUpdate::of(key(&of)).set("other", rng.random_range(0..99)).add("value", 1),
            ),
            _ => add(&of, rng.random_range(-9..99)),
        }
    };
    (0..rng.random_range(1..most)).map(|_| record(rng)).collect()
}

fn faults_of_every_kind() -> [(Fault, f64); 13] {
    [
        (Fault::Cut, 0.03),
        (Fault::Lost, 0.06),
        (Fault::Half, 0.02),
        (Fault::Doubled, 0.04),
        (Fault::Late(3), 0.03),
        (Fault::Late(40), 0.02),
        (Fault::Slow, 0.02),
        (refused(500, "InternalServerError"), 0.02),
        (Fault::Refused { status: 502, body: Bytes::from_static(b"<html>") }, 0.01),
        // What says that all is well, and is no answer of the service.
        (Fault::Refused { status: 200, body: Bytes::new() }, 0.01),
        (Fault::Refused { status: 200, body: Bytes::from_static(b"{}") }, 0.01),
        (refused(400, "ThrottlingException"), 0.03),
        (refused(400, "TransactionConflictException"), 0.03),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_exact_whatever_becomes_of_requests_and_attempts() {
    let seed = seed("counters in the ledger");
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..count(3, 100) {
        let direct = Place::new().await;
        let mut place = direct.clone();
        let faults = place.behind_faults(WRITES).await;
        faults.random(rng.random(), faults_of_every_kind());
        let (mut expected, mut attempt, mut pending) = (Expected::default(), 0, Vec::<Listed>::new());
        let (mut epoch, mut older) = (0, Vec::new());
        while epoch < 12 {
            attempt += 1;
            place.config.lanes_max = rng.random_range(1..9);
            let (of_attempt, sink) = (attempt_of("job", 1, attempt), place.sink());
            sink.recover(&of_attempt, &pending).await.unwrap();
            if !pending.is_empty() {
                // It may be killed again.
                if killed(&mut rng, commit(&sink, epoch, &pending)).await {
                    continue;
                }
                pending.clear();
            }
            let mut writer = sink.open(&of_attempt, WriterId(0)).await.unwrap();
            while epoch < 12 {
                let records = random_records(&mut rng);
                expected.take(&records);
                epoch += 1;
                pending = super::place::prepared(&mut writer, &of_attempt, epoch, records).await;
                if killed(&mut rng, commit(&sink, epoch, &pending)).await {
                    break;
                }
                expected.check(&direct, "after a commit").await;
                older.push((place.sink(), epoch, std::mem::take(&mut pending)));
                // One that was paused wakes up with what was committed long ago.
                let (sink, of, listed) = &older[rng.random_range(0..older.len())];
                commit(sink, *of, listed).await.unwrap();
            }
        }
        faults.heal();
        if !pending.is_empty() {
            let sink = direct.sink();
            sink.recover(&attempt_of("job", 1, attempt + 1), &pending).await.unwrap();
            commit(&sink, epoch, &pending).await.unwrap();
        }
        expected.check(&direct, &format!("seed {seed}, round {round}")).await;
        faults.deliver_late().await.unwrap();
        expected.check(&direct, "after everything that was late").await;
        assert!(direct.ledger().await.len() <= 9, "the ledger does not grow");
        assert!(faults.count() > 0);
    }
}

/// Lets it run, perhaps for a moment only. Returns whether it was killed.
async fn killed(rng: &mut StdRng, commit: impl Future<Output = tidelock::Result<()>>) -> bool {
    let moment = if rng.random_bool(0.3) { rng.random_range(100..60_000) } else { 120_000_000 };
    match tokio::time::timeout(Duration::from_micros(moment), commit).await {
        Ok(done) => {
            done.unwrap();
            false
        }
        Err(_) => true,
    }
}
