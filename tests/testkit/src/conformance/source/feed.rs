//! Reads splits, as a host does.

use std::ops::Range;

use tidelock::{Batch, Discovery, Known, Source, Split, SplitId, SplitReader};

use crate::check::{CheckFailure, Checked, ensure, must};
use crate::harness::SourceHarness;
use crate::oracle::{Input, Ledger};

pub(super) type SourceOf<H> = <H as SourceHarness>::Source;
pub(super) type SplitOf<H> = <SourceOf<H> as Source>::Split;
pub(super) type ReaderOf<H> = <SourceOf<H> as Source>::Reader;
pub(super) type BatchOf<H> = Batch<<SourceOf<H> as Source>::Record, SplitOf<H>>;

/// How many batches without a record may follow each other before the suite says that a reader is stuck.
const EMPTY_BATCHES_MAX: u32 = 10_000;

/// Makes splits `0..splits` with `records` records each.
pub(super) async fn fill<H: SourceHarness>(harness: &H, splits: u32, records: u64) -> Checked<Ledger> {
    let mut ledger = Ledger::new();
    for split in 0..splits {
        append(harness, split, 0..records).await?;
        ledger.expect(split.to_string(), records);
    }
    Ok(ledger)
}

pub(super) async fn append<H: SourceHarness>(harness: &H, split: u32, places: Range<u64>) -> Checked<()> {
    must("appending to a split", harness.append(&split.to_string(), places)).await
}

pub(super) async fn fresh<H: SourceHarness>(harness: &H) -> Checked<SourceOf<H>> {
    must("making a source", harness.source()).await
}

/// The first discovery of a job.
pub(super) async fn discover_first<S: Source>(source: &S) -> Checked<Vec<S::Split>> {
    let known = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    Ok(must("discover", source.discover(&known)).await?.new)
}

/// A later discovery.
pub(super) async fn discover_again<S: Source>(
    source: &S,
    active: &[S::Split],
    finished: &[SplitId],
) -> Checked<Discovery<S::Split>> {
    let known =
        Known { active: active.to_vec(), finished: finished.to_vec(), ended: Vec::new(), first_run: false };
    must("discover", source.discover(&known)).await
}

/// The ids of splits, sorted.
pub(super) fn ids<S: Split>(splits: &[S]) -> Vec<SplitId> {
    let mut ids: Vec<SplitId> = splits.iter().map(Split::id).collect();
    ids.sort();
    ids
}

/// The first discovery, which must find exactly `count` splits, in the order of their ids.
pub(super) async fn discover_all<H: SourceHarness>(
    source: &SourceOf<H>,
    count: usize,
) -> Checked<Vec<SplitOf<H>>> {
    let mut splits = discover_first(source).await?;
    splits.sort_by_key(Split::id);
    let mut distinct = ids(&splits);
    distinct.dedup();
    ensure(distinct.len() == splits.len() && splits.len() == count, || {
        format!("discover must find {count} splits and finds {:?}", ids(&splits))
    })?;
    Ok(splits)
}

pub(super) async fn open<H: SourceHarness>(source: &SourceOf<H>, split: &SplitOf<H>) -> Checked<ReaderOf<H>> {
    must("open", source.open(split.clone())).await
}

/// The next batch with records, or `None` at the end of the split.
pub(super) async fn next<H: SourceHarness>(reader: &mut ReaderOf<H>) -> Checked<Option<BatchOf<H>>> {
    for _ in 0..EMPTY_BATCHES_MAX {
        match must("next", reader.next()).await? {
            Some(batch) if batch.records.is_empty() => {}
            answer => return Ok(answer),
        }
    }
    Err(CheckFailure::new(format!("{EMPTY_BATCHES_MAX} batches without a record in a row")))
}

/// Reads whole batches until `records` records were read; the split must not end before.
pub(super) async fn read<H: SourceHarness>(
    reader: &mut ReaderOf<H>,
    records: usize,
) -> Checked<Vec<BatchOf<H>>> {
    let mut batches = Vec::new();
    let mut count = 0;
    while count < records {
        let so_far = |failure| CheckFailure::new(format!("after {count} of {records} records: {failure}"));
        let Some(batch) = next::<H>(reader).await.map_err(so_far)? else {
            return Err(so_far(CheckFailure::new("the split ends")));
        };
        batches.push(batch);
        count = batches.iter().map(|batch: &BatchOf<H>| batch.records.len()).sum();
    }
    Ok(batches)
}

/// What the records of these batches are, in their order.
pub(super) fn inputs<H: SourceHarness>(harness: &H, batches: &[BatchOf<H>]) -> Vec<Input> {
    batches.iter().flat_map(|batch| &batch.records).map(|record| harness.identify(record)).collect()
}

/// Opens a split and reads `records` records.
pub(super) async fn replay<H: SourceHarness>(
    harness: &H,
    source: &SourceOf<H>,
    split: &SplitOf<H>,
    records: usize,
) -> Checked<Vec<Input>> {
    let mut reader = open::<H>(source, split).await?;
    Ok(inputs(harness, &read::<H>(&mut reader, records).await?))
}

/// Fails where what was read is not what must be read.
pub(super) fn expect_inputs(when: &str, seen: &[Input], wanted: &[Input]) -> Checked<()> {
    ensure(seen == wanted, || {
        let place = seen.iter().zip(wanted).take_while(|(seen, wanted)| seen == wanted).count();
        format!(
            "{when}: {} records were read and must be {}; the first difference is at {place}: read {:?}, must be {:?}",
            seen.len(),
            wanted.len(),
            seen.get(place).map(ToString::to_string),
            wanted.get(place).map(ToString::to_string),
        )
    })
}

/// Fails where the ledger finds something wrong.
pub(super) fn expect_right<V: std::fmt::Display>(when: &str, wrong: &[V]) -> Checked<()> {
    ensure(wrong.is_empty(), || {
        let some: Vec<String> = wrong.iter().take(8).map(ToString::to_string).collect();
        format!("{when}: {} things are wrong: {}", wrong.len(), some.join(", "))
    })
}
