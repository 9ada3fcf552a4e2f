use proptest::prelude::*;
use tidelock::Epoch;

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn id(began_ms: u64) -> NumberingId {
    NumberingId { began_ms, nonce: 1_000 + began_ms }
}

/// The record at a place of the numbering that began at this time, with the floor that it says.
fn header(began_ms: u64, place: (u64, u64), floor: (u64, u64)) -> Header {
    Header {
        job: JobId::new("orders").expect("a name"),
        uid: Uid::new("out").expect("a name"),
        generation: Generation(5),
        numbering: id(began_ms),
        since: Epoch(1),
        place: place.into(),
        floor: floor.into(),
        stream: 0,
    }
}

fn count(seen: &Seen) -> usize {
    seen.histories.iter().map(|history| history.numberings.len()).sum()
}

/// How many places above a floor are remembered of each numbering.
fn above(seen: &Seen) -> Vec<usize> {
    let numberings = seen.histories.iter().flat_map(|history| &history.numberings);
    numberings.map(|one| serde_json::to_string(&one.above).expect("stored").matches(',').count()).collect()
}

#[test]
fn a_record_that_comes_once_more_is_a_repeat_in_whatever_order() {
    let mut seen = Seen::default();
    for index in [3, 0, 7, 1] {
        assert!(seen.take(&header(1, (9, index), (0, 0)), 0), "{index}");
    }
    for index in [0, 1, 3, 7] {
        assert!(!seen.take(&header(1, (9, index), (0, 0)), 0), "{index}");
    }
    assert!(seen.take(&header(1, (9, 2), (0, 0)), 0));
    assert!(seen.take(&header(1, (10, 2), (0, 0)), 0), "another epoch");
    assert!(seen.take(&header(2, (9, 2), (0, 0)), 0), "another numbering");
}

#[test]
fn before_the_floor_all_is_a_repeat_and_nothing_is_remembered() {
    let mut seen = Seen::default();
    for index in 0..100 {
        assert!(seen.take(&header(1, (9, index), (0, 0)), 0));
    }
    // The record that says so is the first that was not acknowledged.
    assert!(seen.take(&header(1, (9, 100), (9, 100)), 0));
    assert_eq!(above(&seen), [1]);
    for index in 0..=100 {
        assert!(!seen.take(&header(1, (9, index), (0, 0)), 0), "{index}");
    }
    assert!(seen.take(&header(1, (9, 101), (9, 90)), 0), "a floor never goes back");
    assert!(!seen.take(&header(1, (9, 95), (0, 0)), 0));
}

#[test]
fn what_is_not_known_is_new_whatever_is_known_of_others() {
    let mut seen = Seen::default();
    assert!(seen.take(&header(1, (900, 0), (900, 0)), 0));
    // A log that was restored from a backup gives the numbers of its epochs once more, in a numbering of its own.
    assert!(seen.take(&header(2, (50, 0), (0, 0)), 0));
    // What an older attempt says late is said of none that began later.
    let late = NumberingId { began_ms: 1, nonce: 7 };
    assert!(seen.take(&Header { numbering: late, since: Epoch(700), ..header(1, (901, 0), (901, 0)) }, 0));
    assert!(seen.take(&header(2, (50, 1), (0, 0)), 0));
    for other in [
        Header { job: JobId::new("fork").expect("a name"), ..header(1, (900, 0), (0, 0)) },
        Header { uid: Uid::new("other").expect("a name"), ..header(1, (900, 0), (0, 0)) },
        Header { generation: Generation(6), ..header(1, (900, 0), (0, 0)) },
    ] {
        assert!(seen.take(&other, 0), "{other:?}");
        assert!(!seen.take(&other, 0), "{other:?}");
    }
}

#[test]
fn what_older_attempts_left_above_their_floors_goes_when_a_newer_one_says_that_it_is_over() {
    let mut seen = Seen::default();
    for index in 0..50 {
        assert!(seen.take(&header(1, (9, index), (0, 0)), 0));
    }
    let newer = |place, floor| Header { since: Epoch(10), ..header(2, place, floor) };
    assert!(seen.take(&newer((10, 0), (0, 0)), 0));
    assert_eq!(above(&seen), [50, 1], "nothing was said yet");
    assert!(seen.take(&newer((10, 1), (10, 0)), 0));
    assert_eq!(above(&seen), [0, 2]);
    assert!(!seen.take(&header(1, (9, 49), (0, 0)), 0));
    assert!(seen.take(&header(1, (10, 0), (0, 0)), 0), "said of earlier epochs alone");
}

