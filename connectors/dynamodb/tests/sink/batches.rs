//! Batches of which the server does a part.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value as Json, json};
use tidelock_dynamodb::{Change, Item, ItemChange};
use tidelock_processes::{count, seed};
use tidelock_testkit::{Fault, HttpFaults};

use super::common::{self, partial::leave_some_undone};
use super::order::keys_of;
use super::place::{Expected, Place, attempt, gone, opened, put, put_item, refused, write};

/// A request has 16 MB at most on its way, and DynamoDB counts a byte for each of these letters where it stores them.
#[tokio::test]
async fn items_that_are_long_on_their_way_fit_into_their_requests() {
    let place = Place::batched().await;
    let record = |at: u64| put_item(&format!("k{at}"), [("value", "\u{1}".repeat(390_000).into())]);
    write(&mut opened(&place.sink(), &attempt(1)).await, (0..8).map(record).collect()).await.unwrap();
    assert_eq!(place.items().await.len(), 8);
}

fn random_records(rng: &mut StdRng) -> Vec<ItemChange> {
    let count = rng.random_range(1..200);
    let record = |_| {
        let of = format!("k{}", rng.random_range(0..120));
        if rng.random_bool(0.2) { gone(&of) } else { put(&of, rng.random_range(0..1_000)) }
    };
    (0..count).map(record).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_processed_of_a_batch_is_written_and_nothing_newer_is_aged_by_it() {
    let seed = seed("unprocessed");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut place = Place::batched().await;
    let faults = place.behind_faults().await;
    leave_some_undone(&faults, rng.random());
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let mut expected = Expected::default();
    for round in 0..count(10, 500) {
        let records = random_records(&mut rng);
        expected.take(&records);
        write(&mut writer, records).await.unwrap();
        expected.check(&place, &format!("round {round}")).await;
    }
}

/// Somebody between the sink and the server says that all is well, and the server was never asked: nothing is taken for processed.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_says_nothing_is_not_taken_for_written() {
    for body in ["", "{}"] {
        let mut place = Place::batched().await;
        let faults = place.behind_faults().await;
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let records: Vec<ItemChange> = (0..60).map(|at| put(&format!("k{at}"), at)).collect();
        let mut expected = Expected::default();
        expected.take(&records);
        faults.plan(&Fault::Refused { status: 200, body: body.into() }, 4);
        write(&mut writer, records).await.unwrap();
        assert_eq!(faults.count(), 4, "{body:?}: it met its faults");
        expected.check(&place, &format!("after {body:?}")).await;
    }
}

/// A server may have a bound that the sink does not know of: what it takes in parts is written, and nobody is told that it cannot be.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_as_a_whole_is_written_in_parts() {
    let mut place = Place::batched().await;
    let faults = place.behind_faults().await;
    faults.only(|request| keys_of(request.body()).len() > 7);
    faults.random(0, [(refused(400, "ValidationException"), 1.0)]);
    let records: Vec<ItemChange> = (0..60).map(|at| put(&format!("k{at}"), at)).collect();
    let mut expected = Expected::default();
    expected.take(&records);
    write(&mut opened(&place.sink(), &attempt(1)).await, records).await.unwrap();
    expected.check(&place, "in parts").await;
}

