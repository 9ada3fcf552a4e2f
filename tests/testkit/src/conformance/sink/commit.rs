//! What commit promises.

use super::run::{NEWER, Run, expect_expired, expect_visible, rows, stored};
use crate::check::{Checked, Verdict, must};
use crate::harness::{Row, SinkHarness};

/// **Promise**: commit makes all that was prepared visible, once.
/// **How**: an epoch of 1,000 rows is written in batches of 100, prepared and committed.
/// **Passes when** a reader sees each row once.
pub async fn commit_makes_all_visible_once<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let written = rows("a", 1_000);
    for batch in written.chunks(100) {
        run.write(0, batch).await?;
    }
    let pending = run.prepare(1).await?;
    run.commit(1, &pending).await?;
    expect_visible(harness, "after the commit", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: commit is idempotent.
/// **How**: the same sink is asked to commit the same committables three times.
/// **Passes when** no call fails and each row is visible once.
pub async fn committing_again_changes_nothing<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let written = rows("a", 4);
    let pending = run.fill(1, &written).await?;
    for _ in 0..3 {
        run.commit(1, &pending).await?;
        expect_visible(harness, "after a commit", &written).await?;
    }
    Ok(Verdict::Passed)
}

/// **Promise**: two commits of the same data at the same time are one: a request that was given up may
/// still be under way when it is repeated.
/// **How**: two sinks commit the same committables concurrently.
/// **Passes when** each row is visible once, and a commit that failed for the other's sake succeeds when
/// it is called again.
pub async fn concurrent_commits_are_one<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let other = Run::boot(harness, NEWER).await?;
    let written = rows("a", 4);
    let pending = run.fill(1, &written).await?;
    let (first, second) = tokio::join!(run.try_commit(1, &pending), other.try_commit(1, &pending));
    if first?.is_err() {
        run.commit(1, &pending).await?;
    }
    if second?.is_err() {
        other.commit(1, &pending).await?;
    }
    expect_visible(harness, "after both commits", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: a committable is data: its stored form is enough to commit it.
/// **How**: committables are stored, read back and committed by the sink that prepared them.
/// **Passes when** each row is visible once.
pub async fn committables_survive_storage<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let written = rows("a", 4);
    let pending = run.fill(1, &written).await?;
    run.commit(1, &stored::<H>(&pending)?).await?;
    expect_visible(harness, "after the commit", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: commit works in a process that prepared nothing.
/// **How**: the process that prepared ends; another one, which only recovers, commits.
/// **Passes when** each row is visible once.
pub async fn a_fresh_process_can_commit<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let written = rows("a", 4);
    let pending = run.fill(1, &written).await?;
    run.crash();
    Run::restart(harness, NEWER + 1, &pending, 0).await?;
    expect_visible(harness, "after the commit", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: a commit whose list is committed in part commits the rest: the confirmation of an earlier
/// epoch may be missing.
/// **How**: epoch 1 is committed; then epochs 1 and 2 are.
/// **Passes when** the rows of both are visible once.
pub async fn a_commit_that_is_done_in_part_completes<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let mut written = rows("e1", 4);
    let mut pending = run.fill(1, &written).await?;
    run.commit(1, &pending).await?;
    let second = rows("e2", 4);
    pending.extend(run.fill(2, &second).await?);
    written.extend(second);
    run.commit(2, &pending).await?;
    expect_visible(harness, "after both commits", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: what a checkpoint prepared that then failed is committed with the next good one (I3).
/// **How**: epoch 1 is prepared and not committed; epoch 2 is prepared; both are committed with the
/// permit of epoch 2.
/// **Passes when** the rows of both are visible once.
pub async fn a_commit_takes_what_failed_checkpoints_prepared<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let mut written = rows("e1", 4);
    let mut pending = run.fill(1, &written).await?;
    let second = rows("e2", 4);
    let taken = run.offer(0, &second).await?;
    written.extend_from_slice(taken);
    pending.extend(run.prepare(2).await?);
    run.commit(2, &pending).await?;
    expect_visible(harness, "after the commit", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: commit of an epoch makes nothing of a later one visible.
/// **How**: epoch 2 is prepared and epoch 3 is written before epoch 1 is committed; then the others are.
/// **Passes when** each commit makes exactly the rows of its epoch visible.
pub async fn commit_makes_only_its_epoch_visible<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let first = rows("e1", 4);
    let first_pending = run.fill(1, &first).await?;
    // A writer with few places may give back what follows: then there is nothing to confuse.
    let second = run.offer(0, &rows("e2", 4)).await.map(<[Row]>::to_vec)?;
    let second_pending = run.prepare(2).await?;
    let third = run.offer(0, &rows("e3", 4)).await.map(<[Row]>::to_vec)?;

    run.commit(1, &first_pending).await?;
    expect_visible(harness, "after the commit of epoch 1", &first).await?;
    run.commit(2, &second_pending).await?;
    let two = [first, second].concat();
    expect_visible(harness, "after the commit of epoch 2", &two).await?;
    let third_pending = run.prepare(3).await?;
    run.commit(3, &third_pending).await?;
    expect_visible(harness, "after the commit of epoch 3", &[two, third].concat()).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: commit is monotone: when a later epoch is committed, a late commit of an earlier one
/// changes nothing.
/// **How**: one key is written in two epochs; epoch 1 is committed, then epoch 2, then epoch 1 again by
/// another process that shares nothing with the first.
/// **Passes when** a table still has the value of epoch 2, and any other target each row once. The late
/// commit may be refused.
pub async fn a_late_commit_changes_nothing<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let late = Run::boot(harness, NEWER).await?;
    let written = [Row::new("k", 1), Row::new("k", 2)];
    let first = run.fill(1, &written[..1]).await?;
    run.commit(1, &first).await?;
    let second = run.fill(2, &written[1..]).await?;
    run.commit(2, &second).await?;
    let _ = late.try_commit(1, &first).await?;
    expect_visible(harness, "after the late commit", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: the last epoch at the end of the input is committed like any other (I4).
/// **How**: an epoch is prepared, the writers end, and only then the sink commits.
/// **Passes when** each row is visible once.
pub async fn the_last_epoch_is_committed_after_its_writers_ended<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 2).await?;
    let written = rows("a", 4);
    let pending = run.fill(1, &written).await?;
    run.close_writers();
    run.commit(1, &pending).await?;
    expect_visible(harness, "after the commit", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: commit never passes over prepared data that the target threw away (I7).
/// **How**: an epoch is prepared, the target throws it away, then it is committed.
/// **Passes when** commit fails with kind `Expired` and retry `Halt`. Needs the facet *expiry*.
pub async fn commit_reports_data_that_is_gone<H: SinkHarness>(harness: &H) -> Checked {
    let Some(expiry) = harness.facets().expiry else {
        return Ok(Verdict::Skipped("expiry"));
    };
    let mut run = Run::start(harness, NEWER, 1).await?;
    let pending = run.fill(1, &rows("a", 4)).await?;
    must("letting prepared data expire", expiry.expire()).await?;
    expect_expired("commit", run.try_commit(1, &pending).await?)?;
    Ok(Verdict::Passed)
}

/// **Promise**: an epoch is whole or not there: nobody passes over a part of it that the target threw away
/// while it was written (I7).
/// **How**: rows are written, the target throws away what it holds, more rows are written, and all that the
/// sink goes on with is committed.
/// **Passes when** write, prepare or commit fails and a reader sees nothing, or where the sink still had the
/// first rows and a reader sees all. Needs the facet *expiry*.
pub async fn an_epoch_that_lost_its_beginning_is_not_committed<H: SinkHarness>(harness: &H) -> Checked {
    let Some(expiry) = harness.facets().expiry else {
        return Ok(Verdict::Skipped("expiry"));
    };
    let mut run = Run::start(harness, NEWER, 1).await?;
    let mut written = rows("a", 4);
    run.write(0, &written).await?;
    must("throwing away what is written", expiry.expire()).await?;
    let more = rows("b", 4);
    let committed = match run.try_fill(1, &more).await? {
        Ok(pending) => run.try_commit(1, &pending).await?.is_ok(),
        Err(_) => false,
    };
    written.extend(more);
    let whole = if committed { &written[..] } else { &[] };
    expect_visible(harness, "after the epoch that lost its beginning", whole).await?;
    Ok(Verdict::Passed)
}
