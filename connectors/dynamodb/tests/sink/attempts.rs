//! Many attempts, one after the other, while older ones go on where they were.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedMutRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tidelock::{ErrorKind, Retry, SinkAttempt, Uid};
use tidelock_dynamodb::{DynamoWriter, ItemChange};
use tidelock_processes::{count, seed};

use super::place::{Expected, Place, attempt, attempt_of, gone, opened, put, set, write};

#[tokio::test]
async fn an_older_attempt_that_wakes_up_wins_over_nothing_and_is_told_to_end() {
    for newer in [attempt_of("job", 1, 2), attempt_of("job", 2, 2)] {
        let place = Place::versioned().await;
        let mut older = opened(&place.sink(), &attempt(1)).await;
        write(&mut older, vec![put("a", 1), put("b", 1), put("c", 1)]).await.unwrap();
        let mut writer = opened(&place.sink(), &newer).await;
        let records = vec![put("a", 2), gone("b"), set("c", "value", 2)];
        let mut expected = Expected::default();
        expected.take(&records);
        write(&mut writer, records).await.unwrap();
        for late in
            [put("a", 3), gone("a"), set("a", "more", 3), put("b", 3), set("b", "value", 3), gone("c")]
        {
            let mut older = opened(&place.sink(), &attempt(1)).await;
            let error = write(&mut older, vec![late]).await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
            let said = error.to_string();
            assert!(
                said.contains("key=") && said.contains("its_version=") && said.contains("remedy="),
                "{said}"
            );
            expected.check(&place, "after a late write").await;
        }
        // After an error nothing is said to have arrived.
        assert!(write(&mut older, vec![put("a", 4)]).await.is_err());
        assert!(write(&mut older, Vec::new()).await.is_err());
    }
}

/// A log that is made anew counts attempts from the beginning, and its generation is newer.
#[tokio::test]
async fn a_rollback_and_a_log_that_was_made_anew_win() {
    let place = Place::versioned().await;
    let mut run = opened(&place.sink(), &attempt_of("job", 1, 9)).await;
    write(&mut run, vec![put("a", 9), put("b", 9), gone("c")]).await.unwrap();
    let mut anew = opened(&place.sink(), &attempt_of("job", 2, 1)).await;
    let records = vec![put("a", 1), gone("b"), put("c", 1)];
    write(&mut anew, records).await.unwrap();
    assert_eq!(
        (place.value("a").await, place.value("b").await, place.value("c").await),
        (Some(1), None, Some(1))
    );
    assert!(write(&mut run, vec![put("a", 10)]).await.is_err());
    assert_eq!(place.value("a").await, Some(1));
}

#[tokio::test]
async fn a_key_that_comes_to_two_writers_is_told_where_one_would_win_over_the_other_in_silence() {
    use tidelock::{Sink as _, WriterId};
    let place = Place::versioned().await;
    let sink = place.sink();
    let mut first = opened(&sink, &attempt(1)).await;
    let mut second = sink.open(&attempt(1), WriterId(1)).await.unwrap();
    write(&mut second, vec![put("b", 1), put("a", 1)]).await.unwrap();
    let error = write(&mut first, vec![put("a", 2)]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("another writer"), "{error}");
}

/// Each sink counts its changes from one, and what has the same number is not the same change.
#[tokio::test]
async fn a_key_that_comes_to_two_sinks_of_a_job_is_never_taken_for_written_where_it_is_not() {
    for (first, second) in [("out", "other"), ("other", "out")] {
        let place = Place::versioned().await;
        let of_sink = |uid: &str| SinkAttempt { uid: Uid::new(uid).unwrap(), ..attempt(1) };
        let mut one = opened(&place.sink(), &of_sink(first)).await;
        let mut other = opened(&place.sink(), &of_sink(second)).await;
        write(&mut one, vec![put("a", 1)]).await.unwrap();
        match write(&mut other, vec![put("a", 2)]).await {
            Ok(()) => assert_eq!(place.value("a").await, Some(2), "{second} wrote it"),
            Err(error) => {
                assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
                assert!(error.to_string().contains("another sink"), "{error}");
            }
        }
    }
}

/// A writer, and which batch it writes next.
struct Running {
    writer: DynamoWriter,
    next: usize,
}

/// A job whose records are these batches.
struct Job {
    place: Place,
    batches: Vec<Vec<ItemChange>>,
    /// The attempt, and its generation.
    number: u64,
    generation: u64,
}

impl Job {
    /// Writes the next batch, which is a new one where all were written.
    async fn step(&mut self, running: &mut Running, rng: &mut StdRng) {
        if running.next == self.batches.len() {
            let records = (0..rng.random_range(1..60)).map(|value| {
                let of = format!("k{:02}", rng.random_range(0..40));
                match rng.random_range(0..10) {
                    0..3 => gone(&of),
                    3..6 => set(&of, ["value", "more"][rng.random_range(0..2)], value),
                    _ => put(&of, value),
                }
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
        let attempt = attempt_of("job", self.generation, self.number);
        Running { writer: opened(&self.place.sink(), &attempt).await, next }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_older_attempts_do_the_table_is_what_the_records_make_of_it() {
    let mut rng = StdRng::seed_from_u64(seed("attempts"));
    for _ in 0..count(3, 50) {
        let place = Place::versioned().await;
        let mut job = Job { place, batches: Vec::new(), number: 0, generation: 1 };
        let (mut running, mut older) = (job.begin(0, &mut rng).await, Vec::new());
        for _ in 0..40 {
            job.step(&mut running, &mut rng).await;
            if rng.random_bool(0.2) {
                let snapshot = rng.random_range(running.next.saturating_sub(4)..=running.next);
                let next = job.begin(snapshot, &mut rng).await;
                older.push(std::mem::replace(&mut running, next));
            }
            // One that was paused wakes up, for a moment, or is killed with requests under way.
            if rng.random_bool(0.4)
                && let Some(Running { writer, next }) = older.choose_mut(&mut rng)
                && let Some(records) = job.batches.get(*next)
            {
                let moment = Duration::from_micros(rng.random_range(100..50_000));
                let _ = tokio::time::timeout(moment, write(writer, records.clone())).await;
                *next += 1;
            }
        }
        while running.next < job.batches.len() {
            job.step(&mut running, &mut rng).await;
        }
        let mut expected = Expected::default();
        job.batches.iter().for_each(|batch| expected.take(batch));
        expected.check(&job.place, "at the end").await;
    }
}