/// The server does a batch late that nobody waits for any more, because its attempt ended: the next attempt does not overtake it.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_under_way_when_its_attempt_ends_is_done_before_the_next_one_writes() {
    let mut place = Place::batched().await;
    let faults = place.behind_faults().await;
    let (client, table) = (place.client.clone(), place.table().to_owned());
    let (began, is_done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (begins, done) = (Arc::clone(&began), Arc::clone(&is_done));
    faults.hook(move |request| {
        if keys_of(request.body()).is_empty() || begins.swap(true, Ordering::SeqCst) {
            return None;
        }
        tokio::task::block_in_place(|| {
            std::thread::sleep(Duration::from_millis(500));
            let old = common::put(&client, &table, put_of(put("a", 1)));
            tokio::runtime::Handle::current().block_on(old);
        });
        done.store(true, Ordering::SeqCst);
        None
    });
    let until = async |flag: &AtomicBool| {
        while !flag.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    tokio::select! {
        done = write(&mut writer, vec![put("a", 1)]) => panic!("it is under way: {done:?}"),
        () = until(&began) => {}
    }
    drop(writer);
    let mut next = opened(&sink, &attempt(2)).await;
    write(&mut next, vec![put("a", 2)]).await.unwrap();
    until(&is_done).await;
    assert_eq!(place.value("a").await, Some(2), "nothing old came after it");
}

fn put_of(record: ItemChange) -> Item {
    match record.change {
        Change::Put(item) => item,
        other => panic!("a put: {other:?}"),
    }
}

/// What a batch was and is not processed of it, by key.
type Undone = Arc<Mutex<BTreeMap<String, Json>>>;

/// Of each batch only its first half is done. Fails where another write of a key comes while one of it is not processed.
fn halve(faults: &HttpFaults) -> (Undone, Arc<Mutex<Vec<String>>>) {
    let (undone, wrong) = (Undone::default(), Arc::<Mutex<Vec<String>>>::default());
    let (left, tells) = (Arc::clone(&undone), Arc::clone(&wrong));
    faults.hook(move |request| {
        let mut body: Json = serde_json::from_slice(request.body()).ok()?;
        let (table, writes) = body["RequestItems"].as_object()?.iter().next()?;
        let (table, writes) = (table.clone(), writes.as_array()?.clone());
        let (mut left, mut tells) = (left.lock().unwrap(), tells.lock().unwrap());
        if writes.len() > 25 {
            tells.push(format!("{} writes in a batch", writes.len()));
        }
        let key_of = |write: &Json| {
            keys_of(json!({ "RequestItems": { "t": [write] } }).to_string().as_bytes()).remove(0)
        };
        let mut keys: Vec<String> = writes.iter().map(key_of).collect();
        for (key, write) in keys.iter().zip(&writes) {
            if left.remove(key).is_some_and(|before| before != *write) {
                tells.push(format!("{key}: another write while one is not processed"));
            }
        }
        keys.sort();
        keys.dedup();
        if keys.len() < writes.len() {
            tells.push("a key twice in a batch".to_owned());
        }
        let (done, rest) = writes.split_at(writes.len().div_ceil(2));
        left.extend(rest.iter().map(|write| (key_of(write), write.clone())));
        body["RequestItems"][&table] = done.into();
        *request.body_mut() = body.to_string().into();
        let rest = rest.to_vec();
        Some(Box::new(move |answer| {
            if let Ok(mut said) = serde_json::from_slice::<Json>(answer.body()) {
                said["UnprocessedItems"] = if rest.is_empty() { json!({}) } else { json!({ table: rest }) };
                *answer.body_mut() = said.to_string().into();
            }
        }))
    });
    (undone, wrong)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_key_nothing_else_is_sent_while_a_write_of_it_is_not_processed() {
    let mut place = Place::batched().await;
    let faults = place.behind_faults().await;
    let (undone, wrong) = halve(&faults);
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let mut expected = Expected::default();
    for round in 0..3_u64 {
        // Each key three times in a call.
        let records = |at: u64| {
            if at.is_multiple_of(11) {
                gone(&format!("k{}", at % 60))
            } else {
                put(&format!("k{}", at % 60), round * 1_000 + at)
            }
        };
        let records: Vec<ItemChange> = (0..180).map(records).collect();
        expected.take(&records);
        write(&mut writer, records).await.unwrap();
        assert!(undone.lock().unwrap().is_empty(), "round {round}");
    }
    assert_eq!(*wrong.lock().unwrap(), Vec::<String>::new());
    expected.check(&place, "at the end").await;
}
