//! What each mode costs by the item.

use tidelock_dynamodb::{ItemChange, ItemUpdate, Mode, Versions};

use super::counted::Counted;
use super::item::{SIZES, item, key};
use super::line::{by_size, head, line};
use super::meter::Cost;

/// As many as a transaction has beside the item of the ledger, and some batches.
const ITEMS: u32 = 50;
const ACTIONS: u32 = 99;
const BATCH: u32 = 25;

/// What is done with each item.
#[derive(Debug, Clone, Copy)]
enum Does {
    Put,
    Update,
    Add,
    Delete,
    /// Every attribute, so that the item has its size.
    UpdateAll,
}

impl Does {
    fn with(self, at: usize, bytes: usize) -> ItemChange {
        match self {
            Self::Put => ItemChange::put(item(at, bytes)),
            Self::Update => ItemChange::update(ItemUpdate::of(key(at)).set("n", 2)),
            Self::Add => ItemChange::update(ItemUpdate::of(key(at)).add("n", 1)),
            Self::Delete => ItemChange::delete(key(at)),
            Self::UpdateAll => {
                let mut update = ItemUpdate::of(key(at));
                update.set = item(at, bytes);
                update.set.remove("pk");
                ItemChange::update(update)
            }
        }
    }

    fn with_each(self, items: u32, bytes: usize) -> Vec<ItemChange> {
        (0..items as usize).map(|at| self.with(at, bytes)).collect()
    }
}

/// What is done with so many items at once costs this, where that was done before.
async fn cost(mode: Mode, before: &[Does], does: Does, items: u32) -> [Cost; SIZES.len()] {
    by_size(async |bytes| {
        let mut job = Counted::new(mode).await;
        for before in before {
            job.epoch(before.with_each(items, bytes)).await;
        }
        job.told_epoch(does.with_each(items, bytes)).await
    })
    .await
}

/// The same of one request whose answer is lost.
async fn lost(mode: Mode, items: u32) -> [Cost; SIZES.len()] {
    by_size(async |bytes| {
        let mut job = Counted::new(mode).await;
        job.meter.lose_an_answer();
        job.epoch(Does::Put.with_each(items, bytes)).await
    })
    .await
}

/// Puts that are older than what is there.
async fn older() -> [Cost; SIZES.len()] {
    by_size(async |bytes| {
        let mut job = Counted::with(Mode::Versioned, Versions::Record).await;
        let puts =
            |version| Does::Put.with_each(ITEMS, bytes).into_iter().map(move |put| put.with_version(version));
        job.epoch(puts(2).collect()).await;
        job.told_epoch(puts(1).collect()).await
    })
    .await
}

/// What a change in a transaction costs, the ledger's own part of it left out.
async fn in_ledger(before: &[Does], does: Does) -> [Cost; SIZES.len()] {
    let one = cost(Mode::Ledger, before, does, 1).await;
    let mut full = cost(Mode::Ledger, before, does, ACTIONS).await;
    for (full, one) in full.iter_mut().zip(one) {
        let of_ledger = one.write - (full.write - one.write) / f64::from(ACTIONS - 1);
        assert_eq!(of_ledger, super::ledger::OF_A_TRANSACTION, "{does:?}");
        full.write -= of_ledger;
    }
    full
}

pub(crate) async fn table() -> Vec<String> {
    use Does::{Add, Delete, Put, Update, UpdateAll};
    let mut table = head("write units for an item of");
    for (what, before, does) in [
        ("`versioned`: a put", &[][..], Put),
        ("`versioned`: a put over an older one", &[Put], Put),
        ("`versioned`: an update of an attribute", &[Put], Update),
        ("`versioned`: a delete, which leaves a tombstone", &[Put], Delete),
        ("`versioned`: an update of a deleted item", &[Put, Delete], UpdateAll),
    ] {
        table.push(line(what, ITEMS, cost(Mode::Versioned, before, does, ITEMS).await));
    }
    table.push(line("`versioned`: a put where something newer is", ITEMS, older().await));
    table.push(line("`versioned`: a put whose answer is lost", 1, lost(Mode::Versioned, 1).await));
    for (what, before, does) in [
        ("`batched`: a put", &[][..], Put),
        ("`batched`: a put over an older one", &[Put], Put),
        ("`batched`: a delete", &[Put], Delete),
    ] {
        table.push(line(what, ITEMS, cost(Mode::Batched, before, does, ITEMS).await));
    }
    table.push(line("`batched`: puts whose answer is lost", BATCH, lost(Mode::Batched, BATCH).await));
    for (what, before, does) in [
        ("`ledger`: a put", &[][..], Put),
        ("`ledger`: a put over an older one", &[Put], Put),
        ("`ledger`: an update of an attribute", &[Put], Update),
        ("`ledger`: an addition to a counter", &[Put], Add),
        ("`ledger`: a delete", &[Put], Delete),
    ] {
        table.push(line(what, ACTIONS, in_ledger(before, does).await));
    }
    table
}
