//! Pruning beside a job whose log takes long to list.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod reading;

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tidelock::JobId;
use tidelock::job::JobConfig;
use tidelock::log::Log;

/// How many entries are left after a while where listing the log takes so long.
async fn left(list: Duration) -> usize {
    let store = Arc::new(InMemory::new());
    // Whoever lists waits; everything else is at once.
    let slow = ThrottleConfig { wait_list_per_call: list, ..Default::default() };
    let slow =
        Arc::new(ThrottledStore::new(object_store::prefix::PrefixStore::new(Arc::clone(&store), ""), slow));
    let log = Log::on(slow as _, Path::from("log"));
    let plain = Log::on(Arc::clone(&store) as _, Path::from("log"));
    let mut config = JobConfig::new(JobId::new("job").unwrap(), "memory");
    config.settings.interval = Duration::from_millis(10);
    let (ended, left) = reading::run(config, log, async |control| {
        tokio::time::sleep(RUN).await;
        let left = plain.positions().await.unwrap().len();
        control.cancel().await;
        left
    })
    .await
    .unwrap();
    ended.unwrap();
    left
}

const RUN: Duration = Duration::from_secs(100);

#[tokio::test(start_paused = true)]
async fn a_log_that_takes_longer_to_list_than_a_thousand_checkpoints_is_pruned_too() {
    let (quick, slow) = (left(Duration::from_secs(1)).await, left(Duration::from_secs(12)).await);
    // 10,000 were appended.
    assert!(quick < 100 && slow < 100, "{quick} where listing takes a second, {slow} where it takes twelve");
}
