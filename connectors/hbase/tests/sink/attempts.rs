//! Many attempts, one after the other, with clocks that are wrong, while older ones go on where they were and regions are split and compacted.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedMutRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tidelock::{Sink as _, WriterId};
use tidelock_hbase::{Deletes, HbaseWriter, Mode, RowMutation};
use tidelock_processes::{count, seed};

use super::held::Expected;
use super::place::{Clock, Place, attempt_of, gone, put, write};

/// A writer, and which batch it writes next.
struct Running {
    writer: HbaseWriter,
    next: usize,
}

/// A job whose records are these batches.
struct Job {
    place: Place,
    batches: Vec<Vec<RowMutation>>,
    /// The attempt, and its generation.
    number: u64,
    generation: u64,
}

impl Job {
    /// Writes the next batch, which is a new one where all were written.
    async fn step(&mut self, running: &mut Running, rng: &mut StdRng) {
        if running.next == self.batches.len() {
            let records = (0..rng.random_range(1..100)).map(|value| {
                let row = format!("r{:02}", rng.random_range(0..60));
                if rng.random_bool(0.35) { gone(&row) } else { put(&row, value) }
            });
            let records = records.collect();
            self.batches.push(records);
        }
        write(&mut running.writer, self.batches[running.next].clone()).await.unwrap();
        running.next += 1;
    }

    /// The next attempt begins at a snapshot from before, perhaps as a rollback.
    async fn begin(&mut self, next: usize, rng: &mut StdRng) -> Running {
        self.number += 1;
        self.generation += u64::from(rng.random_bool(0.3));
        let sink = self.place.sink_at(&Clock::off_by(rng.random_range(-7_200_000..550_000)));
        let attempt = attempt_of("job", self.generation, self.number);
        sink.recover(&attempt, &[]).await.unwrap();
        Running { writer: sink.open(&attempt, WriterId(0)).await.unwrap(), next }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn whatever_older_attempts_do_and_clocks_say_the_table_is_what_the_records_make_of_it() {
    let mut rng = StdRng::seed_from_u64(seed("attempts"));
    for _ in 0..count(3, 50) {
        let place = Place::new(Mode::Upsert, Deletes::Markers).await;
        let mut job = Job { place, batches: Vec::new(), number: 0, generation: 1 };
        let (mut running, mut older) = (job.begin(0, &mut rng).await, Vec::new());
        for step in 0..60 {
            job.step(&mut running, &mut rng).await;
            if rng.random_bool(0.2) {
                let snapshot = rng.random_range(running.next.saturating_sub(4)..=running.next);
                let next = job.begin(snapshot, &mut rng).await;
                older.push(std::mem::replace(&mut running, next));
            }
            // One that was paused wakes up, for a moment, or is killed with a call under way.
            if rng.random_bool(0.4)
                && let Some(Running { writer, next }) = older.choose_mut(&mut rng)
                && let Some(records) = job.batches.get(*next)
            {
                let moment = Duration::from_micros(rng.random_range(100..400_000));
                let _ = tokio::time::timeout(moment, write(writer, records.clone())).await;
                *next += 1;
            }
            if rng.random_bool(0.1) {
                job.place.compact().await;
            }
            if step == 30 {
                job.place.server.split(job.place.table(), b"r30").await.unwrap();
            }
        }
        while running.next < job.batches.len() {
            job.step(&mut running, &mut rng).await;
        }
        let mut expected = Expected::default();
        job.batches.iter().for_each(|batch| expected.take(batch));
        expected.check(&job.place, "at the end").await;
        job.place.compact().await;
        expected.check(&job.place, "after a compaction").await;
    }
}
