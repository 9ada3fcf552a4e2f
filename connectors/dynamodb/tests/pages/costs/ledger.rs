//! What the ledger costs beside the items.

use tidelock_dynamodb::{ItemChange, ItemUpdate, Mode};

use super::counted::Counted;
use super::item::key;
use super::line::units;
use super::meter::Cost;

/// Write units of the ledger's item in a transaction.
pub(crate) const OF_A_TRANSACTION: f64 = 2.0;

/// Of an item that is smaller than a kilobyte.
const OF_A_CHANGE: f64 = 2.0;

/// How many lanes an epoch of many changes has: the setting `lanes_max`, as it is where nobody sets it.
const LANES: u32 = 8;

fn counts(counters: usize) -> Vec<ItemChange> {
    (0..counters).map(|at| ItemChange::update(ItemUpdate::of(key(at)).add("n", 1))).collect()
}

fn line(what: &str, Cost { requests, read, write, refused }: Cost) -> String {
    format!("| {what} | {requests} | {read} | {} |", units(write, refused))
}

/// What is left of a cost without these changes.
fn without(changes: u32, mut cost: Cost) -> Cost {
    cost.write -= OF_A_CHANGE * f64::from(changes);
    cost
}

pub(crate) async fn table() -> Vec<String> {
    let mut table = vec![
        "| the ledger | requests | read units | write units |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    let mut job = Counted::new(Mode::Ledger).await;
    table.push(line("a job begins anew, and has no lanes yet", job.begin_again().await));
    table.push(line("an epoch without changes", job.told_epoch(Vec::new()).await));
    let one = job.told_epoch(counts(1)).await;
    table.push(line("a transaction of 1 change", without(1, one)));
    let full = job.told_epoch(counts(99)).await;
    table.push(line("a transaction of 99 changes", without(99, full)));
    job.meter.lose_an_answer();
    let lost = job.epoch(counts(1)).await;
    table.push(line("a transaction whose answer is lost", without(1, lost)));
    // It makes its lanes.
    job.epoch(counts(800)).await;
    let large = job.told_epoch(counts(800)).await;
    let chunks = large.requests - 1;
    let of_head = large.write - OF_A_CHANGE * 800.0 - OF_A_TRANSACTION * f64::from(chunks);
    assert!(chunks > LANES, "each lane has one at least, and one has more: {large:?}");
    let beside = Cost { requests: 1, read: large.read, write: of_head, refused: large.refused };
    table.push(line("an epoch of more than one transaction, beside these", beside));
    table.push(line(&format!("a job begins anew, and has {LANES} lanes"), job.begin_again().await));
    table
}
