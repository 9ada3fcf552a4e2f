//! What a log lists for sinks of one kind.

use serde::{Deserialize, Serialize};

use super::*;
use crate::{ErrorKind, Pending, Result, Versioned, unknown_version};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    file: String,
}

impl Versioned for Part {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

#[tokio::test]
async fn what_is_pending_is_listed_by_its_kind_wherever_its_bytes_are() {
    let log = memory();
    let error = log.listed::<Part>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");

    let large = log.write_chunk(Position(1), r#"{"file":"part-1"}"#.into()).await.unwrap();
    let of_another = PendingState { committable: json(r#"{"topic":"t"}"#), ..pending(2, 1, 1) };
    let of_a_newer_build = PendingState { version: 9, ..pending(2, 1, 2) };
    let in_a_chunk = PendingState { committable: Segment::Chunk(large), ..pending(2, 1, 3) };
    let mut claim = entry(1, EntryKind::Claim, 1, 2);
    claim.state = Some(state(vec![], vec![pending(1, 1, 0), of_a_newer_build, in_a_chunk]));
    claim.state.as_mut().unwrap().sinks.insert(uid("topic"), vec![of_another]);
    append(&log, &claim).await;

    let listed = log.listed::<Part>().await.unwrap();
    let part = |epoch, writer, file: &str| Pending {
        epoch: Epoch(epoch),
        attempt: Position(1),
        writer: WriterId(writer),
        committable: Part { file: file.into() },
    };
    assert_eq!(listed.pending, [part(1, 0, "part-0"), part(2, 3, "part-1")]);
    assert_eq!((listed.job.as_str(), listed.attempt), ("orders", Position(1)));
    assert_eq!(listed.sinks, [uid("out"), uid("topic")]);
    assert_eq!(listed.unread, [uid("out"), uid("topic")], "of a newer build, and of another kind");
}
