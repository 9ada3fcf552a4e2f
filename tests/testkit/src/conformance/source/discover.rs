//! What discovery and acknowledgement promise.

use tidelock::{ErrorKind, Source, Split, SplitReader};

use super::feed::*;
use crate::check::{CheckFailure, Checked, Verdict, ensure, must, patient};
use crate::harness::SourceHarness;
use crate::oracle::Input;

/// **Promise**: discovery answers the same while nothing changes outside: it remembers nothing.
/// **How**: the same source is asked three times with nothing known, and a fresh process once.
/// **Passes when** all four answers name the same splits.
pub async fn discovery_remembers_nothing<H: SourceHarness>(harness: &H) -> Checked {
    fill(harness, 3, 10).await?;
    let source = fresh(harness).await?;
    let first = ids(&discover_all::<H>(&source, 3).await?);
    for _ in 0..2 {
        let again = ids(&discover_first(&source).await?);
        ensure(again == first, || format!("asked again, discover finds {again:?} and not {first:?}"))?;
    }
    let other = ids(&discover_first(&fresh(harness).await?).await?);
    ensure(other == first, || format!("another process finds {other:?} and not {first:?}"))?;
    Ok(Verdict::Passed)
}

/// **Promise**: discovery does not return what is active.
/// **How**: it is asked with all splits active, some of them in the middle, twice.
/// **Passes when** it finds nothing new.
pub async fn active_splits_are_not_found_again<H: SourceHarness>(harness: &H) -> Checked {
    fill(harness, 3, 30).await?;
    let source = fresh(harness).await?;
    let mut active = discover_all::<H>(&source, 3).await?;
    let mut reader = open::<H>(&source, &active[1]).await?;
    if let Some(batch) = next::<H>(&mut reader).await? {
        active[1] = batch.resume;
    }
    for _ in 0..2 {
        let found = ids(&discover_again(&source, &active, &[]).await?.new);
        ensure(found.is_empty(), || format!("discover returns {found:?} though they are active"))?;
    }
    Ok(Verdict::Passed)
}

/// A later discovery, which must find exactly one split that is not active.
async fn discover_one_more<H: SourceHarness>(
    source: &SourceOf<H>,
    active: &[SplitOf<H>],
) -> Checked<SplitOf<H>> {
    let mut new = discover_again(source, active, &[]).await?.new;
    let known = ids(active);
    new.retain(|split| !known.contains(&split.id()));
    ensure(new.len() == 1, || format!("one new split must be found, and these are: {:?}", ids(&new)))?;
    Ok(new.remove(0))
}

/// **Promise**: a split that appears while the job runs is found, and read from its beginning.
/// **How**: a split with records appears after the first discovery; the source is asked again. Needs the facet
/// *newcomers*.
/// **Passes when** exactly that split is new, and all its records are read.
pub async fn a_split_that_appears_later_is_read_from_its_beginning<H: SourceHarness>(harness: &H) -> Checked {
    if !harness.facets().newcomers {
        return Ok(Verdict::Skipped("newcomers"));
    }
    fill(harness, 2, 10).await?;
    let source = fresh(harness).await?;
    let active = discover_all::<H>(&source, 2).await?;
    append(harness, 2, 0..10).await?;
    let new = discover_one_more::<H>(&source, &active).await?;
    let seen = replay(harness, &source, &new, 10).await?;
    let all: Vec<Input> = (0..10).map(|place| Input::new("2", place)).collect();
    expect_inputs("reading the new split", &seen, &all)?;
    Ok(Verdict::Passed)
}

/// **Promise**: a split that was read to its end is not read again, and is forgotten only when it can
/// never be found again.
/// **How**: a split is read to its end; a fresh process is asked with it finished, then with everything
/// that it said to forget left out. Needs the facet *endings*.
/// **Passes when** the split ends, and no answer returns it.
pub async fn a_finished_split_is_not_read_again<H: SourceHarness>(harness: &H) -> Checked {
    let Some(endings) = harness.facets().endings else {
        return Ok(Verdict::Skipped("endings"));
    };
    fill(harness, 2, 10).await?;
    must("ending a split", endings.end("0")).await?;
    let source = fresh(harness).await?;
    let splits = discover_all::<H>(&source, 2).await?;
    let mut active = Vec::new();
    let mut finished = Vec::new();
    for split in splits {
        let mut reader = open::<H>(&source, &split).await?;
        let batches = read::<H>(&mut reader, 10).await?;
        if inputs(harness, &batches)[0].split == "0" {
            let end = next::<H>(&mut reader).await?;
            ensure(end.is_none(), || "the split was ended, and its reader returns more records".to_owned())?;
            finished.push(split.id());
        } else {
            active.push(split);
        }
    }
    let gone = finished.clone();
    for _ in 0..2 {
        let found = discover_again(&fresh(harness).await?, &active, &finished).await?;
        let again = ids(&found.new);
        ensure(!again.iter().any(|id| gone.contains(id)), || {
            format!("a finished split is found again: {again:?}")
        })?;
        let unknown = found.forget.iter().find(|id| !finished.contains(id));
        ensure(unknown.is_none(), || {
            format!("discover forgets {unknown:?}, which is not among the finished")
        })?;
        finished.retain(|id| !found.forget.contains(id));
    }
    Ok(Verdict::Passed)
}

