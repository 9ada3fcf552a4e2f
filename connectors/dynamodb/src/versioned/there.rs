//! What the item that is there says of a change that was refused.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::version::{ItemVersion, Stamp};

/// What matters of an item in whose place a change was not made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct There {
    pub(super) version: Option<AttributeValue>,
    pub(super) is_deleted: bool,
}

/// What becomes of the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was made already: an answer was lost.
    Made,
    /// Something newer is there, and wins.
    Passed,
    /// A tombstone is there, and older: the change makes the item anew.
    Anew,
    /// Something is there that this writer must not pass over.
    Wrong(Wrong),
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A newer attempt wrote it, or one of another log.
    NewerAttempt(Stamp),
    /// Another writer of our own attempt wrote it.
    OtherWriter(Stamp),
    /// Its version is none that can be compared with ours.
    OtherKind,
    /// It should not have been refused.
    Unfounded,
}

impl There {
    /// Of the item that came with a refusal.
    pub(super) fn of(item: &HashMap<String, AttributeValue>, version: &str, deleted: &str) -> Self {
        Self { version: item.get(version).cloned(), is_deleted: item.contains_key(deleted) }
    }

    /// What becomes of a change with this version; of an update, too, it is asked whether the item was deleted.
    pub(super) fn judge(&self, ours: ItemVersion, is_update: bool) -> Verdict {
        // The condition did not hold because of the tombstone, or because of the version.
        let if_older =
            || if is_update && self.is_deleted { Verdict::Anew } else { Verdict::Wrong(Wrong::Unfounded) };
        match (ours, &self.version) {
            (_, None) => if_older(),
            (ItemVersion::Attempt(ours), Some(AttributeValue::S(theirs))) => match Stamp::parse(theirs) {
                None => Verdict::Wrong(Wrong::OtherKind),
                Some(theirs) if theirs == ours => Verdict::Made,
                Some(theirs) if theirs < ours => if_older(),
                Some(theirs) if theirs.by() == ours.by() => Verdict::Wrong(Wrong::OtherWriter(theirs)),
                Some(theirs) => Verdict::Wrong(Wrong::NewerAttempt(theirs)),
            },
            (ItemVersion::Record(ours), Some(AttributeValue::N(theirs))) => match theirs.parse::<u64>() {
                Ok(theirs) if theirs == ours => Verdict::Made,
                Ok(theirs) if theirs < ours => if_older(),
                Ok(_) => Verdict::Passed,
                // It is less than nothing, has a fraction, or is larger than any of ours: DynamoDB compared it exactly.
                Err(_) if is_update && self.is_deleted => Verdict::Wrong(Wrong::OtherKind),
                Err(_) => Verdict::Passed,
            },
            _ => Verdict::Wrong(Wrong::OtherKind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(generation: u64, attempt: u64, sequence: u64, writer: u64) -> Stamp {
        Stamp { generation, attempt, sequence, writer }
    }

    fn there(version: AttributeValue, is_deleted: bool) -> There {
        There { version: Some(version), is_deleted }
    }

    fn of(stamp: Stamp) -> AttributeValue {
        ItemVersion::Attempt(stamp).to_value()
    }

    #[test]
    fn what_an_attempt_meets_is_its_own_or_told() {
        let ours = stamp(5, 7, 100, 1);
        for (theirs, verdict) in [
            (ours, Verdict::Made),
            (stamp(5, 8, 1, 0), Verdict::Wrong(Wrong::NewerAttempt(stamp(5, 8, 1, 0)))),
            (stamp(6, 1, 1, 0), Verdict::Wrong(Wrong::NewerAttempt(stamp(6, 1, 1, 0)))),
            (stamp(5, 7, 100, 2), Verdict::Wrong(Wrong::OtherWriter(stamp(5, 7, 100, 2)))),
            (stamp(5, 7, 101, 1), Verdict::Wrong(Wrong::OtherWriter(stamp(5, 7, 101, 1)))),
            // A condition that holds is not refused.
            (stamp(5, 7, 99, 1), Verdict::Wrong(Wrong::Unfounded)),
            (stamp(4, 9, 999, 9), Verdict::Wrong(Wrong::Unfounded)),
        ] {
            assert_eq!(
                there(of(theirs), false).judge(ItemVersion::Attempt(ours), false),
                verdict,
                "{theirs}"
            );
        }
        for foreign in
            [AttributeValue::N("7".into()), AttributeValue::S("7".into()), AttributeValue::Null(true)]
        {
            let verdict = there(foreign, false).judge(ItemVersion::Attempt(ours), false);
            assert_eq!(verdict, Verdict::Wrong(Wrong::OtherKind));
        }
    }

    #[test]
    fn an_update_makes_an_item_anew_in_the_place_of_an_older_tombstone_alone() {
        let ours = stamp(5, 7, 100, 1);
        let judge = |theirs: Stamp| there(of(theirs), true).judge(ItemVersion::Attempt(ours), true);
        assert_eq!(judge(stamp(5, 7, 99, 1)), Verdict::Anew);
        assert_eq!(judge(ours), Verdict::Made);
        assert_eq!(judge(stamp(5, 8, 1, 1)), Verdict::Wrong(Wrong::NewerAttempt(stamp(5, 8, 1, 1))));
        let by_record =
            |theirs: &str| there(AttributeValue::N(theirs.into()), true).judge(ItemVersion::Record(7), true);
        assert_eq!(
            (by_record("6"), by_record("7"), by_record("8")),
            (Verdict::Anew, Verdict::Made, Verdict::Passed)
        );
        let without_version = There { version: None, is_deleted: true };
        assert_eq!(without_version.judge(ItemVersion::Record(7), true), Verdict::Anew);
    }

    #[test]
    fn where_versions_are_those_of_records_what_is_newer_wins_whoever_wrote_it() {
        let judge = |theirs: AttributeValue| there(theirs, false).judge(ItemVersion::Record(7), false);
        for (theirs, verdict) in [
            ("7", Verdict::Made),
            ("8", Verdict::Passed),
            ("100000000000000000000", Verdict::Passed),
            ("7.5", Verdict::Passed),
            ("6", Verdict::Wrong(Wrong::Unfounded)),
        ] {
            assert_eq!(judge(AttributeValue::N(theirs.into())), verdict, "{theirs}");
        }
        assert_eq!(judge(of(stamp(1, 1, 1, 1))), Verdict::Wrong(Wrong::OtherKind));
    }
}
