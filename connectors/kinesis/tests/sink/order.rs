//! The order of a key, whatever is refused, lost, late and doubled.

use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidelock_kinesis::Order;
use tidelock_processes::{count, seed};
use tidelock_testkit::Fault;

use super::place::{Place, attempt, expected, opened, puts, refused, write};
use super::refused::refuse_some;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_keeps_its_order_when_some_records_of_requests_are_refused() {
    let seed = seed("refused records");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..count(3, 50) {
        let mut place = Place::direct(3).await;
        let faults = place.behind_faults().await;
        let chance = Mutex::new(StdRng::seed_from_u64(random.random()));
        let watched = refuse_some(&faults, move |_| {
            let mut chance = chance.lock().unwrap();
            let codes = [None, Some("InternalFailure"), Some("ProvisionedThroughputExceededException")];
            codes[if chance.random_bool(0.7) { 0 } else { chance.random_range(1..3) }]
        });
        place.config.request_records_max = random.random_range(1..60);
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let all = puts(30, 0, 300);
        for some in all.chunks(110) {
            write(&mut writer, some.to_vec()).await.unwrap();
        }
        let watched = std::mem::take(&mut *watched.lock().unwrap());
        assert!(watched.wrong.is_empty(), "seed {seed}, round {round}: {:?}", watched.wrong);
        assert!(watched.refused.values().sum::<usize>() > 20, "{watched:?}");
        // Nothing was lost on its way, so that nothing is there twice either.
        let seen = place.seen().await;
        assert_eq!(seen, expected(&all), "seed {seed}, round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_keeps_the_order_of_what_comes_first_whatever_becomes_of_requests() {
    let seed = seed("requests that are lost and late");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..count(2, 50) {
        let mut place = Place::direct(2).await;
        let faults = place.behind_faults().await;
        faults.random(random.random(), faults_of_every_kind());
        place.config.request_records_max = 20;
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let all = puts(25, 0, 500);
        for some in all.chunks(170) {
            write(&mut writer, some.to_vec()).await.unwrap();
        }
        assert!(faults.count() > 0);
        faults.heal();
        faults.deliver_late().await.unwrap();
        assert_eq!(place.first_seen().await, expected(&all), "seed {seed}, round {round}");
    }
}

pub(crate) fn faults_of_every_kind() -> Vec<(Fault, f64)> {
    vec![
        (Fault::Cut, 0.04),
        (Fault::Lost, 0.05),
        (Fault::Half, 0.02),
        (Fault::Doubled, 0.04),
        (Fault::Late(2), 0.04),
        (Fault::Late(30), 0.03),
        (refused(500, "InternalFailure"), 0.02),
        (refused(400, "ProvisionedThroughputExceededException"), 0.02),
        (Fault::Refused { status: 502, body: "<html>".into() }, 0.01),
        // What says that all is well, and is no answer of the service.
        (Fault::Refused { status: 200, body: "".into() }, 0.02),
        (Fault::Refused { status: 200, body: "{}".into() }, 0.02),
        (Fault::Refused { status: 200, body: r#"{"FailedRecordCount":0,"Records":[]}"#.into() }, 0.02),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_order_records_of_a_key_go_in_one_request() {
    let mut place = Place::direct(1).await;
    let faults = place.behind_faults().await;
    place.config.order = Order::None;
    let watched = refuse_some(&faults, |_| None);
    let all = puts(1, 0, 400);
    write(&mut opened(&place.sink(), &attempt(1)).await, all.clone()).await.unwrap();
    assert_eq!(watched.lock().unwrap().requests, [400]);
    let mut seen = place.seen().await;
    seen.values_mut().for_each(|texts| texts.sort_by_key(|text| text.parse::<u64>().unwrap()));
    assert_eq!(seen, expected(&all));
}
