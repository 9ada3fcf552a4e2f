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

/// What a request asks for, where it changes nothing of what is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A whole item, or a tombstone, whatever is there.
    Whole,
    /// Some attributes, where no tombstone is there.
    Part,
    /// A whole item made of some attributes, where a tombstone or nothing is there.
    Anew,
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
    /// An item is there, and older, where a tombstone was: the change is of some of its attributes.
    There,
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
    /// Of the item that came with a refusal. Somebody else's may have the mark with another value, and was not deleted.
    pub(super) fn of(item: &HashMap<String, AttributeValue>, version: &str, deleted: &str) -> Self {
        let is_deleted = item.get(deleted) == Some(&AttributeValue::Bool(true));
        Self { version: item.get(version).cloned(), is_deleted }
    }

    /// What becomes of a change with this version.
    pub(super) fn judge(&self, ours: ItemVersion, asked: Asked) -> Verdict {
        // The condition did not hold because of the tombstone, or because there is none, or because of the version.
        let if_older = || match (asked, self.is_deleted) {
            (Asked::Part, true) => Verdict::Anew,
            (Asked::Anew, false) => Verdict::There,
            _ => Verdict::Wrong(Wrong::Unfounded),
        };
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
                Err(_) if if_older() != Verdict::Wrong(Wrong::Unfounded) => Verdict::Wrong(Wrong::OtherKind),
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
        Stamp { generation, attempt, sequence, writer, sink: Some(7) }
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
                there(of(theirs), false).judge(ItemVersion::Attempt(ours), Asked::Whole),
                verdict,
                "{theirs}"
            );
        }
        for foreign in
            [AttributeValue::N("7".into()), AttributeValue::S("7".into()), AttributeValue::Null(true)]
        {
            let verdict = there(foreign, false).judge(ItemVersion::Attempt(ours), Asked::Whole);
            assert_eq!(verdict, Verdict::Wrong(Wrong::OtherKind));
        }
    }

    #[test]
    fn an_update_makes_an_item_anew_in_the_place_of_an_older_tombstone_alone() {
        let ours = stamp(5, 7, 100, 1);
        let judge = |theirs: Stamp| there(of(theirs), true).judge(ItemVersion::Attempt(ours), Asked::Part);
        assert_eq!(judge(stamp(5, 7, 99, 1)), Verdict::Anew);
        assert_eq!(judge(ours), Verdict::Made);
        assert_eq!(judge(stamp(5, 8, 1, 1)), Verdict::Wrong(Wrong::NewerAttempt(stamp(5, 8, 1, 1))));
        let by_record = |theirs: &str| {
            there(AttributeValue::N(theirs.into()), true).judge(ItemVersion::Record(7), Asked::Part)
        };
        assert_eq!(
            (by_record("6"), by_record("7"), by_record("8")),
            (Verdict::Anew, Verdict::Made, Verdict::Passed)
        );
        let without_version = There { version: None, is_deleted: true };
        assert_eq!(without_version.judge(ItemVersion::Record(7), Asked::Part), Verdict::Anew);
    }

    #[test]
    fn an_item_that_came_into_the_place_of_a_tombstone_is_updated_and_not_replaced() {
        let ours = stamp(5, 7, 100, 1);
        let judge = |theirs: Stamp, is_deleted| {
            there(of(theirs), is_deleted).judge(ItemVersion::Attempt(ours), Asked::Anew)
        };
        assert_eq!(judge(stamp(5, 7, 99, 1), false), Verdict::There);
        assert_eq!(judge(ours, false), Verdict::Made);
        assert_eq!(judge(stamp(5, 7, 99, 1), true), Verdict::Wrong(Wrong::Unfounded));
        assert_eq!(judge(stamp(6, 1, 1, 1), false), Verdict::Wrong(Wrong::NewerAttempt(stamp(6, 1, 1, 1))));
    }

    /// Two sinks of a job count alike: what the other one wrote is not taken for our own.
    #[test]
    fn what_another_sink_wrote_with_the_same_number_is_told() {
        let ours = stamp(5, 7, 100, 1);
        for sink in [Some(8), None] {
            let theirs = Stamp { sink, ..ours };
            let verdict = there(of(theirs), false).judge(ItemVersion::Attempt(ours), Asked::Whole);
            let wrong = if theirs > ours { Wrong::OtherWriter(theirs) } else { Wrong::Unfounded };
            assert_eq!(verdict, Verdict::Wrong(wrong), "{theirs}");
        }
    }

    #[test]
    fn an_item_was_deleted_where_its_mark_is_true_and_not_where_somebody_else_says_that_it_was_not() {
        let of_mark =
            |mark: AttributeValue| There::of(&[("gone".to_owned(), mark)].into(), "v", "gone").is_deleted;
        assert!(of_mark(AttributeValue::Bool(true)));
        assert!(!of_mark(AttributeValue::Bool(false)) && !of_mark(AttributeValue::Null(true)));
        assert!(!of_mark(AttributeValue::N("1".into())));
    }

    #[test]
    fn where_versions_are_those_of_records_what_is_newer_wins_whoever_wrote_it() {
        let judge = |theirs: AttributeValue| there(theirs, false).judge(ItemVersion::Record(7), Asked::Whole);
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
