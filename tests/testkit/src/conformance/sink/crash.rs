//! A crash at each point of an epoch, and the recovery after it.
//!
//! Every crash ends the process: what recovers is a fresh sink that has the stored committables and the
//! target, and nothing else. What was not committed is written again, as the sources replay it.

use super::run::{NEWER, OLDER, PendingOf, Run, expect_visible, rows};
use crate::check::{Checked, Verdict};
use crate::harness::{Row, SinkHarness};

/// In how many places of one call the process dies: more awaits than a call of a plain client has.
const POLLS: usize = 8;

/// An epoch that is newer than all that these checks commit before: an epoch number never means two
/// things.
const NEXT: u64 = 5;

/// Recovers with `pending` in a fresh process, lets it run one more epoch, and looks.
async fn recover_and_go_on<H: SinkHarness>(
    harness: &H,
    pending: &[PendingOf<H>],
    mut visible: Vec<Row>,
    next: Vec<Row>,
) -> Checked {
    let mut run = Run::restart(harness, NEWER, pending, 1).await?;
    let prepared = run.fill(NEXT, &next).await?;
    run.commit(NEXT, &prepared).await?;
    visible.extend(next);
    expect_visible(harness, "after recovery and one more epoch", &visible).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: a crash before prepare leaves nothing that becomes visible.
/// **How**: rows are written, the process dies, another one recovers with nothing pending and writes the
/// same rows.
/// **Passes when** each row is visible once.
pub async fn a_crash_before_prepare_leaves_nothing<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, OLDER, 1).await?;
    let replayed = rows("a", 4);
    run.write(0, &replayed).await?;
    run.crash();
    recover_and_go_on(harness, &[], Vec::new(), replayed).await
}

/// **Promise**: a crash in the middle of a write leaves nothing that becomes visible.
/// **How**: the process dies inside `write`, at one await after the other, each time in a fresh attempt;
/// then the rows are written again.
/// **Passes when** each row is visible once.
pub async fn a_crash_inside_write_leaves_nothing<H: SinkHarness>(harness: &H) -> Checked {
    let replayed = rows("a", 4);
    for polls in 1..=POLLS {
        let mut run = Run::start(harness, polls as u64, 1).await?;
        run.crash_inside_write(0, &replayed, polls).await?;
        run.crash();
    }
    recover_and_go_on(harness, &[], Vec::new(), replayed).await
}

/// **Promise**: what is prepared and not in a snapshot never becomes visible.
/// **How**: an epoch is prepared, the process dies before the snapshot is durable, another one recovers
/// with nothing pending and writes the same rows.
/// **Passes when** each row is visible once.
pub async fn a_crash_after_prepare_leaves_nothing<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, OLDER, 1).await?;
    let replayed = rows("a", 4);
    run.fill(1, &replayed).await?;
    run.crash();
    recover_and_go_on(harness, &[], Vec::new(), replayed).await
}

/// **Promise**: what a durable snapshot lists is committed after a crash, all of it.
/// **How**: three epochs are prepared and listed, the process dies before any commit, another one
/// recovers.
/// **Passes when** the rows of all are visible once.
pub async fn a_crash_after_the_snapshot_loses_nothing<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, OLDER, 1).await?;
    let mut listed = Vec::new();
    let mut pending = Vec::new();
    for epoch in 1..=3 {
        // A writer with few places may give back some: those are replayed, and not in the snapshot.
        let rows = rows(&format!("e{epoch}"), 4);
        listed.extend_from_slice(run.offer(0, &rows).await?);
        pending.extend(run.prepare(epoch).await?);
    }
    run.crash();
    recover_and_go_on(harness, &pending, listed, rows("next", 4)).await
}

/// **Promise**: a crash inside commit neither doubles nor loses what was under way.
/// **How**: the process dies inside `commit`, at one await after the other, each time with an epoch of its
/// own; the next one recovers with that epoch pending.
/// **Passes when** each row is visible once.
pub async fn a_crash_inside_commit_is_completed<H: SinkHarness>(harness: &H) -> Checked {
    let mut written = Vec::new();
    let mut run = Run::start(harness, OLDER, 1).await?;
    for polls in 1..=POLLS {
        let epoch = polls as u64;
        let rows = rows(&format!("p{polls}"), 4);
        let pending = run.fill(epoch, &rows).await?;
        written.extend(rows);
        if run.crash_inside_commit(epoch, &pending, polls).await? {
            // The call has fewer awaits than this: there is no place left to die in.
            break;
        }
        run.crash();
        run = Run::restart(harness, OLDER + epoch, &pending, 1).await?;
    }
    expect_visible(harness, "after the last recovery", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: what is committed and not yet confirmed stays visible, once, whatever recovery is told.
/// **How**: an epoch is committed and the process dies before the entry that confirms it; the next one
/// recovers with it pending, dies, and another one recovers with nothing pending.
/// **Passes when** neither recovery fails and each row is visible once.
pub async fn a_crash_after_commit_doubles_nothing<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, OLDER - 1, 1).await?;
    let written = rows("a", 4);
    let pending = run.fill(1, &written).await?;
    run.commit(1, &pending).await?;
    run.crash();
    let run = Run::restart(harness, OLDER, &pending, 1).await?;
    expect_visible(harness, "after recovery with the epoch pending", &written).await?;
    run.crash();
    recover_and_go_on(harness, &[], written, rows("next", 4)).await
}

/// **Promise**: parallelism may change while something is pending.
/// **How**: the last of three writers prepares, the process dies, another one recovers and opens a single
/// writer.
/// **Passes when** the rows of the writer that is no more are visible once.
pub async fn fewer_writers_can_recover<H: SinkHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, OLDER, 3).await?;
    let listed = rows("a", 4);
    run.write(2, &listed).await?;
    let pending = run.prepare(1).await?;
    run.crash();
    recover_and_go_on(harness, &pending, listed, rows("next", 4)).await
}