#[test]
fn a_shard_that_goes_on_from_two_has_what_both_had() {
    let (mut one, mut other) = (Seen::default(), Seen::default());
    assert!(one.take(&header(1, (9, 0), (0, 0)), 7));
    assert!(one.take(&header(1, (9, 4), (9, 2)), 8));
    assert!(other.take(&header(1, (9, 1), (0, 0)), 9));
    assert!(other.take(&header(1, (9, 3), (0, 0)), 9));
    assert!(other.take(&header(2, (9, 0), (0, 0)), 5));
    let mut both = one.clone();
    both.union(other.clone());
    other.union(one);
    assert_eq!(both, other, "in whatever order");
    for repeat in [
        header(1, (9, 0), (0, 0)),
        header(1, (9, 3), (0, 0)),
        header(1, (9, 4), (0, 0)),
        header(2, (9, 0), (0, 0)),
    ] {
        assert!(!both.take(&repeat, 9), "{repeat:?}");
    }
    assert!(both.take(&header(1, (9, 2), (0, 0)), 9));
}

#[test]
fn a_numbering_is_forgotten_after_a_time_and_where_there_are_too_many() {
    let mut seen = Seen::default();
    assert!(seen.take(&header(1, (9, 0), (0, 0)), 0));
    // Long after, of the same: nothing is forgotten, as nothing grows.
    assert!(!seen.take(&header(1, (9, 0), (0, 0)), 2 * KEPT_MS));
    assert!(seen.take(&header(2, (9, 0), (0, 0)), 3 * KEPT_MS - HOUR_MS));
    assert_eq!(count(&seen), 2);
    assert!(seen.take(&header(3, (9, 0), (0, 0)), 3 * KEPT_MS + HOUR_MS));
    assert_eq!(count(&seen), 2, "the first has gone");
    // A job that restarts all the time costs the other one nothing.
    let quiet = Header { job: JobId::new("quiet").expect("a name"), ..header(1, (9, 0), (0, 0)) };
    assert!(seen.take(&quiet, 3 * KEPT_MS));
    for began in 10..10 + 3 * NUMBERINGS_MAX as u64 {
        assert!(seen.take(&header(began, (began, 0), (0, 0)), 3 * KEPT_MS + began as i64));
    }
    assert_eq!(count(&seen), NUMBERINGS_MAX);
    assert!(!seen.take(&quiet, 3 * KEPT_MS + HOUR_MS));
}

#[test]
fn the_stored_form_is_the_one_that_was_released() {
    let mut seen = Seen::default();
    for (place, floor) in [((9, 100), (0, 0)), ((9, 103), (0, 0)), ((10, 4), (9, 2))] {
        assert!(seen.take(&header(1_764_471_600_123, place, floor), 1_764_471_600_999));
    }
    let fork = Header { job: JobId::new("fork").expect("a name"), ..header(7, (1, 0), (1, 0)) };
    assert!(
        seen.take(&fork, 8)
            && seen.take(&Header { place: (2, 0).into(), floor: (2, 0).into(), ..fork.clone() }, 9)
    );
    let golden = include_str!("../../tests/golden/seen_v1.json");
    assert_eq!(serde_json::to_string(&seen).expect("stored"), golden.trim_end());
    assert_eq!(serde_json::from_str::<Seen>(golden).expect("read"), seen);
}

proptest! {
    /// Where no floor is said, a record is new once: whatever is stored, read and put together meanwhile.
    #[test]
    fn each_record_is_new_once(records in proptest::collection::vec((1_u64..4, (1_u64..4, 0_u64..9), any::<bool>()), 0..200)) {
        let (mut seen, mut oracle) = (Seen::default(), std::collections::BTreeSet::new());
        for (began, place, is_stored) in records {
            prop_assert_eq!(seen.take(&header(began, place, (0, 0)), 0), oracle.insert((began, place)));
            if is_stored {
                let stored = serde_json::to_string(&seen).expect("stored");
                let read: Seen = serde_json::from_str(&stored).expect("read");
                prop_assert_eq!(&read, &seen);
                seen.union(read);
            }
        }
    }
}
