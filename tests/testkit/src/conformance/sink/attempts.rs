//! Attempts, jobs and what they leave to each other.

use tidelock::{Position, Sink};

use super::run::{NEWER, OLDER, Owner, Run, expect_expired, expect_visible, rows};
use crate::check::{Checked, Verdict, ensure, must};
use crate::harness::{Leftovers, SinkHarness};

/// Fails where the older attempt still has something in the target.
async fn expect_swept(when: &str, leftovers: &dyn Leftovers) -> Checked<()> {
    let left = must("looking for leftovers", leftovers.leftovers()).await?;
    let old: Vec<String> =
        left.iter().filter(|name| name.attempt == Position(OLDER)).map(ToString::to_string).collect();
    ensure(old.is_empty(), || format!("{when} the target still holds what the older attempt left: {old:?}"))
}

/// **Promise**: recovery aborts what older attempts left and no snapshot lists, of all their writers.
/// **How**: an attempt with six writers prepares with the first and writes with the last; a newer one,
/// which has a single writer, recovers with nothing pending.
/// **Passes when** nothing of the older one is left. Needs the facet *leftovers*.
pub async fn leftovers_of_older_attempts_are_aborted<H: SinkHarness>(harness: &H) -> Checked {
    let Some(leftovers) = harness.facets().leftovers else {
        return Ok(Verdict::Skipped("leftovers"));
    };
    let mut older = Run::start(harness, OLDER, 6).await?;
    older.fill(1, &rows("prepared", 4)).await?;
    older.write(5, &rows("written", 4)).await?;
    older.crash();
    Run::start(harness, NEWER, 1).await?;
    expect_swept("after recovery", leftovers).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: recovery, repeated during the attempt, aborts what a paused older attempt left late (I6).
/// **How**: an attempt recovers; then an older one opens a writer and writes; then the first one recovers
/// again.
/// **Passes when** nothing of the older one is left. Needs the facet *leftovers*.
pub async fn leftovers_that_come_late_are_aborted<H: SinkHarness>(harness: &H) -> Checked {
    let Some(leftovers) = harness.facets().leftovers else {
        return Ok(Verdict::Skipped("leftovers"));
    };
    let mut older = Run::boot(harness, OLDER).await?;
    older.recover(&[]).await?;
    let newer = Run::start(harness, NEWER, 1).await?;
    older.intrude(0, &rows("late", 4)).await?;
    newer.recover(&[]).await?;
    expect_swept("after the second recovery", leftovers).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: nobody touches what another job or another sink made, however alike the names are.
/// **How**: jobs and sinks whose names begin like ours, with older attempts, prepare; ours recovers with
/// nothing pending; then the others commit.
/// **Passes when** all their rows are visible once.
pub async fn other_jobs_and_sinks_are_left_alone<H: SinkHarness>(harness: &H) -> Checked {
    let owners = [
        Owner::new("conform-b", "out"),
        Owner::new("conform", "out-b"),
        Owner::new("conformb", "out"),
        Owner::new("con", "out"),
    ];
    let mut others = Vec::new();
    let mut written = Vec::new();
    for owner in owners {
        let rows = rows(&format!("{}-{}", owner.job, owner.uid), 4);
        let mut run = Run::boot_as(harness, owner, OLDER).await?;
        run.recover(&[]).await?;
        run.open(0).await?;
        let pending = run.fill(1, &rows).await?;
        written.extend(rows);
        others.push((run, pending));
    }
    let ours = Run::start(harness, NEWER, 1).await?;
    ours.recover(&[]).await?;
    for (run, pending) in &others {
        run.commit(1, pending).await?;
    }
    expect_visible(harness, "after the others' commits", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: recovery looks at what is pending and changes none of it (I6).
/// **How**: an epoch is prepared, the process dies, another one recovers twice and does not commit yet.
/// **Passes when** recovery succeeds both times, nothing is visible before the commit, and all is after it.
pub async fn recovery_changes_nothing_that_is_pending<H: SinkHarness>(harness: &H) -> Checked {
    let mut older = Run::start(harness, OLDER, 1).await?;
    let written = rows("a", 4);
    let pending = older.fill(1, &written).await?;
    older.crash();
    let newer = Run::boot(harness, NEWER).await?;
    for _ in 0..2 {
        newer.recover(&pending).await?;
        expect_visible(harness, "after recovery and before the commit", &[]).await?;
    }
    newer.commit(1, &pending).await?;
    expect_visible(harness, "after the commit", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: recovery, repeated during the attempt, leaves the attempt's own data alone.
/// **How**: an epoch is prepared and another one written; the sink recovers again, first with nothing
/// listed, then with the prepared epoch; then both are committed.
/// **Passes when** the rows of both are visible once.
pub async fn recovery_again_leaves_own_data_alone<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let mut written = rows("e1", 4);
    let pending = run.fill(1, &written).await?;
    let second = rows("e2", 4);
    written.extend_from_slice(run.offer(0, &second).await?);
    run.recover(&[]).await?;
    run.recover(&pending).await?;
    let second_pending = run.prepare(2).await?;
    run.commit(1, &pending).await?;
    run.commit(2, &second_pending).await?;
    expect_visible(harness, "after both commits", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: an older attempt that is slow at its start disturbs nothing of a newer one (I5).
/// **How**: the newer attempt has one epoch prepared and one written when the older one recovers, opens
/// the same writer and writes; each of these may be refused. Then the newer one commits both epochs.
/// **Passes when** the newer one's rows are visible once, and nothing else.
pub async fn an_older_attempt_that_starts_late_harms_nothing<H: SinkHarness>(harness: &H) -> Checked {
    let mut older = Run::boot(harness, OLDER).await?;
    let mut newer = Run::start(harness, NEWER, 1).await?;
    let mut written = rows("e1", 4);
    let first = newer.fill(1, &written).await?;
    let second_rows = rows("e2", 4);
    written.extend_from_slice(newer.offer(0, &second_rows).await?);
    older.recover_or_be_refused().await?;
    older.intrude(0, &rows("late", 4)).await?;
    newer.commit(1, &first).await?;
    let second = newer.prepare(2).await?;
    newer.commit(2, &second).await?;
    expect_visible(harness, "after the newer attempt's commits", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: a late commit by an older attempt changes nothing of a newer one.
/// **How**: the newer attempt recovered with the older one's epoch and has an epoch of its own prepared
/// when the older one, which was paused, commits.
/// **Passes when** that commit, refused or not, makes nothing more visible, and the newer one's does.
pub async fn an_older_attempt_that_commits_late_changes_nothing<H: SinkHarness>(harness: &H) -> Checked {
    let mut older = Run::start(harness, OLDER, 1).await?;
    let mut written = rows("old", 4);
    let old = older.fill(1, &written).await?;
    let mut newer = Run::restart(harness, NEWER, &old, 1).await?;
    let own = rows("new", 4);
    let prepared = newer.fill(2, &own).await?;
    let _ = older.try_commit(1, &old).await?;
    expect_visible(harness, "after the late commit", &written).await?;
    newer.commit(2, &prepared).await?;
    written.extend(own);
    expect_visible(harness, "after the newer attempt's commit", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: recovery finds out, before anything is committed, that pending data is gone (I7).
/// **How**: an epoch is prepared, the target throws it away, and a fresh process recovers with it pending.
/// **Passes when** recovery fails with kind `Expired` and retry `Halt`. Needs the facet *expiry*.
pub async fn recovery_reports_data_that_is_gone<H: SinkHarness>(harness: &H) -> Checked {
    let Some(expiry) = harness.facets().expiry else {
        return Ok(Verdict::Skipped("expiry"));
    };
    let mut older = Run::start(harness, OLDER, 1).await?;
    let pending = older.fill(1, &rows("a", 4)).await?;
    older.crash();
    must("letting prepared data expire", expiry.expire()).await?;
    let newer = Run::boot(harness, NEWER).await?;
    expect_expired("recover", newer.sink.recover(&newer.attempt, &pending).await)?;
    Ok(Verdict::Passed)
}
