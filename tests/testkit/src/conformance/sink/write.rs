//! What writers promise.

use tidelock::{Prepared, Sink, WriterId};
use tokio::time::Instant;

use super::run::{NEWER, Run, expect_visible, rows};
use crate::check::{Checked, Verdict, ensure, must};
use crate::harness::{Row, Shape, SinkHarness};

/// How many epochs are prepared in a row to find out whether a writer runs out of places: more than any
/// job has in flight.
const EPOCHS: u64 = 12;

/// **Promise**: what is written and not prepared is invisible.
/// **How**: rows are written in two batches and nothing else happens.
/// **Passes when** a reader sees nothing.
pub async fn written_data_is_invisible<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    run.write(0, &rows("a", 4)).await?;
    run.write(0, &rows("b", 4)).await?;
    expect_visible(harness, "after write", &[]).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: what is prepared and not committed is invisible.
/// **How**: one epoch is written and prepared.
/// **Passes when** a reader sees nothing.
pub async fn prepared_data_is_invisible<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let pending = run.fill(1, &rows("a", 4)).await?;
    ensure(!pending.is_empty(), || "prepare returned nothing for an epoch with rows".to_owned())?;
    expect_visible(harness, "after prepare", &[]).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: an epoch without records needs nothing, and does not disturb those beside it (I4).
/// **How**: an empty epoch, one with rows, and an empty one again are prepared and committed.
/// **Passes when** prepare returns nothing for the empty ones, commit takes nothing without an error,
/// and the rows are visible once.
pub async fn an_empty_epoch_needs_nothing<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let written = rows("a", 4);
    for (epoch, rows) in [(1, &[][..]), (2, &written[..]), (3, &[])] {
        let pending = if rows.is_empty() { run.prepare(epoch).await? } else { run.fill(epoch, rows).await? };
        ensure(pending.is_empty() == rows.is_empty(), || {
            format!("prepare returned {} committables for {} rows", pending.len(), rows.len())
        })?;
        run.commit(epoch, &pending).await?;
    }
    expect_visible(harness, "after the commits", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: a sink that says how long its target keeps what is prepared says so of each committable, and the
/// other way round: settings are judged by the one, running jobs by the other.
/// **How**: three epochs with rows are prepared and committed, and what remains of each committable is compared with
/// what the sink says beforehand, less the time since its first row was offered.
/// **Passes when** either both are for ever, or each committable has at least what the sink says.
pub async fn prepared_data_lasts_as_long_as_the_sink_says<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let keeps = run.sink.keeps_prepared();
    for epoch in 1..=3 {
        let began = Instant::now();
        let prepared = run.fill_whole(epoch, &rows(&format!("e{epoch}"), 4)).await?;
        let took = began.elapsed();
        for Prepared { expires_in, .. } in &prepared {
            let agree = match (keeps, expires_in) {
                (None, None) => true,
                (Some(keeps), Some(expires_in)) => expires_in.saturating_add(took) >= keeps,
                (None, Some(_)) | (Some(_), None) => false,
            };
            ensure(agree, || {
                format!(
                    "keeps_prepared says {keeps:?} (None: for ever), and what was prepared {took:?} after its first \
                     row says expires_in {expires_in:?}"
                )
            })?;
        }
        let pending: Vec<_> = run.pending(epoch, WriterId(0), prepared).collect();
        run.commit(epoch, &pending).await?;
        run.settle(epoch, false).await?;
    }
    Ok(Verdict::Passed)
}

/// **Promise**: equal keys keep the order in which one writer was given them.
/// **How**: one key is written in several batches of two epochs.
/// **Passes when** a log shows the values ascending, and a table the last one. Needs the facet *order*, which a bag lacks.
pub async fn a_writer_keeps_its_order<H: SinkHarness>(harness: &H) -> Checked {
    if harness.facets().shape == Shape::Bag {
        return Ok(Verdict::Skipped("order"));
    }
    let mut run = Run::start(harness, NEWER, 1).await?;
    let written: Vec<Row> = (0..24).map(|value| Row::new("k", value)).collect();
    for (epoch, rows) in (1..).zip(written.chunks(12)) {
        for batch in rows.chunks(4) {
            run.write(0, batch).await?;
        }
        let pending = run.prepare(epoch).await?;
        run.commit(epoch, &pending).await?;
    }
    let seen = must("reading what is visible", harness.visible()).await?;
    let ascending = seen.is_sorted_by_key(|row| row.value);
    let last = seen.last().map(|row| row.value);
    ensure(ascending && last == Some(23), || format!("the values of one key are out of order: {seen:?}"))?;
    Ok(Verdict::Passed)
}

/// **Promise**: writers of one attempt do not disturb each other.
/// **How**: three writers write, in turn, rows of their own; all prepare; one commit.
/// **Passes when** the rows of all three are visible once.
pub async fn several_writers_work_side_by_side<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 3).await?;
    let mut written = Vec::new();
    for batch in ["a", "b"] {
        for writer in 0..3 {
            let rows = rows(&format!("w{writer}{batch}"), 4);
            run.write(writer, &rows).await?;
            written.extend(rows);
        }
    }
    let pending = run.prepare(1).await?;
    run.commit(1, &pending).await?;
    expect_visible(harness, "after the commit", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: a writer is clean after prepare: epoch after epoch, each row is visible once.
/// **How**: six epochs are written, prepared, committed and settled, every other one with `reinit`.
/// **Passes when** each commit makes exactly the rows of its epoch visible.
pub async fn epochs_follow_each_other<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let mut written = Vec::new();
    for epoch in 1..=6 {
        let rows = rows(&format!("e{epoch}"), 4);
        let pending = run.fill(epoch, &rows).await?;
        written.extend(rows);
        run.commit(epoch, &pending).await?;
        expect_visible(harness, "after a commit", &written).await?;
        run.settle(epoch, epoch % 2 == 0).await?;
    }
    Ok(Verdict::Passed)
}

/// **Promise**: a writer without a free place gives back what it did not write, at once, and loses none
/// of it.
/// **How**: epochs are prepared, and none is settled, until the writer gives records back; then all are
/// committed and settled, and what was given back is offered again.
/// **Passes when** write never waits, the second offer is taken, and every row is visible once. A writer
/// that never runs out of places passes too.
pub async fn a_writer_without_a_free_place_gives_back<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let mut written = Vec::new();
    let mut pending = Vec::new();
    for epoch in 1..=EPOCHS {
        let rows = rows(&format!("e{epoch}"), 4);
        let taken = run.offer(0, &rows).await?.len();
        if taken < rows.len() {
            run.commit(epoch - 1, &std::mem::take(&mut pending)).await?;
            run.settle(epoch - 1, false).await?;
            run.write(0, &rows[taken..]).await?;
        }
        written.extend(rows);
        pending.extend(run.prepare(epoch).await?);
    }
    run.commit(EPOCHS, &pending).await?;
    expect_visible(harness, "after the commits", &written).await?;
    Ok(Verdict::Passed)
}
