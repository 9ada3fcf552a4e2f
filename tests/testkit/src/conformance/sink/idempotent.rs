//! The checks of a sink in idempotent mode: it writes at once, and what makes its effect exactly-once is
//! that the same key and version may be written again, late and in any order.
//!
//! Readers may see what is not committed yet; the promise is about the final state.

use super::run::{NEWER, OLDER, Run, expect_visible, rows};
use crate::check::{Checked, Verdict};
use crate::harness::{IdempotentHarness, Row};

/// Rows of one key with these values.
fn values(key: &str, values: impl IntoIterator<Item = u64>) -> Vec<Row> {
    values.into_iter().map(|value| Row::new(key, value)).collect()
}

/// **Promise**: when prepare returns, everything that was written is in the target.
/// **How**: rows are written in three batches of 50 and prepared.
/// **Passes when** a reader sees all of them, without a commit.
pub async fn prepared_data_has_arrived<H: IdempotentHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let written = rows("a", 150);
    for batch in written.chunks(50) {
        run.write(0, batch).await?;
    }
    run.prepare(1).await?;
    expect_visible(harness, "after prepare", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: of the writes to one key, the last one wins.
/// **How**: one key is written many times, in several batches of two epochs.
/// **Passes when** a reader sees the last value.
pub async fn the_last_write_of_a_key_wins<H: IdempotentHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let written = values("k", 1..=24);
    for (epoch, rows) in (1..).zip(written.chunks(12)) {
        for batch in rows.chunks(4) {
            run.write(0, batch).await?;
        }
        let pending = run.prepare(epoch).await?;
        run.commit(epoch, &pending).await?;
    }
    expect_visible(harness, "after two epochs", &written[23..]).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: commit and recovery change nothing in the target.
/// **How**: an epoch is prepared and committed three times; the same and a newer attempt recover, with it
/// pending and with nothing pending.
/// **Passes when** no call fails and a reader sees the same after each.
pub async fn commit_and_recovery_change_nothing<H: IdempotentHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, OLDER, 1).await?;
    let written = rows("a", 4);
    let pending = run.fill(1, &written).await?;
    for _ in 0..3 {
        run.commit(1, &pending).await?;
        run.recover(&pending).await?;
        run.recover(&[]).await?;
        expect_visible(harness, "after commit and recovery", &written).await?;
    }
    run.crash();
    for pending in [&pending[..], &[]] {
        Run::restart(harness, NEWER, pending, 1).await?;
        expect_visible(harness, "after a restart", &written).await?;
    }
    Ok(Verdict::Passed)
}

/// **Promise**: a replay ends where the job would have ended without a crash.
/// **How**: a process writes, updates and dies; another one is given the same records, cut into other
/// batches and epochs, and those that follow.
/// **Passes when** a reader sees the last value of each key.
pub async fn a_replay_ends_in_the_same_state<H: IdempotentHarness>(harness: &H) -> Checked {
    let written: Vec<Row> = [values("x", 1..=5), values("y", 1..=5), values("x", 6..=8)].concat();
    let mut run = Run::start(harness, OLDER, 1).await?;
    for (epoch, rows) in (1..).zip(written[..10].chunks(4)) {
        run.fill(epoch, rows).await?;
    }
    run.crash();
    let mut run = Run::start(harness, NEWER, 1).await?;
    for (epoch, rows) in (1..).zip(written.chunks(3)) {
        run.fill(epoch, rows).await?;
    }
    expect_visible(harness, "after the replay", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: a paused older attempt that writes late never wins.
/// **How**: an older attempt has opened a writer; the newer one writes a key up to a higher value; then
/// the older one writes, which may be refused, a lower value.
/// **Passes when** a reader sees the newer attempt's value.
pub async fn an_older_attempt_that_writes_late_never_wins<H: IdempotentHarness>(harness: &H) -> Checked {
    let mut older = Run::start(harness, OLDER, 1).await?;
    let mut newer = Run::start(harness, NEWER, 1).await?;
    newer.fill(1, &values("k", 1..=5)).await?;
    let _ = older.try_fill(1, &values("k", 1..=3)).await?;
    expect_visible(harness, "after the late write", &values("k", [5])).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: what a rolled-back run wrote never wins against the replay, however high its versions are.
/// **How**: a run writes a key up to 9; the job is rolled back, and a run of the next generation writes it
/// up to 2; then the first one writes 10, which may be refused.
/// **Passes when** a reader sees 2 before and after the late write.
pub async fn a_rolled_back_run_never_wins<H: IdempotentHarness>(harness: &H) -> Checked {
    let mut old = Run::start(harness, OLDER, 1).await?;
    old.fill(1, &values("k", 1..=9)).await?;
    let mut new = Run::roll_back(harness, NEWER).await?;
    new.fill(2, &values("k", 1..=2)).await?;
    expect_visible(harness, "after the rollback", &values("k", [2])).await?;
    let _ = old.try_fill(2, &values("k", [10])).await?;
    expect_visible(harness, "after the late write", &values("k", [2])).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: a deleted row stays deleted: a delete leaves its version behind.
/// **How**: an older attempt has opened a writer; the newer one writes a key and deletes it; then the older
/// one writes an earlier value of it, which may be refused. Needs the facet *delete*.
/// **Passes when** a reader sees no row of this key.
pub async fn a_deleted_row_stays_deleted<H: IdempotentHarness>(harness: &H) -> Checked {
    let Some(delete) = harness.delete(&Row::new("k", 3)) else {
        return Ok(Verdict::Skipped("delete"));
    };
    let mut older = Run::start(harness, OLDER, 1).await?;
    let mut newer = Run::start(harness, NEWER, 1).await?;
    newer.write(0, &values("k", 1..=2)).await?;
    newer.write_records(vec![delete]).await?;
    newer.prepare(1).await?;
    expect_visible(harness, "after the delete", &[]).await?;
    let _ = older.try_fill(1, &values("k", [1])).await?;
    expect_visible(harness, "after the late write", &[]).await?;
    Ok(Verdict::Passed)
}

/// Hands the name of every check of idempotent mode to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __idempotent_checks {
    ($then:path, $($with:tt)*) => {
        $then! {
            $($with)*;
            prepared_data_has_arrived
            the_last_write_of_a_key_wins
            commit_and_recovery_change_nothing
            a_replay_ends_in_the_same_state
            an_older_attempt_that_writes_late_never_wins
            a_rolled_back_run_never_wins
            a_deleted_row_stays_deleted(delete)
        }
    };
}

__idempotent_checks!(by_name, IdempotentHarness);
