//! What readers promise.

use std::time::Duration;

use tidelock::{ErrorKind, Source, SplitReader, Stored};

use super::feed::*;
use crate::check::{CheckFailure, Checked, Verdict, ensure, must, patient};
use crate::harness::SourceHarness;
use crate::oracle::Input;

/// **Promise**: every record is read, once.
/// **How**: three splits with 1,000 records each are read one after the other.
/// **Passes when** no record is lost, doubled or invented.
pub async fn every_record_is_read_once<H: SourceHarness>(harness: &H) -> Checked {
    let ledger = fill(harness, 3, 1_000).await?;
    let source = fresh(harness).await?;
    let mut seen = Vec::new();
    for split in discover_all::<H>(&source, 3).await? {
        seen.extend(replay(harness, &source, &split, 1_000).await?);
    }
    expect_right("after reading all", &ledger.audit_unordered(&seen))?;
    Ok(Verdict::Passed)
}

/// **Promise**: records come in the order of their split.
/// **How**: a split of 100 records is read.
/// **Passes when** every record comes after those before it.
pub async fn the_order_of_a_split_is_kept<H: SourceHarness>(harness: &H) -> Checked {
    let ledger = fill(harness, 1, 100).await?;
    let source = fresh(harness).await?;
    let split = &discover_all::<H>(&source, 1).await?[0];
    let seen = replay(harness, &source, split, 100).await?;
    expect_right("after reading", &ledger.audit(&seen))?;
    Ok(Verdict::Passed)
}

/// **Promise**: a batch's `resume` is the position after exactly that batch.
/// **How**: a split is read to its end; then, for each of its batches, a fresh process opens the batch's
/// `resume` and reads on.
/// **Passes when** each reads exactly what followed that batch.
pub async fn resuming_after_any_batch_gives_the_rest<H: SourceHarness>(harness: &H) -> Checked {
    let records = 3 * harness.facets().batch_records_max.min(500) + 1;
    fill(harness, 1, records as u64).await?;
    let source = fresh(harness).await?;
    let split = &discover_all::<H>(&source, 1).await?[0];
    let batches = read::<H>(&mut open::<H>(&source, split).await?, records).await?;
    let all = inputs(harness, &batches);
    let mut done = 0;
    for (number, batch) in batches.iter().enumerate() {
        done += batch.records.len();
        let rest = &all[done..];
        let seen = replay(harness, &fresh(harness).await?, &batch.resume, rest.len()).await?;
        expect_inputs(&format!("resuming after batch {number}"), &seen, rest)?;
    }
    Ok(Verdict::Passed)
}

/// **Promise**: a split is data: its stored form is enough to go on in another process.
/// **How**: one batch of a split is read; its `resume` is stored, read back, and opened by a fresh
/// process.
/// **Passes when** the rest of the split is read, and the split has its name still.
pub async fn splits_survive_storage<H: SourceHarness>(harness: &H) -> Checked {
    let records = harness.facets().batch_records_max + 20;
    fill(harness, 1, records as u64).await?;
    let source = fresh(harness).await?;
    let split = &discover_all::<H>(&source, 1).await?[0];
    let batches = read::<H>(&mut open::<H>(&source, split).await?, records).await?;
    let all = inputs(harness, &batches);
    let first = &batches[0];
    let stored = Stored::encode(&first.resume).and_then(|stored| stored.decode::<SplitOf<H>>());
    let stored =
        stored.map_err(|error| CheckFailure::because("a split cannot be stored and read back", error))?;
    let same_name = ids(std::slice::from_ref(&stored)) == ids(std::slice::from_ref(split));
    ensure(same_name, || format!("the stored split {stored:?} has another name than {split:?}"))?;
    let rest = &all[first.records.len()..];
    let seen = replay(harness, &fresh(harness).await?, &stored, rest.len()).await?;
    expect_inputs("resuming from the stored split", &seen, rest)?;
    Ok(Verdict::Passed)
}

/// **Promise**: opening and reading change nothing outside: a position lives in the split alone (I2).
/// **How**: a split is read half by one process; then another process opens it where the first one did.
/// **Passes when** the second one reads the split from there, all of it.
pub async fn reading_changes_nothing_outside<H: SourceHarness>(harness: &H) -> Checked {
    fill(harness, 1, 60).await?;
    let first = fresh(harness).await?;
    let split = &discover_all::<H>(&first, 1).await?[0];
    replay(harness, &first, split, 30).await?;
    let seen = replay(harness, &fresh(harness).await?, split, 60).await?;
    let all: Vec<Input> = (0..60).map(|place| Input::new("0", place)).collect();
    expect_inputs("reading again from the same position", &seen, &all)?;
    Ok(Verdict::Passed)
}

