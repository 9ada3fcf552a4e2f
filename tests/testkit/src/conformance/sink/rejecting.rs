//! The checks of a sink whose writer is [`Rejecting`](tidelock::Rejecting): single records that it can never take
//! are set aside, each once, and everything beside them is written.

use tidelock::{ErrorKind, Rejects, Retry, Sink};

use super::run::{NEWER, OLDER, Run, SinkOf, expect_visible, rows};
use crate::check::{CheckFailure, Checked, Verdict, ensure};
use crate::harness::{RejectingHarness, Row};

type RecordOf<H> = <SinkOf<H> as Sink>::Record;

/// A run with one writer, and the place of what it rejects.
async fn start<H: RejectingHarness>(harness: &H, number: u64) -> Checked<(Run<'_, H>, Rejects<RecordOf<H>>)> {
    let mut run = Run::start(harness, number, 1).await?;
    let rejects = Rejects::kept();
    harness.reject_to(run.writer(0), rejects.clone());
    Ok((run, rejects))
}

/// Writes good rows with bad ones among them: before the first, after the last, and two in a row.
async fn write_mixed<H: RejectingHarness>(run: &mut Run<'_, H>, good: &[Row], bad: &[Row]) -> Checked<()> {
    let harness = run.harness;
    let mut records: Vec<RecordOf<H>> = Vec::new();
    let mut bad = bad.iter().map(|row| harness.bad(row));
    records.extend(bad.next());
    for (place, row) in good.iter().enumerate() {
        records.push(harness.record(row));
        if place == 0 {
            records.extend(bad.next());
            records.extend(bad.next());
        }
    }
    records.extend(bad);
    run.write_records(records).await
}

fn take<H: RejectingHarness>(harness: &H, rejects: &Rejects<RecordOf<H>>) -> Vec<Row> {
    rejects.take().iter().map(|(record, _)| harness.row(record)).collect()
}

/// The rows of bad records, apart from the good ones by their keys.
fn bad_rows(key: &str, count: u64) -> Vec<Row> {
    rows(&format!("bad-{key}"), count)
}

fn expect_rejected(when: &str, rejected: &[Row], expected: &[Row]) -> Checked<()> {
    ensure(rejected == expected, || {
        format!(
            "{when}, the records {expected:?} must have been rejected, once each and in order, and {rejected:?} were"
        )
    })
}

/// **Promise**: a record that cannot be taken is handed back: whole, once, in order.
/// **How**: bad records stand before, between and after good ones of one batch.
/// **Passes when** the place has exactly the bad ones after prepare.
pub async fn a_rejected_record_is_handed_back_once<H: RejectingHarness>(harness: &H) -> Checked {
    let (mut run, rejects) = start(harness, NEWER).await?;
    let bad = bad_rows("a", 5);
    write_mixed(&mut run, &rows("a", 4), &bad).await?;
    run.prepare(1).await?;
    expect_rejected("after prepare", &take(harness, &rejects), &bad)?;
    Ok(Verdict::Passed)
}

/// **Promise**: a rejected record leaves nothing in the target, and takes nothing with it.
/// **How**: as before, and the epoch is committed; then another one without bad records.
/// **Passes when** exactly the good rows are visible.
pub async fn what_stands_beside_a_rejected_record_is_written<H: RejectingHarness>(harness: &H) -> Checked {
    let (mut run, _rejects) = start(harness, NEWER).await?;
    let mut written = rows("a", 4);
    write_mixed(&mut run, &written, &bad_rows("a", 5)).await?;
    let pending = run.prepare(1).await?;
    run.commit(1, &pending).await?;
    expect_visible(harness, "after the commit", &written).await?;
    let next = rows("b", 4);
    let pending = run.fill(2, &next).await?;
    run.commit(2, &pending).await?;
    written.extend(next);
    expect_visible(harness, "after another epoch", &written).await?;
    Ok(Verdict::Passed)
}

/// **Promise**: when prepare returns, the last reject of the epoch is told: the host lets the barrier pass.
/// **How**: three epochs end with a bad record; a fourth has nothing else.
/// **Passes when** the place has the bad records of each epoch after its prepare.
pub async fn rejects_are_told_before_their_epoch_is_prepared<H: RejectingHarness>(harness: &H) -> Checked {
    let (mut run, rejects) = start(harness, NEWER).await?;
    for epoch in 1..=4 {
        let good = if epoch < 4 { rows(&format!("e{epoch}"), 2) } else { Vec::new() };
        let bad = bad_rows(&format!("e{epoch}"), 1);
        run.write(0, &good).await?;
        run.write_records(bad.iter().map(|row| harness.bad(row)).collect()).await?;
        let pending = run.prepare(epoch).await?;
        expect_rejected(&format!("after prepare of epoch {epoch}"), &take(harness, &rejects), &bad)?;
        run.commit(epoch, &pending).await?;
        run.settle(epoch, false).await?;
    }
    Ok(Verdict::Passed)
}

/// **Promise**: where nobody wants rejected records, a bad one is an error that says what is wrong and asks for
/// a person: it would be there again after each restart.
/// **How**: a batch with a bad record is written, and prepared where write does not fail.
/// **Passes when** one of them fails with kind `Data` and retry `Halt`.
pub async fn without_a_place_a_bad_record_is_an_error<H: RejectingHarness>(harness: &H) -> Checked {
    let mut run = Run::start(harness, NEWER, 1).await?;
    let row = &bad_rows("a", 1)[0];
    match run.try_records(1, vec![harness.bad(row)]).await? {
        Ok(()) => Err(CheckFailure::new("a bad record is passed over in silence: it is lost")),
        Err(error) if error.kind() == ErrorKind::Data && error.retry() == Retry::Halt => Ok(Verdict::Passed),
        Err(error) => {
            Err(CheckFailure::because("a bad record must be an error of kind Data with retry Halt", error))
        }
    }
}

/// **Promise**: what was rejected belongs to the epoch, as what was written does: a replay rejects it again.
/// **How**: a process rejects and dies before prepare; another one is given the same records.
/// **Passes when** the bad ones are in the second one's place, and the good ones are visible once.
pub async fn a_replay_rejects_again<H: RejectingHarness>(harness: &H) -> Checked {
    let (good, bad) = (rows("a", 4), bad_rows("a", 5));
    let (mut run, _lost) = start(harness, OLDER).await?;
    write_mixed(&mut run, &good, &bad).await?;
    run.crash();
    let (mut run, rejects) = start(harness, NEWER).await?;
    write_mixed(&mut run, &good, &bad).await?;
    let pending = run.prepare(1).await?;
    expect_rejected("after the replay", &take(harness, &rejects), &bad)?;
    run.commit(1, &pending).await?;
    expect_visible(harness, "after the replay", &good).await?;
    Ok(Verdict::Passed)
}

/// Hands the name of every check of rejecting sinks to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __rejecting_checks {
    ($then:path, $($with:tt)*) => {
        $then! {
            $($with)*;
            a_rejected_record_is_handed_back_once
            what_stands_beside_a_rejected_record_is_written
            rejects_are_told_before_their_epoch_is_prepared
            without_a_place_a_bad_record_is_an_error
            a_replay_rejects_again
        }
    };
}

__rejecting_checks!(by_name, RejectingHarness);
