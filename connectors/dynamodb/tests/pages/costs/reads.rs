//! What lookups and scans cost.

use std::collections::BTreeMap;

use tidelock::{Known, Lookup as _, Source as _, SplitReader as _};
use tidelock_dynamodb::{DynamoLookup, DynamoLookupConfig, DynamoScan, DynamoScanConfig};

use super::figures::Figures;
use super::item::{SIZES, item, key};
use super::line::{by_size, head, line};
use super::meter::{Cost, Meter};
use crate::common::{self, NewTable};

/// As many as a request of a lookup has.
const ITEMS: u32 = 100;

/// What is read of a table.
#[derive(Debug, Clone, Copy)]
enum Reads {
    Found,
    Missing,
    All,
}

/// A table of items for each size.
async fn tables() -> [String; SIZES.len()] {
    let client = common::client(common::shared()).await;
    by_size(async |bytes| {
        let table = NewTable::fresh().make(&client).await;
        for at in 0..ITEMS as usize {
            common::put(&client, &table, item(at, bytes)).await;
        }
        table
    })
    .await
}

async fn cost(tables: &BTreeMap<usize, String>, reads: Reads, consistent: bool) -> [Cost; SIZES.len()] {
    by_size(async |bytes| {
        let table = &tables[&bytes];
        let (meter, figures) = (Meter::start().await, Figures::default());
        let here = metrics::set_default_local_recorder(&figures);
        match reads {
            Reads::Found => look_up(&meter, table, consistent, 0).await,
            Reads::Missing => look_up(&meter, table, consistent, ITEMS as usize).await,
            Reads::All => scan(&meter, table, consistent).await,
        }
        drop(here);
        let cost = meter.take();
        let counted = figures.of("tidelock_dynamodb_read_units_total", table);
        assert_eq!(counted as f64, cost.read.floor(), "{reads:?}, consistent: {consistent}");
        cost
    })
    .await
}

async fn look_up(meter: &Meter, table: &str, consistent: bool, from: usize) {
    let mut config = DynamoLookupConfig::new(meter.config(), table);
    config.consistent = consistent;
    let lookup = DynamoLookup::open(config, |at: &usize| key(*at)).await.unwrap();
    let keys: Vec<usize> = (from..from + ITEMS as usize).collect();
    let found = lookup.lookup(&keys).await.unwrap();
    assert!(found.iter().all(|item| item.is_some() == (from == 0)));
}

async fn scan(meter: &Meter, table: &str, consistent: bool) {
    let mut config = DynamoScanConfig::new(meter.config(), table);
    (config.consistent, config.segments) = (consistent, 1);
    let scan = DynamoScan::connect(config).await.unwrap();
    let first_run = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let mut items = 0;
    for split in scan.discover(&first_run).await.unwrap().new {
        let mut reader = scan.open(split).await.unwrap();
        while let Some(batch) = reader.next().await.unwrap() {
            items += batch.records.len();
        }
    }
    assert_eq!(items, ITEMS as usize);
}

pub(crate) async fn table() -> Vec<String> {
    let tables = SIZES.into_iter().zip(tables().await).collect();
    let mut table = head("read units for an item of");
    for (what, reads, consistent) in [
        ("a lookup", Reads::Found, false),
        ("a lookup, `consistent`", Reads::Found, true),
        ("a lookup that finds nothing", Reads::Missing, false),
        ("the same, `consistent`", Reads::Missing, true),
    ] {
        table.push(line(what, ITEMS, cost(&tables, reads, consistent).await));
    }
    for (what, consistent) in [("a scan of 100 of them", false), ("the same, `consistent`", true)] {
        table.push(line(what, 1, cost(&tables, Reads::All, consistent).await));
    }
    table
}
