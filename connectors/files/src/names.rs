//! The names that the sink makes, and nothing but names.
//!
//! ```text
//!   in progress   .tidelock/JOB.UID.ATTEMPT.WRITER/NUMBER
//!   mark          .tidelock/JOB.UID.ATTEMPT.WRITER/NUMBER.visible
//!   visible       [BUCKET/]part-ATTEMPT-NUMBER.JOB.UID.WRITER.EXTENSION
//! ```
//!
//! Both carry job, uid, attempt, writer and the number of the file within them, so no two files ever
//! have one name: a replay after a rollback has a newer attempt, a fork another job. Visible names sort
//! in the order of attempts, and within one in the order in which a writer began its files.

use tidelock::{Error, ErrorKind, Result, TargetName};

/// The hidden folder of everything in progress.
pub(crate) const HIDDEN: &str = ".tidelock";

/// The longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;

/// The folder below [`HIDDEN`] for what one writer of one attempt has in progress.
pub(crate) fn staging_folder(target: &TargetName) -> String {
    format!("{HIDDEN}/{target}")
}

/// A file in progress. Twelve digits are enough for thirty years at a thousand files a second.
pub(crate) fn staged(target: &TargetName, number: u64) -> String {
    format!("{HIDDEN}/{target}/{number:012}")
}

/// What a mark's name ends with.
pub(crate) const MARK: &str = ".visible";

/// The mark that lies in the place of a file in progress as soon as that is visible.
pub(crate) fn mark(staged: &str) -> String {
    format!("{staged}{MARK}")
}

/// The visible file that becomes of it.
pub(crate) fn visible(target: &TargetName, number: u64, bucket: &str, extension: &str) -> String {
    let TargetName { job, uid, attempt, writer } = target;
    let slash = if bucket.is_empty() { "" } else { "/" };
    format!("{bucket}{slash}part-{:015}-{number:012}.{job}.{uid}.{writer}.{extension}", attempt.0)
}

/// Refuses job ids and uids that are too long for a file's name together.
pub(crate) fn check_length(target: &TargetName, extension: &str) -> Result<()> {
    let bytes = visible(target, 0, "", extension).len().max(target.to_string().len());
    if bytes > NAME_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::Config,
            "name a file",
            "job id and uid are too long for a file's name",
        )
        .with("job", &target.job)
        .with("uid", &target.uid)
        .with("bytes", bytes)
        .with("bytes_max", NAME_BYTES_MAX));
    }
    Ok(())
}

/// Refuses buckets that would leave the folder, or be hidden from its readers. The empty one is the
/// folder itself.
pub(crate) fn check_bucket(bucket: &str) -> Result<()> {
    let legal = |part: &str| {
        !part.is_empty()
            && part.len() <= NAME_BYTES_MAX
            && !part.starts_with(['.', '_'])
            && !part.contains(|c: char| c == '\\' || c.is_control())
    };
    if bucket.is_empty() || bucket.split('/').all(legal) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Data,
        "name a bucket",
        "each part of a bucket's name has 1 to 255 bytes, no control character and no backslash, and begins neither with '.' nor with '_'",
    )
    .with("bucket", format!("{bucket:?}")))
}

#[cfg(test)]
mod tests {
    use tidelock::{JobId, Position, Uid, WriterId};

    use super::*;

    fn target(job: &str, attempt: u64) -> TargetName {
        TargetName {
            job: JobId::new(job).unwrap(),
            uid: Uid::new("out").unwrap(),
            attempt: Position(attempt),
            writer: WriterId(2),
        }
    }

    #[test]
    fn names_sort_by_attempt_and_number_and_never_repeat() {
        let name = |job, attempt, number| visible(&target(job, attempt), number, "", "jsonl");
        assert_eq!(name("orders", 17, 3), "part-000000000000017-000000000003.orders.out.2.jsonl");
        assert!(
            name("orders", 9, 100) < name("orders", 10, 0) && name("orders", 10, 9) < name("orders", 10, 10)
        );
        assert_ne!(name("orders", 17, 3), name("fork", 17, 3));
        assert_eq!(visible(&target("orders", 1), 0, "day=1/hour=2", "csv").split('/').count(), 3);
        assert_eq!(staged(&target("orders", 17), 3), ".tidelock/orders.out.17.2/000000000003");
    }

    #[test]
    fn a_bucket_stays_in_the_folder_and_is_seen_by_readers() {
        for good in ["", "EWR", "day=2013-01-01/hour=7", "é"] {
            check_bucket(good).unwrap();
        }
        for bad in ["/", "a/", "/a", "..", "a/../b", ".hidden", "_tmp", "a/_b", "a\\b", "a\0", "a//b"] {
            assert!(check_bucket(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_too_long_for_a_file_is_refused_at_once() {
        check_length(&target(&"j".repeat(128), 1), "jsonl").unwrap();
        let mut long = target(&"j".repeat(128), 1);
        long.uid = Uid::new("u".repeat(128)).unwrap();
        assert_eq!(check_length(&long, "jsonl").unwrap_err().kind(), ErrorKind::Config);
    }
}
