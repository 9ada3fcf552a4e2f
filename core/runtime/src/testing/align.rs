//! Alignment: a snapshot never holds anything of a later epoch, however far one worker runs ahead.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidelock::*;

use super::keyed::{Tally, tallies};
use super::{Event, Fake, MemorySink, MemorySource, Snapshot, Twist, committed};
use crate::slice::Slicing;

/// Stops a worker until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Two workers count events by key. The worker that reads split `b` is stuck while the other runs on
/// through five epochs, and then comes free. Every snapshot must hold exactly what its
/// positions say: in the counts, and in what was written.
async fn starved(twist: Twist) -> std::result::Result<(), String> {
    let (source, sink, gate) =
        (Arc::new(MemorySource::default()), MemorySink::<Event>::new(), Arc::new(Gate::default()));
    let (job_source, job_gate) = (Arc::clone(&source), Arc::clone(&gate));
    let mut fake = Fake::start_with(2, twist, move |graph| {
        let gate = Arc::clone(&job_gate);
        graph
            .source("in", &job_source)
            .stream()
            .inspect(move |event| {
                if event.split == "b" {
                    gate.pass()
                }
            })
            .key_by(|event| event.number % 10)
            .process("count", Tally)
            .sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    fake.assign("in", MemorySource::split("b", 0)).await;
    source.release("b", 35, false);
    for epoch in 1..=5 {
        source.release("a", epoch * 70, false);
        fake.read("in", epoch * 70).await;
        fake.barrier(epoch).await;
    }
    gate.open();
    let (mut snapshot, mut written) = (Snapshot::default(), Vec::new());
    let mut epochs: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    while epochs.values().map(Vec::len).sum::<usize>() < 10 {
        if let host::News::Report(report) = fake.next().await {
            epochs.entry(report.epoch.0).or_default().push(report);
        }
    }
    fake.finish().await.unwrap();
    for (epoch, reports) in epochs {
        snapshot.apply(&reports);
        written.extend(committed::<Event>(&reports, "out"));
        let mut positions = snapshot.positions();
        positions.retain(|_, position| *position > 0);
        let counted = tallies(&snapshot, "count");
        if counted != positions {
            return Err(format!("epoch {epoch}: positions {positions:?}, counted {counted:?}"));
        }
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        for event in &written {
            *seen.entry(event.split.clone()).or_default() += 1;
        }
        if seen != positions {
            return Err(format!("epoch {epoch}: positions {positions:?}, written {seen:?}"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_holds_what_its_positions_say_while_one_source_starves() {
    for _ in 0..20 {
        starved(Twist::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_above_catches_an_operator_that_takes_records_as_they_arrive() {
    let twist = Twist { apply_on_arrival: true, ..Twist::default() };
    let evidence = starved(twist).await.unwrap_err();
    assert!(evidence.contains("counted") || evidence.contains("written"), "{evidence}");
}

/// Random stalls everywhere, three workers, a small budget, small slices, many epochs at once: every snapshot holds
/// exactly what its positions say.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_hold_what_their_positions_say_through_random_stalls() {
    for seed in 0..6 {
        println!("seed {seed}");
        let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<Event>::new());
        let job_source = Arc::clone(&source);
        let slicing = Slicing::steps(3);
        let twist = Twist { bytes_in_flight_max: 4_000, slicing, ..Twist::default() };
        let mut fake = Fake::start_with(3, twist, move |graph| {
            let mut before = StdRng::seed_from_u64(seed * 10 + u64::from(graph.worker()));
            let mut after = StdRng::seed_from_u64(seed * 10 + 5 + u64::from(graph.worker()));
            graph
                .source("in", &job_source)
                .stream()
                .inspect(move |_| stall(&mut before))
                .key_by(|event| event.number % 10)
                .process("count", Tally)
                .inspect(move |_| stall(&mut after))
                .sink("out", &sink);
        })
        .await
        .unwrap();
        fake.open().await;
        for split in ["a", "b", "c", "d"] {
            source.release(split, 700, true);
            fake.assign("in", MemorySource::split(split, 0)).await;
        }
        let (mut snapshot, mut written) = (Snapshot::default(), BTreeMap::<String, u64>::new());
        let mut epochs: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        let mut sent = 0;
        for next in 1.. {
            // Up to three epochs are under way.
            while sent < next + 2 {
                sent += 1;
                fake.barrier(sent).await;
            }
            while epochs.get(&next).map_or(0, Vec::len) < 3 {
                if let host::News::Report(report) = fake.next().await {
                    epochs.entry(report.epoch.0).or_default().push(report);
                }
            }
            let reports = epochs.remove(&next).unwrap();
            snapshot.apply(&reports);
            for event in committed::<Event>(&reports, "out") {
                *written.entry(event.split).or_default() += 1;
            }
            let mut positions = snapshot.positions();
            positions.retain(|_, position| *position > 0);
            assert_eq!(tallies(&snapshot, "count"), positions, "epoch {next}");
            assert_eq!(written, positions, "epoch {next}");
            if positions.values().sum::<u64>() == 2_800 {
                break;
            }
        }
        fake.finish().await.unwrap();
    }
}

/// Holds a worker up now and then.
fn stall(rng: &mut StdRng) {
    if rng.random_range(0..200) == 0 {
        std::thread::sleep(std::time::Duration::from_micros(rng.random_range(0..3_000)));
    }
}
