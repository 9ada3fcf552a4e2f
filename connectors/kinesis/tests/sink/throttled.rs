//! A shard that takes no more, beside others that do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidelock::{Epoch, SinkWriter as _};
use tidelock_kinesis::KinesisPut;

use super::place::{Place, attempt, opened, put, write};
use super::reading::bare;
use super::refused::refuse_some;

/// Records of two shards, by turns, each all over the half of the hash keys that is its shard's.
fn of_two_shards(from: u64, to: u64) -> Vec<KinesisPut> {
    let record = |at: u64| {
        let hash = u128::from(at * 7_919 % 10_007) * (u128::MAX / 2 / 10_007);
        match at % 2 {
            0 => put(&format!("slow-{at}"), at).with_hash_key(hash),
            _ => put(&format!("fast-{at}"), at).with_hash_key(u128::MAX - hash),
        }
    };
    (from..to).map(record).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_throttled_holds_back_its_own_records_and_no_others() {
    let mut place = Place::direct(2).await;
    let faults = place.behind_faults().await;
    let is_throttled = Arc::new(AtomicBool::new(false));
    let throttles = Arc::clone(&is_throttled);
    let watched = refuse_some(&faults, move |asked| {
        let refused = asked.key.starts_with("slow") && throttles.load(Ordering::SeqCst);
        refused.then_some("ProvisionedThroughputExceededException")
    });
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    // It learns where the shards are.
    write(&mut writer, of_two_shards(0, 40)).await.unwrap();
    is_throttled.store(true, Ordering::SeqCst);
    let mut records = of_two_shards(40, 10_040);
    writer.write(&mut records).await.unwrap();
    let of_fast = async || {
        bare(&place.stream).await.into_iter().filter(|one| one.partition_key.starts_with("fast")).count()
    };
    while of_fast().await < 5_020 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // None of 5,000 got through. Those that were under way together were refused together; after them a few are tried now and then.
    let refused = || watched.lock().unwrap().refused.values().sum::<usize>();
    let before = refused();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = refused();
    assert!((1..8_000).contains(&before) && after - before < 300, "{before} refusals, and {after}");
    is_throttled.store(false, Ordering::SeqCst);
    writer.prepare(Epoch(2)).await.unwrap();
    assert_eq!(bare(&place.stream).await.len(), 10_040);
}
