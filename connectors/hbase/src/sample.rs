//! How new what is in the table is: a look at its first rows, before anything is written.
//!
//! A cell with a larger timestamp hides whatever is written below it, in silence. So what others wrote with times from the future, or with
//! times at all where versions are small numbers, is found out before, and not after.

use tidelock::{Error, ErrorKind, Result, Retry};

const LOOK: &str = "look at the newest cells of the table";

/// An hour: nothing honest is newer.
const FUTURE_MAX: i64 = 3_600_000;

/// About 2004: what is above it, and not far in the future, is a time of a server, and what is below is none.
const FIRST_TIME: i64 = 1_100_000_000_000;

/// About 2039. Twice a time of an event since 2004 is above it.
const LAST_TIME: i64 = 2 * FIRST_TIME;

/// The largest timestamp that a version below 2^61 becomes.
const TIMESTAMP_MAX: i64 = (1 << 62) - 1;

/// Whether times near the clock would be hidden by what is there.
pub(crate) fn check_reserved(table: &str, newest: Option<i64>, now: i64) -> Result<()> {
    let Some(newest) = newest.filter(|newest| *newest > now.saturating_add(FUTURE_MAX)) else {
        return Ok(());
    };
    let why = "the table has cells from the future: what is written with times near the clock would be hidden by them, in silence. Whoever \
               wrote them had a clock that was wrong, or other timestamps than milliseconds. Write to a table of your own, or truncate this \
               one: a delete of such a cell is as new as the cell, and hides what is written, too";
    Err(refused(table, why).with("newest_timestamp", newest).with("now", now))
}

/// Whether versions of records would be hidden by what is there.
pub(crate) fn check_record(table: &str, newest: Option<i64>, ours: i64, now: i64) -> Result<()> {
    // Our clock may be behind by days.
    let last_time = now.saturating_add(24 * FUTURE_MAX).max(LAST_TIME);
    let is_time = |timestamp: i64| (FIRST_TIME..last_time).contains(&timestamp);
    let hides = |newest: &i64| *newest > TIMESTAMP_MAX || is_time(*newest) && ours < FIRST_TIME;
    let Some(newest) = newest.filter(hides) else { return Ok(()) };
    let why = "the table has cells with the time of a clock, or had some before they were deleted, and versions of records are small numbers beside \
               it: what is written would be hidden, in silence. Write to a table of your own, or choose `reserved` in the setting `versions`. Where \
               the table was truncated, delete its row in the versions table";
    Err(refused(table, why).with("newest_timestamp", newest).with("timestamp_of_a_record", ours))
}

/// Nothing is read back that shows whether versions of records are hidden: a greater one may hide them rightly.
pub(crate) fn not_looked_at(table: &str) -> Error {
    let why = "the first rows of the table are not read in time, perhaps because many deleted ones are kept in front of them, and versions of records \
               may be hidden by cells that nobody looked at";
    Error::new(ErrorKind::Unavailable, LOOK, why)
        .with("table", table)
        .with("remedy", "raise call_timeout_ms of the gateways: half of it is waited; or choose `reserved` in the setting `versions`")
}

fn refused(table: &str, why: &str) -> Error {
    Error::new(ErrorKind::Config, LOOK, why).with_retry(Retry::Halt).with("table", table)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_764_457_200_000;

    #[test]
    fn cells_that_would_hide_what_is_written_are_told() {
        for (newest, is_right) in [
            (None, true),
            (Some(NOW + FUTURE_MAX), true),
            (Some(NOW + FUTURE_MAX + 1), false),
            (Some(7), true),
        ] {
            assert_eq!(check_reserved("t", newest, NOW).is_ok(), is_right, "{newest:?}");
        }
        for (newest, ours, is_right) in [
            (None, 7, true),
            (Some(NOW), 7, false),
            (Some(NOW + 100 * 24 * FUTURE_MAX), 7, false),
            (Some(NOW), NOW, true),
            (Some(90_000), 7, true),
            // Twice the time of an event is far in the future.
            (Some(2 * NOW), 7, true),
            (Some(TIMESTAMP_MAX), 7, true),
            (Some(TIMESTAMP_MAX + 1), 7, false),
        ] {
            assert_eq!(check_record("t", newest, ours, NOW).is_ok(), is_right, "{newest:?} {ours}");
        }
    }
}
