//! Requests and answers that are lost, arrive twice, or arrive after what is newer: the table is what it would be without.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidelock::Sink as _;
use tidelock_hbase::{Deletes, Mode, RowMutation};
use tidelock_processes::{Side, count, seed};

use super::held::{CONTROL, Expected, Held, ROWS, random_records};
use super::place::{Place, attempt, commit, gone, opened, prepared, put, tombstones, write};

/// Few rows, so that what is late meets what is newer.
const ROW_COUNT: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_write_whose_answer_is_lost_is_made_again_and_changes_nothing_twice() {
    for side in [Side::Answers, Side::Requests] {
        let mut place = Place::upsert().await;
        let held = Held::before(&mut place).await;
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        write(&mut writer, vec![put("a", 1), put("b", 1)]).await.unwrap();
        let records = vec![put("a", 2), gone("b"), put("c", 2)];
        let mut expected = Expected::default();
        expected.take(&records);
        let (written, lost) = held.lose(ROWS, side, write(&mut writer, records)).await;
        written.unwrap();
        assert_eq!(lost.len(), 1);
        expected.check_compacted(&place).await;
        // What is made again is the same cells.
        let times: BTreeSet<i64> = place.timestamps().await.into_iter().collect();
        held.deliver(&lost[0]).await;
        assert_eq!(place.timestamps().await.into_iter().collect::<BTreeSet<i64>>(), times);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_request_that_arrives_again_after_newer_ones_wins_over_nothing() {
    for deletes in [Deletes::Markers, tombstones()] {
        let mut place = Place::new(Mode::Upsert, deletes.clone()).await;
        let held = Held::before(&mut place).await;
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let old = write(&mut writer, vec![put("a", 1), put("b", 1), put("c", 1)]);
        let (written, late) = held.lose(ROWS, Side::Answers, old).await;
        written.unwrap();
        write(&mut writer, vec![put("a", 2), gone("b")]).await.unwrap();
        let mut expected = Expected::default();
        expected.take(&[put("a", 2), put("c", 1)]);
        for _ in 0..2 {
            held.deliver(&late[0]).await;
            // With the marker of the delete thrown away, it would come back by the next one.
            expected.check_compacted(&place).await;
        }
        let (written, late) = held.lose(ROWS, Side::Answers, write(&mut writer, vec![gone("c")])).await;
        written.unwrap();
        write(&mut writer, vec![put("c", 3)]).await.unwrap();
        expected.take(&[put("c", 3)]);
        held.deliver(&late[0]).await;
        expected.check_compacted(&place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_an_older_attempt_sent_arrives_after_a_newer_one_wrote_and_wins_over_nothing() {
    let mut place = Place::upsert().await;
    let held = Held::before(&mut place).await;
    let mut expected = Expected::default();
    for (number, sent, records) in [
        (1, vec![put("a", 1), put("b", 1)], vec![gone("a"), put("b", 2), put("c", 2)]),
        (3, vec![gone("b"), gone("c")], vec![put("a", 4), put("b", 4)]),
    ] {
        let mut older = opened(&place.sink(), &attempt(number)).await;
        let late = held.die_with(ROWS, write(&mut older, sent)).await.unwrap();
        let mut newer = opened(&place.sink(), &attempt(number + 1)).await;
        expected.take(&records);
        write(&mut newer, records).await.unwrap();
        held.deliver(&late).await;
        if number == 3 {
            // What nobody wrote anew it deletes, as it would have in time.
            expected.take(&[gone("c")]);
        }
        expected.check_compacted(&place).await;
    }
}

/// The control row decides who may give which versions: its requests meet the same.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_claim_whose_answer_is_lost_is_settled_by_looking_and_an_old_one_takes_nothing_back() {
    let mut place = Place::upsert().await.with_own_versions();
    let held = Held::before(&mut place).await;
    let mut kept = Vec::new();
    let mut expected = Expected::default();
    for (number, side) in (1..).zip([Side::Answers, Side::Requests, Side::Answers]) {
        let sink = place.sink();
        let (recovered, lost) = held.lose(CONTROL, side, sink.recover(&attempt(number), &[])).await;
        recovered.unwrap();
        assert_eq!(lost.len(), 1, "a claim is made by one of them");
        kept.extend(lost);
        let mut writer = opened(&sink, &attempt(number)).await;
        let records = vec![put("a", number), if number == 2 { gone("b") } else { put("b", number) }];
        expected.take(&records);
        write(&mut writer, records).await.unwrap();
        for late in &kept {
            held.deliver(late).await;
        }
        let records = vec![put("a", 10 + number)];
        expected.take(&records);
        write(&mut writer, records).await.unwrap();
    }
    expected.check_compacted(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn rows_are_right_whatever_is_lost_and_comes_late_while_they_are_written_at_once() {
    for deletes in [Deletes::Markers, tombstones()] {
        let seed = seed("written at once");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut place = Place::new(Mode::Upsert, deletes.clone()).await.with_own_versions();
        let held = Held::before(&mut place).await;
        let (mut number, mut kept, mut expected) = (1, Vec::new(), Expected::default());
        let mut writer = opened(&place.sink(), &attempt(number)).await;
        for _ in 0..count(60, 3_000) {
            if rng.random_bool(0.1) {
                number += 1;
                let sink = place.sink();
                let (anew, lost) = held.lose(CONTROL, side(&mut rng), opened(&sink, &attempt(number))).await;
                writer = anew;
                kept.extend(lost);
            }
            let records = random_records(&mut rng, ROW_COUNT, &deletes);
            expected.take(&records);
            if rng.random_bool(0.2) {
                // It dies, and the next attempt is given the same again.
                kept.extend(held.die_with(ROWS, write(&mut writer, records.clone())).await);
                number += 1;
                writer = opened(&place.sink(), &attempt(number)).await;
            }
            let (written, lost) = held.lose(ROWS, side(&mut rng), write(&mut writer, records)).await;
            written.unwrap();
            kept.extend(lost);
            deliver_some(&held, &mut kept, &mut rng).await;
            expected.check(&place, "before the next batch").await;
            if rng.random_bool(0.1) {
                expected.check_compacted(&place).await;
            }
        }
        expected.check_compacted(&place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn rows_are_right_whatever_is_lost_and_comes_late_while_they_come_with_their_epochs() {
    let seed = seed("with their epochs");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut place = Place::ledger().await.with_own_versions();
    let held = Held::before(&mut place).await;
    let (mut number, mut kept, mut expected) = (1, Vec::new(), Expected::default());
    let mut sink = place.sink();
    let (mut writer, mut writer_of) = (opened(&sink, &attempt(number)).await, number);
    for epoch in 1..=u64::try_from(count(30, 1_000)).unwrap() {
        // The same cells in several calls of the writer.
        for _ in 0..rng.random_range(0..3) {
            let records = random_records(&mut rng, ROW_COUNT, &place.config.deletes);
            expected.take(&records);
            write(&mut writer, records).await.unwrap();
        }
        let listed = prepared(&mut writer, &attempt(number), epoch, Vec::new()).await;
        let calls = if rng.random_bool(0.5) { ROWS } else { CONTROL };
        if rng.random_bool(0.3) {
            // It dies, and the next attempt commits the same.
            kept.extend(held.die_with(calls, commit(&sink, epoch, &listed)).await);
            number += 1;
            sink = place.sink();
            sink.recover(&attempt(number), &listed).await.unwrap();
        }
        let (committed, lost) = held.lose(calls, side(&mut rng), commit(&sink, epoch, &listed)).await;
        committed.unwrap();
        kept.extend(lost);
        if number > writer_of {
            writer = opened(&sink, &attempt(number)).await;
            writer_of = number;
        }
        deliver_some(&held, &mut kept, &mut rng).await;
        expected.check(&place, "before the next epoch").await;
        if rng.random_bool(0.1) {
            expected.check_compacted(&place).await;
        }
    }
    expected.check_compacted(&place).await;
}

/// An order of arrival is nothing here: batches come again, too, as after a rollback.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn rows_are_right_whatever_is_lost_and_comes_late_where_versions_are_those_of_records() {
    let seed = seed("versions of records");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut place = Place::upsert().await.by_record();
    let held = Held::before(&mut place).await;
    let (mut version, mut kept, mut expected) = (0, Vec::new(), Expected::default());
    let mut before: Vec<Vec<RowMutation>> = Vec::new();
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    for _ in 0..count(40, 2_000) {
        let next = |record: RowMutation| {
            version += 1;
            record.with_version(version)
        };
        let records = random_records(&mut rng, ROW_COUNT, &Deletes::Markers).into_iter().map(next);
        before.push(records.collect());
        let records = before.last().unwrap();
        expected.take(records);
        let (written, lost) = held.lose(ROWS, side(&mut rng), write(&mut writer, records.clone())).await;
        written.unwrap();
        kept.extend(lost);
        if rng.random_bool(0.3) {
            let again = before[rng.random_range(0..before.len())].clone();
            write(&mut writer, again).await.unwrap();
        }
        deliver_some(&held, &mut kept, &mut rng).await;
        expected.check(&place, "before the next batch").await;
        if rng.random_bool(0.1) {
            expected.check_compacted(&place).await;
        }
    }
    expected.check_compacted(&place).await;
}

fn side(rng: &mut StdRng) -> Side {
    if rng.random_bool(0.5) { Side::Answers } else { Side::Requests }
}

/// Some of what was lost arrives now, in any order.
async fn deliver_some(held: &Held, kept: &mut Vec<Vec<u8>>, rng: &mut StdRng) {
    while !kept.is_empty() && rng.random_bool(0.4) {
        let late = kept.swap_remove(rng.random_range(0..kept.len()));
        held.deliver(&late).await;
    }
}