/// **Promise**: batches are bounded, whatever waits to be read.
/// **How**: a split has ten times as many records as a batch may have, and at least 5,000.
/// **Passes when** no batch has more records than the harness says.
pub async fn batches_are_bounded<H: SourceHarness>(harness: &H) -> Checked {
    let most = harness.facets().batch_records_max;
    let records = (10 * most).max(5_000);
    fill(harness, 1, records as u64).await?;
    let source = fresh(harness).await?;
    let split = &discover_all::<H>(&source, 1).await?[0];
    let mut reader = open::<H>(&source, split).await?;
    let mut count = 0;
    while count < records {
        let Some(batch) = next::<H>(&mut reader).await? else { break };
        let size = batch.records.len();
        ensure(size <= most, || format!("a batch has {size} records, more than {most}"))?;
        count += size;
    }
    Ok(Verdict::Passed)
}

/// **Promise**: splits move between readers, and nothing is lost or doubled by it.
/// **How**: six splits are read by one process, then by four at once, then by two; each reads a batch of
/// each of its splits in turn and hands the splits over.
/// **Passes when** every record is read once and in the order of its split.
pub async fn splits_move_between_readers<H: SourceHarness>(harness: &H) -> Checked {
    let records = 4 * harness.facets().batch_records_max.min(250);
    let ledger = fill(harness, 6, records as u64).await?;
    let mut splits = discover_all::<H>(&fresh(harness).await?, 6).await?;
    let mut left = vec![records; splits.len()];
    let mut seen = Vec::new();
    let mut processes = [1, 4, 2].into_iter().chain(std::iter::repeat(2));
    while left.iter().any(|left| *left > 0) {
        let count = processes.next().expect("invariant: endless");
        let mut sources = Vec::new();
        for _ in 0..count {
            sources.push(fresh(harness).await?);
        }
        // All are open before the first is read, so that readers of one process live side by side.
        let mut readers = Vec::new();
        for (number, split) in splits.iter().enumerate().filter(|(number, _)| left[*number] > 0) {
            readers.push((number, open::<H>(&sources[number % count], split).await?));
        }
        for (number, reader) in &mut readers {
            let batch = next::<H>(reader).await?;
            let batch = batch.ok_or_else(|| CheckFailure::new("a split ends before its last record"))?;
            left[*number] = left[*number].saturating_sub(batch.records.len());
            splits[*number] = batch.resume.clone();
            seen.extend(inputs(harness, &[batch]));
        }
    }
    expect_right("after handing splits over", &ledger.audit(&seen))?;
    Ok(Verdict::Passed)
}

/// **Promise**: a reader waits where there is nothing yet, and goes on when something comes.
/// **How**: a split is read to its last record; the reader is asked again, and records are appended
/// meanwhile. Needs the facet *growth*.
/// **Passes when** the reader returns them, and does not say that the split has ended.
pub async fn a_reader_waits_for_what_comes_later<H: SourceHarness>(harness: &H) -> Checked {
    if !harness.facets().grows {
        return Ok(Verdict::Skipped("growth"));
    }
    fill(harness, 1, 10).await?;
    let source = fresh(harness).await?;
    let split = &discover_all::<H>(&source, 1).await?[0];
    let mut reader = open::<H>(&source, split).await?;
    read::<H>(&mut reader, 10).await?;
    let later = async {
        // Long enough that most readers have begun to wait; nothing depends on it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        append(harness, 0, 10..15).await
    };
    let (batches, appended) = tokio::join!(read::<H>(&mut reader, 5), later);
    appended?;
    let wanted: Vec<Input> = (10..15).map(|place| Input::new("0", place)).collect();
    expect_inputs("reading what came later", &inputs(harness, &batches?), &wanted)?;
    Ok(Verdict::Passed)
}

/// **Promise**: a position that is gone is an error, never a silent step forward.
/// **How**: the system drops the first records of a split; then a fresh process opens the split at its
/// beginning. Needs the facet *retention*.
/// **Passes when** open or the first `next` fails, with kind `Expired` or `NotFound`.
pub async fn a_position_that_is_gone_is_an_error<H: SourceHarness>(harness: &H) -> Checked {
    let Some(retention) = harness.facets().retention else {
        return Ok(Verdict::Skipped("retention"));
    };
    fill(harness, 1, 50).await?;
    let split = discover_all::<H>(&fresh(harness).await?, 1).await?.remove(0);
    must("dropping old records", retention.drop_before("0", 20)).await?;
    let source = fresh(harness).await?;
    let answer = patient("open and next", async {
        let mut reader = source.open(split).await?;
        reader.next().await.map(|batch| batch.map_or(0, |batch| batch.records.len()))
    });
    match answer.await? {
        Err(error) if matches!(error.kind(), ErrorKind::Expired | ErrorKind::NotFound) => Ok(Verdict::Passed),
        Err(error) => {
            Err(CheckFailure::because("a position that is gone must be of kind Expired or NotFound", error))
        }
        Ok(records) => Err(CheckFailure::new(format!(
            "the position is gone, and the reader gives {records} later records"
        ))),
    }
}
