//! A scan of a million rows takes the memory of a few batches. Alone in its process, as it is the process that is measured.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "../scan/bare.rs"]
#[allow(dead_code, reason = "the other tests show traps with it")]
mod bare;

use std::fs;

use bare::Bare;
use tidelock::{Known, Source as _, SplitReader as _};
use tidelock_containers::{FamilyOptions, HbaseServer};
use tidelock_hbase::{HbaseConfig, HbaseScan, HbaseScanConfig};
use tokio::time::Instant;

const ROWS: u64 = 1_000_000;

/// Four splits are open at once, each with a batch of 1,000 rows that is read and one that comes.
const MORE_MIB_MAX: u64 = 32;

/// The most memory that this process had since it was asked to forget that, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_million_rows_are_scanned_in_the_memory_of_a_few_batches() {
    let server = HbaseServer::shared().await.unwrap();
    let cuts = [1, 2, 3].map(|quarter| format!("n{:07}", quarter * ROWS / 4).into_bytes());
    let cuts: Vec<&[u8]> = cuts.iter().map(Vec::as_slice).collect();
    server.create_table("million", &[FamilyOptions::new("f")], &cuts).await.unwrap();
    let gateway = server.gateway();
    let filled = gateway.clone();
    let fill = move || {
        let row = |number: u64| {
            (format!("n{number:07}").into_bytes(), vec![("f:q".to_owned(), number.to_string().into_bytes())])
        };
        Bare::connect(&filled).put("million", (0..ROWS).map(row), 1);
    };
    tokio::task::spawn_blocking(fill).await.unwrap();

    let scan =
        HbaseScan::connect(HbaseScanConfig::new(HbaseConfig::new([gateway]), "million")).await.unwrap();
    let first_run = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let splits = scan.discover(&first_run).await.unwrap().new;
    assert_eq!(splits.len(), HbaseScan::OPEN_SPLITS_MAX);
    // Forgets the peak of the filling.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, began) = (peak_kib(), Instant::now());
    let readers = splits.into_iter().map(async |split| {
        let mut reader = scan.open(split).await.unwrap();
        let (mut count, mut sum) = (0, 0);
        while let Some(batch) = reader.next().await.unwrap() {
            count += batch.records.len() as u64;
            sum +=
                batch.records.iter().map(|row| row.text("f:q").unwrap().parse::<u64>().unwrap()).sum::<u64>();
        }
        (count, sum)
    });
    let read = futures::future::join_all(readers).await;
    let (count, sum) = read.iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let (seconds, more) = (began.elapsed().as_secs_f64(), (peak_kib() - before) / 1024);
    println!(
        "{count} rows in {seconds:.1} s, {:.0} a second, with {more} MiB more than before",
        count as f64 / seconds
    );
    assert_eq!((count, sum), (ROWS, ROWS * (ROWS - 1) / 2), "every row once");
    assert!(more <= MORE_MIB_MAX, "{more} MiB");
}
