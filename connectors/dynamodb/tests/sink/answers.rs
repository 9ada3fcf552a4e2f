//! Requests and answers that are lost, arrive twice, or arrive after what is newer: the table is what it would be without.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidelock::SinkAttempt;
use tidelock_dynamodb::{DynamoWriter, ItemChange, ItemUpdate};
use tidelock_processes::{count, seed};
use tidelock_testkit::{Fault, HttpFaults};

use super::order::Watch;
use super::place::{
    Expected, Place, attempt, attempt_of, die_writing, gone, key, opened, put, refused, set, throttled, write,
};

/// Longer than any test writes.
const NEVER: Fault = Fault::Late(1_000_000);

fn faults_of_one() -> Vec<Fault> {
    let mut faults =
        vec![Fault::Cut, Fault::Lost, Fault::Half, Fault::Doubled, Fault::Slow, NEVER, throttled()];
    faults.push(refused(400, "ThrottlingException"));
    faults.push(refused(500, "InternalServerError"));
    // Of what stands between us and the service.
    faults.push(Fault::Refused { status: 503, body: "<html>busy</html>".into() });
    // What says that all is well, and is no answer of the service.
    faults.extend(["", "{}"].map(|body| Fault::Refused { status: 200, body: body.into() }));
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_an_answer_is_made_again_and_changes_nothing_twice() {
    for fault in faults_of_one() {
        let mut place = Place::versioned().await;
        let faults = place.behind_faults().await;
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let before = vec![put("a", 1), put("b", 1), put("c", 1)];
        let mut expected = Expected::default();
        expected.take(&before);
        write(&mut writer, before).await.unwrap();
        for records in
            [vec![put("a", 2)], vec![gone("b")], vec![set("c", "more", 7)], vec![set("b", "value", 3)]]
        {
            // Some of them are none for the writer, which sends nothing again.
            let times = if matches!(fault, Fault::Doubled | Fault::Slow) { 1 } else { 2 };
            faults.plan(&fault, times);
            let met = faults.count();
            expected.take(&records);
            write(&mut writer, records).await.unwrap();
            assert_eq!(faults.count() - met, times as u64, "{fault:?}");
            expected.check(&place, &format!("{fault:?}")).await;
        }
        // What is still on its way comes now.
        faults.heal();
        faults.deliver_late().await.unwrap();
        expected.check(&place, &format!("late: {fault:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_arrives_after_newer_ones_wins_over_nothing() {
    let mut place = Place::versioned().await;
    let faults = place.behind_faults().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let mut expected = Expected::default();
    for records in [
        vec![put("a", 1), put("b", 1), put("c", 1), put("d", 1)],
        vec![put("a", 2), gone("b"), set("c", "more", 2), gone("d")],
        vec![gone("a"), set("b", "value", 3), put("c", 3)],
        vec![set("d", "value", 4), put("a", 4)],
    ] {
        expected.take(&records);
        // The first request of each change is late, and the second one is done.
        faults.plan(&NEVER, records.len());
        write(&mut writer, records).await.unwrap();
    }
    expected.check(&place, "before").await;
    assert_eq!(faults.deliver_late().await.unwrap(), 13);
    expected.check(&place, "when all came late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_attempt_sent_arrives_after_a_newer_one_wrote_and_wins_over_nothing() {
    let mut place = Place::versioned().await;
    let faults = place.behind_faults().await;
    let mut expected = Expected::default();
    for (number, sent, records) in [
        (1, put("a", 1), vec![gone("a"), put("b", 2)]),
        (3, gone("b"), vec![put("a", 4), put("b", 4)]),
        (5, set("a", "more", 5), vec![put("a", 6), set("b", "more", 6)]),
    ] {
        let mut older = opened(&place.sink(), &attempt(number)).await;
        faults.plan(&NEVER, 1);
        die_writing(&faults, &mut older, vec![sent]).await;
        faults.heal();
        let mut newer = opened(&place.sink(), &attempt(number + 1)).await;
        expected.take(&records);
        write(&mut newer, records).await.unwrap();
        assert_eq!(faults.deliver_late().await.unwrap(), 1);
        expected.check(&place, &format!("attempt {number}")).await;
    }
}

/// What may happen to a request, and how often.
fn chances(scale: f64) -> Vec<(Fault, f64)> {
    let all = [
        (Fault::Cut, 0.05),
        (Fault::Lost, 0.1),
        (Fault::Half, 0.05),
        (Fault::Doubled, 0.1),
        (Fault::Late(3), 0.05),
        (Fault::Late(20), 0.05),
        (throttled(), 0.05),
        (refused(500, "InternalServerError"), 0.05),
    ];
    all.into_iter().map(|(fault, chance)| (fault, chance * scale)).collect()
}

/// Few keys, so that what is late meets what is newer.
fn random_records(rng: &mut StdRng) -> Vec<ItemChange> {
    let count = rng.random_range(1..8);
    let record = |_| {
        let of = format!("k{}", rng.random_range(0..5));
        let value = u64::from(rng.random::<u32>());
        match rng.random_range(0..10) {
            0..2 => gone(&of),
            2..5 => {
                let name = ["value", "more", "other"][rng.random_range(0..3)];
                let update = ItemUpdate::of(key(&of)).set(name, value);
                ItemChange::update(if name == "other" { update.remove("more") } else { update })
            }
            _ => put(&of, value),
        }
    };
    (0..count).map(record).collect()
}

/// The next attempt, of which one in three begins as a rollback does.
async fn next(place: &Place, last: &SinkAttempt, rng: &mut StdRng) -> (SinkAttempt, DynamoWriter) {
    let generation = last.generation.0 + u64::from(rng.random_bool(0.3));
    let attempt = attempt_of("job", generation, last.number.0 + 1);
    let writer = opened(&place.sink(), &attempt).await;
    (attempt, writer)
}

async fn deliver(faults: &HttpFaults, chance: f64, rng: &mut StdRng) {
    if rng.random_bool(chance) {
        faults.deliver_late().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_right_whatever_is_lost_doubled_and_late_and_whoever_dies() {
    let seed = seed("versioned");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut place = Place::versioned().await;
    place.config.requests_in_flight_max = 4;
    let faults = place.behind_faults().await;
    let mut expected = Expected::default();
    let mut attempt = attempt(1);
    let mut writer = opened(&place.sink(), &attempt).await;
    for round in 0..count(80, 4_000) {
        faults.random(rng.random(), chances(1.0));
        let records = random_records(&mut rng);
        expected.take(&records);
        if rng.random_bool(0.2) {
            // It dies, and the next attempt is given the same again.
            die_writing(&faults, &mut writer, records.clone()).await;
            (attempt, writer) = next(&place, &attempt, &mut rng).await;
        }
        write(&mut writer, records).await.unwrap();
        deliver(&faults, 0.2, &mut rng).await;
        expected.check(&place, &format!("round {round}")).await;
    }
    faults.heal();
    faults.deliver_late().await.unwrap();
    expected.check(&place, "at the end").await;
}

/// An order of arrival is nothing here: batches come again, too, as after a rollback.
#[tokio::test(flavor = "multi_thread")]
async fn items_are_right_whatever_is_lost_doubled_and_late_where_versions_are_those_of_records() {
    let seed = seed("versions of records");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut place = Place::versioned().await.by_record();
    let faults = place.behind_faults().await;
    let (mut version, mut expected) = (0, Expected::default());
    let mut before: Vec<Vec<ItemChange>> = Vec::new();
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    for round in 0..count(60, 3_000) {
        faults.random(rng.random(), chances(1.0));
        let records = random_records(&mut rng).into_iter().map(|record| {
            version += 1;
            record.with_version(version)
        });
        before.push(records.collect());
        let records = before.last().unwrap();
        expected.take(records);
        write(&mut writer, records.clone()).await.unwrap();
        if rng.random_bool(0.3) {
            let again = before[rng.random_range(0..before.len())].clone();
            write(&mut writer, again).await.unwrap();
        }
        deliver(&faults, 0.2, &mut rng).await;
        expected.check(&place, &format!("round {round}")).await;
    }
}

/// At least once: what is lost and doubled changes nothing; what is late may, and is left out.
#[tokio::test(flavor = "multi_thread")]
async fn batches_are_right_whatever_is_lost_and_doubled() {
    let seed = seed("batched");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut place = Place::batched().await;
    let faults = place.behind_faults().await;
    let watch = Watch::over(&faults);
    let mut expected = Expected::default();
    let mut attempt = attempt(1);
    let mut writer = opened(&place.sink(), &attempt).await;
    let without_late = |(fault, _): &(Fault, f64)| !matches!(fault, Fault::Late(_));
    for round in 0..count(60, 3_000) {
        faults.random(rng.random(), chances(2.0).into_iter().filter(without_late));
        let value = |at: u64| {
            if at.is_multiple_of(7) {
                gone(&format!("k{at}"))
            } else {
                put(&format!("k{at}"), rng.random_range(0..1_000))
            }
        };
        let records: Vec<ItemChange> = (0..60).map(value).collect();
        expected.take(&records);
        if rng.random_bool(0.2) {
            faults.plan(&Fault::Lost, 1);
            die_writing(&faults, &mut writer, records.clone()).await;
            watch.nothing().await;
            (attempt, writer) = next(&place, &attempt, &mut rng).await;
        }
        write(&mut writer, records).await.unwrap();
        expected.check(&place, &format!("round {round}")).await;
    }
}
