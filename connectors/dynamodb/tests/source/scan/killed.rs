//! A job that copies a table, killed with signal 9 in the middle of its segments.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tidelock_dynamodb::{Item, Value};
use tidelock_processes::{Moment, Pace, Process, count, seed};

use crate::common::{NewTable, client, config, put, shared};
use crate::job::{What, World};

/// How many items a process has as its share, before it is killed.
const ITEMS_OF_A_KILL: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_segments_leaves_every_item_once() {
    let mut random = StdRng::seed_from_u64(seed("killed in a scan"));
    let client = client(shared()).await;
    let table = NewTable::fresh().make(&client).await;
    let kills = count(4, 40);
    let keys: BTreeMap<String, u64> =
        (0..kills as u64 * ITEMS_OF_A_KILL).map(|number| (format!("k{number}"), 1)).collect();
    let items = keys.keys().map(|key| {
        let item = [("pk".to_owned(), Value::from(key.as_str())), ("number".to_owned(), 0.into())];
        put(&client, &table, Item::from(item))
    });
    stream::iter(items.collect::<Vec<_>>()).buffer_unordered(16).collect::<Vec<()>>().await;
    let mut world = World::new(config(shared()), &table, What::Scan);
    world.pace(Pace::new(Duration::from_millis(4), ITEMS_OF_A_KILL));
    let log = world.log().await;
    for _ in 0..kills {
        let moment = Moment::choose(&mut random, Duration::from_millis(20));
        let before = log.position().await;
        let mut process = world.start();
        let entries = async |process: &mut Process| log.wait_for_entry(process, 2).await;
        moment.wait_for(&log, &mut process, before, entries).await;
        process.kill();
    }
    assert!(!log.is_closed().await, "the table is large enough for kills");
    world.pace(Pace::full());
    world.start().ended().await.assert_success();
    world.check(&keys);
    println!("{kills} kills, {:?}", log.recoveries().await);
}
