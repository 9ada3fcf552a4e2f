//! Attempts that are killed at any moment while requests meet every fault and shards are split and merged: our source hands over what was committed, once, and each key in
//! its order.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidelock::{Sink as _, WriterId};
use tidelock_kinesis::KinesisPut;
use tidelock_processes::{count, seed};

use super::order::faults_of_every_kind;
use super::place::{Listed, Place, attempt, commit, expected, prepared, puts};

const EPOCHS: u64 = 10;

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

fn random_records(rng: &mut StdRng, from: u64) -> Vec<KinesisPut> {
    let (keys, count) = (rng.random_range(1..60), rng.random_range(1..150));
    puts(keys, from, from + count)
}

/// Half of the time shards change.
async fn perhaps_change_shards(rng: &mut StdRng, place: &Place) {
    let open = place.stream.open_shards().await;
    match rng.random_range(0..4) {
        0 if open.len() < 4 => place.stream.split(&open[rng.random_range(0..open.len())]).await,
        1 if open.len() > 1 => {
            let at = rng.random_range(0..open.len() - 1);
            place.stream.merge(&open[at], &open[at + 1]).await;
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_handed_over_once_whatever_becomes_of_requests_and_attempts() {
    let seed = seed("numbered records on a server");
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..count(2, 60) {
        let mut place = Place::numbered(2).await;
        let faults = place.behind_faults().await;
        faults.random(rng.random(), faults_of_every_kind());
        place.config.request_records_max = rng.random_range(1..80);
        place.config.aggregates = rng.random();
        let (mut all, mut number, mut epoch) = (Vec::new(), 0, 0);
        let (mut pending, mut older) = (Vec::<Listed>::new(), Vec::new());
        while epoch < EPOCHS || !pending.is_empty() {
            number += 1;
            let (of_attempt, sink) = (attempt(number), place.sink());
            sink.recover(&of_attempt, &pending).await.unwrap();
            if !pending.is_empty() {
                if killed(&mut rng, commit(&sink, epoch, &pending)).await {
                    continue;
                }
                pending.clear();
            }
            let mut writer = sink.open(&of_attempt, WriterId(0)).await.unwrap();
            while epoch < EPOCHS {
                let records = random_records(&mut rng, epoch * 1_000);
                all.extend(records.clone());
                epoch += 1;
                pending = prepared(&mut writer, &of_attempt, epoch, records).await;
                perhaps_change_shards(&mut rng, &place).await;
                older.push((place.sink(), epoch, pending.clone()));
                if killed(&mut rng, commit(&sink, epoch, &pending)).await {
                    break;
                }
                pending.clear();
                // One that was paused wakes up with what was committed long ago.
                let (sink, of, listed) = &older[rng.random_range(0..older.len())];
                commit(sink, *of, listed).await.unwrap();
            }
        }
        faults.heal();
        faults.deliver_late().await.unwrap();
        assert_eq!(place.seen().await, expected(&all), "seed {seed}, round {round}");
    }
}
