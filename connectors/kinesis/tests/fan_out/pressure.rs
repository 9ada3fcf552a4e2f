//! Readers that do not read.

use std::time::Duration;

use tidelock::{Known, Source as _, SplitReader as _};
use tokio::time::{sleep, timeout};

use crate::shim::PATIENCE;
use crate::world::World;

/// What nobody takes holds up what shares a connection with it, so it is given up. Nothing of it is lost, and what was taken is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_nobody_reads_is_given_up_and_goes_on_where_the_reader_is() {
    let mut world = World::with_shards(1).await;
    world.shim.script().event_records = 1;
    world.put_large(64, 500_000).await;
    let source =
        world.source(|config| config.fan_out = Some(World::fan_out().with_times_ms(60_000, 25, 100))).await;
    let first_run = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let split = source.discover(&first_run).await.unwrap().new.remove(0);
    let mut reader = source.open(split).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < world.total() {
        let given_up = world.shim.script().given_up;
        let batch = timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap();
        seen.extend(batch.records.iter().map(|record| String::from_utf8(record.data.to_vec()).unwrap()));
        // Twice it does not come back before the subscription was given up.
        if given_up < 2 && seen.len() % 10 == 0 {
            while world.shim.script().given_up == given_up {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
    world.check(&seen);
    let script = world.shim.script();
    assert!(script.given_up >= 2 && script.asked.len() >= 3, "{:?}", script.asked);
}