/// **Promise**: the configured start position applies to the first run only.
/// **How**: a source that starts at the latest record discovers a split; then another split appears and
/// it is asked again. Needs the facet *latest*.
/// **Passes when** nothing of the old split's records is read, and all of the new one's.
pub async fn the_start_position_applies_to_the_first_run_only<H: SourceHarness>(harness: &H) -> Checked {
    let Some(latest) = harness.facets().latest else {
        return Ok(Verdict::Skipped("latest"));
    };
    fill(harness, 1, 10).await?;
    let source = must("making a source", latest.source_at_latest()).await?;
    let active = discover_all::<H>(&source, 1).await?;
    append(harness, 1, 0..10).await?;
    let new = discover_one_more::<H>(&source, &active).await?;
    let mut reader = open::<H>(&source, &active[0]).await?;
    append(harness, 0, 10..12).await?;
    let seen = inputs(harness, &read::<H>(&mut reader, 2).await?);
    let wanted = [Input::new("0", 10), Input::new("0", 11)];
    expect_inputs("reading the split of the first run", &seen, &wanted)?;
    let seen = replay(harness, &source, &new, 10).await?;
    let wanted: Vec<Input> = (0..10).map(|place| Input::new("1", place)).collect();
    expect_inputs("reading the split that came later", &seen, &wanted)?;
    Ok(Verdict::Passed)
}

/// **Promise**: "latest" is decided once, by discovery (I9).
/// **How**: a source that starts at the latest record discovers a split; records are appended; then a
/// fresh process opens the split. Needs the facet *latest*.
/// **Passes when** the records that were appended between are read.
pub async fn latest_is_decided_by_discovery<H: SourceHarness>(harness: &H) -> Checked {
    let Some(latest) = harness.facets().latest else {
        return Ok(Verdict::Skipped("latest"));
    };
    fill(harness, 1, 10).await?;
    let first = must("making a source", latest.source_at_latest()).await?;
    let split = &discover_all::<H>(&first, 1).await?[0];
    append(harness, 0, 10..15).await?;
    let other = must("making a source", latest.source_at_latest()).await?;
    let mut reader = open::<H>(&other, split).await?;
    // Should the source have moved to the end, these would come first.
    append(harness, 0, 15..20).await?;
    let seen = inputs(harness, &read::<H>(&mut reader, 10).await?);
    let wanted: Vec<Input> = (10..20).map(|place| Input::new("0", place)).collect();
    expect_inputs("reading what came after discovery", &seen, &wanted)?;
    Ok(Verdict::Passed)
}

/// **Promise**: an acknowledgement is never read back as a position (I2), and may come late or again.
/// **How**: a split is read; its end is acknowledged, then an earlier position, then its end again; then
/// a fresh process discovers, and opens the split at its beginning.
/// **Passes when** it is found at its beginning, and all of it is read; or, where the system dropped what
/// was acknowledged, opening or reading fails with kind `Expired` or `NotFound`.
pub async fn acknowledging_moves_no_position<H: SourceHarness>(harness: &H) -> Checked {
    fill(harness, 1, 30).await?;
    let source = fresh(harness).await?;
    let split = discover_all::<H>(&source, 1).await?.remove(0);
    let batches = read::<H>(&mut open::<H>(&source, &split).await?, 30).await?;
    let end = batches.last().map(|batch| batch.resume.clone()).unwrap_or_else(|| split.clone());
    for position in [&end, &split, &end] {
        must("acknowledge", source.acknowledge(std::slice::from_ref(position))).await?;
    }
    let other = fresh(harness).await?;
    let found = discover_all::<H>(&other, 1).await?.remove(0);
    let all: Vec<Input> = (0..30).map(|place| Input::new("0", place)).collect();
    for from in [&found, &split] {
        let mut reader = match patient("open", other.open(from.clone())).await? {
            Ok(reader) => reader,
            Err(error) => return gone(error),
        };
        let first = match patient("next", reader.next()).await? {
            Ok(Some(batch)) => batch,
            Ok(None) => return Err(CheckFailure::new("the split ends where its beginning was asked for")),
            Err(error) => return gone(error),
        };
        let mut seen = inputs(harness, std::slice::from_ref(&first));
        let rest = read::<H>(&mut reader, all.len().saturating_sub(seen.len())).await?;
        seen.extend(inputs(harness, &rest));
        expect_inputs("reading from the beginning after an acknowledgement", &seen, &all)?;
    }
    Ok(Verdict::Passed)
}

/// A system may drop what was acknowledged, if it says so.
fn gone(error: tidelock::Error) -> Checked {
    if matches!(error.kind(), ErrorKind::Expired | ErrorKind::NotFound) {
        return Ok(Verdict::Passed);
    }
    Err(CheckFailure::because(
        "an acknowledged position that is gone must be of kind Expired or NotFound",
        error,
    ))
}
