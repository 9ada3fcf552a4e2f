//! Why a transaction was cancelled. Each of its actions has a reason or none, and the ledger's is the first.
//!
//! Only the ledger's own condition says something about the ledger. What passes is tried again as it is; what DynamoDB never takes halts with the
//! item that it is about.

use aws_sdk_dynamodb::types::CancellationReason;
use tidelock::{Error, ErrorKind, Retry};

use super::place::APPLY;

/// What it means.
#[derive(Debug)]
pub(super) enum Cancelled {
    /// The ledger's item is not what it was: this chunk may be applied already, or a newer attempt is there.
    Moved,
    /// Tried again, or not, as the error says. The action that it is about, where it is about one.
    Failed(Error, Option<usize>),
}

/// What the codes of reasons mean.
fn meaning(code: &str) -> (ErrorKind, Retry, &'static str) {
    match code {
        "TransactionConflict" => {
            (ErrorKind::Conflict, Retry::Retry, "another request or transaction is at an item of this one")
        }
        "ThrottlingError" | "ProvisionedThroughputExceeded" | "RequestLimitExceeded" => {
            (ErrorKind::RateLimited, Retry::Retry, "the table takes no more now")
        }
        "TransactionInProgress" | "InternalServerError" | "ServiceUnavailable" => {
            (ErrorKind::Unavailable, Retry::Retry, "the service cannot do it now")
        }
        "ValidationError" => {
            (ErrorKind::Data, Retry::Halt, "DynamoDB does not take a change of an item, as the item is now")
        }
        "ItemCollectionSizeLimitExceeded" => (
            ErrorKind::Data,
            Retry::Halt,
            "the items of one partition key and their local indexes would be more than 10 GB",
        ),
        "AccessDenied" => (ErrorKind::Auth, Retry::Halt, "a right is missing"),
        "ConditionalCheckFailed" => (ErrorKind::Bug, Retry::Halt, "a condition failed that was not set"),
        _ => (
            ErrorKind::Other,
            Retry::Restart,
            "a transaction was cancelled for a reason that this build does not know",
        ),
    }
}

/// What the reasons of a transaction say, of which the most lasting one counts.
pub(super) fn cancelled(reasons: &[CancellationReason]) -> Cancelled {
    let code = |reason: &CancellationReason| {
        reason.code().filter(|code| !code.is_empty() && *code != "None").map(str::to_owned)
    };
    if reasons.first().and_then(code).as_deref() == Some("ConditionalCheckFailed") {
        return Cancelled::Moved;
    }
    let told = reasons.iter().enumerate().filter_map(|(at, reason)| Some((at, reason, code(reason)?)));
    // Of equal ones the first.
    let Some((at, reason, code)) = told.min_by_key(|(_, _, code)| std::cmp::Reverse(meaning(code).1)) else {
        let why = "a transaction was cancelled without a reason";
        return Cancelled::Failed(Error::new(ErrorKind::Other, APPLY, why), None);
    };
    let (kind, retry, why) = meaning(&code);
    let mut error = Error::new(kind, APPLY, why).with_retry(retry).with("code", &code);
    if let Some(message) = reason.message() {
        error = error.with("said", message);
    }
    Cancelled::Failed(error, at.checked_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(codes: &[&str]) -> Vec<CancellationReason> {
        let reason =
            |code: &&str| CancellationReason::builder().code(*code).message(format!("about {code}")).build();
        codes.iter().map(reason).collect()
    }

    #[test]
    fn only_the_ledgers_own_condition_says_that_the_ledger_moved() {
        assert!(matches!(cancelled(&reasons(&["ConditionalCheckFailed", "None"])), Cancelled::Moved));
        // Whatever else there is: where the chunk is applied already, it does not matter.
        let with_others = reasons(&["ConditionalCheckFailed", "TransactionConflict", "ValidationError"]);
        assert!(matches!(cancelled(&with_others), Cancelled::Moved));
        for codes in [
            &["None", "ConditionalCheckFailed"][..],
            &["TransactionConflict", "None"],
            &["None", "None"],
            &[],
        ] {
            assert!(matches!(cancelled(&reasons(codes)), Cancelled::Failed(..)), "{codes:?}");
        }
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_names_its_action() {
        for (codes, kind, retry, action) in [
            (&["TransactionConflict", "None"][..], ErrorKind::Conflict, Retry::Retry, None),
            (&["None", "None", "TransactionConflict"], ErrorKind::Conflict, Retry::Retry, Some(1)),
            (&["None", "ThrottlingError"], ErrorKind::RateLimited, Retry::Retry, Some(0)),
            (&["ProvisionedThroughputExceeded", "None"], ErrorKind::RateLimited, Retry::Retry, None),
            (&["None", "TransactionInProgress"], ErrorKind::Unavailable, Retry::Retry, Some(0)),
            (&["TransactionConflict", "None", "ValidationError"], ErrorKind::Data, Retry::Halt, Some(1)),
            (&["None", "ItemCollectionSizeLimitExceeded"], ErrorKind::Data, Retry::Halt, Some(0)),
            (&["None", "ConditionalCheckFailed"], ErrorKind::Bug, Retry::Halt, Some(0)),
            (&["ThrottlingError", "SomethingNew"], ErrorKind::Other, Retry::Restart, Some(0)),
            (&["None", "None"], ErrorKind::Other, Retry::Restart, None),
            (&[], ErrorKind::Other, Retry::Restart, None),
        ] {
            let Cancelled::Failed(error, at) = cancelled(&reasons(codes)) else { panic!("{codes:?}") };
            assert_eq!((error.kind(), error.retry(), at), (kind, retry, action), "{codes:?}");
        }
    }
}
