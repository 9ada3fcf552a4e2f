//! What a stream says of one change.

use aws_sdk_dynamodbstreams::types::{OperationType, Record};
use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result};

use crate::deleted::Deleted;
use crate::item::Item;
use crate::source::size::heap_bytes;
use crate::wire::of_wire;

const READ: &str = "read a stream";

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// It is new.
    Insert,
    /// It was there, and is another one. A write that changes nothing is told by some servers.
    Modify,
    /// It is gone.
    Remove,
}

/// One change of one item: the record of a stream.
///
/// Which images there are is a setting of the table's stream (`StreamViewType`): with `NEW_AND_OLD_IMAGES` both are, and with `KEYS_ONLY` none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DynamoEvent {
    /// The number of the change: for one item a later one is greater, as a number and not as a text.
    pub sequence_number: String,
    /// What became of the item.
    pub kind: EventKind,
    /// The item's key.
    pub keys: Item,
    /// The item as it was before.
    pub old: Option<Item>,
    /// The item as it is now.
    pub new: Option<Item>,
    /// When it changed, in milliseconds since 1970, about: DynamoDB may round down to the second.
    pub created_ms: Option<i64>,
    /// Whether DynamoDB itself removed the item, because its time to live was over. An item that was deleted before is not removed once more by that.
    pub is_expiry: bool,
}

impl DynamoEvent {
    pub(super) fn of_wire(record: Record) -> Result<Self> {
        let lacks = |what: &str| Error::new(ErrorKind::Data, READ, format!("a record has no {what}"));
        let kind = match record.event_name {
            Some(OperationType::Insert) => EventKind::Insert,
            Some(OperationType::Modify) => EventKind::Modify,
            Some(OperationType::Remove) => EventKind::Remove,
            Some(other) => {
                let why = "a record is of a kind that this build does not know";
                return Err(Error::new(ErrorKind::Data, READ, why).with("kind", other));
            }
            None => return Err(lacks("kind")),
        };
        let change = record.dynamodb.ok_or_else(|| lacks("change"))?;
        let created = change.approximate_creation_date_time;
        let by_service = |by: Option<&str>| by == Some("dynamodb.amazonaws.com");
        let identity = record.user_identity.as_ref();
        Ok(Self {
            sequence_number: change.sequence_number.ok_or_else(|| lacks("sequence number"))?,
            kind,
            keys: of_wire(change.keys.ok_or_else(|| lacks("key"))?)?,
            old: change.old_image.map(of_wire).transpose()?,
            new: change.new_image.map(of_wire).transpose()?,
            created_ms: created.and_then(|created| created.to_millis().ok()),
            is_expiry: kind == EventKind::Remove && by_service(identity.and_then(|by| by.principal_id())),
        })
    }

    /// Tells what a reader sees, to whom an item that is marked as deleted is not there. Without images nobody can tell.
    pub(super) fn see(&mut self, deleted: &Deleted) {
        let is_marked = |image: &Option<Item>| image.as_ref().is_some_and(|image| deleted.is(image));
        let was_deleted = is_marked(&self.old);
        if is_marked(&self.new) {
            (self.kind, self.new) = (EventKind::Remove, None);
        } else if was_deleted && self.kind == EventKind::Modify {
            self.kind = EventKind::Insert;
        }
        if was_deleted {
            (self.old, self.is_expiry) = (None, false);
        }
    }

    pub(super) fn heap_bytes(&self) -> u64 {
        let images = self.old.iter().chain(&self.new);
        images.chain([&self.keys]).map(heap_bytes).sum::<u64>() + self.sequence_number.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodbstreams::primitives::DateTime;
    use aws_sdk_dynamodbstreams::types::{AttributeValue, Identity, StreamRecord};

    use super::*;
    use crate::value::Value;

    fn change() -> StreamRecord {
        StreamRecord::builder()
            .sequence_number("100000000000000000001")
            .approximate_creation_date_time(DateTime::from_secs_and_nanos(7, 250_000_000))
            .keys("pk", AttributeValue::S("ä".into()))
            .old_image("n", AttributeValue::N("1".into()))
            .build()
    }

    fn record(kind: OperationType) -> Record {
        Record::builder().event_name(kind).dynamodb(change()).build()
    }

    #[test]
    fn a_record_is_read_whole_and_machines_pass_it_on_as_it_is() {
        let event = DynamoEvent::of_wire(record(OperationType::Modify)).expect("whole");
        assert_eq!(event.keys, Item::from([("pk".to_owned(), "ä".into())]));
        assert_eq!(event.old, Some(Item::from([("n".to_owned(), Value::from(1))])));
        assert_eq!((event.kind, event.new.as_ref()), (EventKind::Modify, None));
        assert_eq!((event.created_ms, event.is_expiry), (Some(7_250), false));
        let bytes = postcard::to_allocvec(&event).expect("bytes");
        assert_eq!(postcard::from_bytes::<DynamoEvent>(&bytes).expect("an event"), event);
        let json = serde_json::to_string(&event).expect("JSON");
        assert_eq!(serde_json::from_str::<DynamoEvent>(&json).expect("an event"), event);
    }

    /// What a stream says of the writes of the sink's mode `versioned`, and what that is to a reader.
    #[test]
    fn a_mark_of_a_deleted_item_is_no_item_and_what_puts_it_there_removes_one() {
        use EventKind::{Insert, Modify, Remove};
        let item = || Some(Item::from([("n".to_owned(), Value::from(1))]));
        let mark = || Some(Item::from([("gone".to_owned(), Value::from(true))]));
        let seen = |kind, old, new, is_expiry| {
            let mut event = DynamoEvent::of_wire(record(OperationType::Modify)).expect("whole");
            (event.kind, event.old, event.new, event.is_expiry) = (kind, old, new, is_expiry);
            let mut raw = event.clone();
            raw.see(&Deleted::by(""));
            assert_eq!(raw, event, "without a mark it is told as it is");
            event.see(&Deleted::by("gone"));
            (event.kind, event.old, event.new, event.is_expiry)
        };
        assert_eq!(seen(Insert, None, item(), false), (Insert, None, item(), false));
        assert_eq!(seen(Modify, item(), item(), false), (Modify, item(), item(), false));
        assert_eq!(seen(Remove, item(), None, true), (Remove, item(), None, true));
        // It was there, and is deleted; it was not; it is deleted again.
        assert_eq!(seen(Modify, item(), mark(), false), (Remove, item(), None, false));
        assert_eq!(seen(Insert, None, mark(), false), (Remove, None, None, false));
        assert_eq!(seen(Modify, mark(), mark(), false), (Remove, None, None, false));
        // It is made anew; the mark goes by its time to live.
        assert_eq!(seen(Modify, mark(), item(), false), (Insert, None, item(), false));
        assert_eq!(seen(Remove, mark(), None, true), (Remove, None, None, false));
    }

    #[test]
    fn what_the_time_to_live_removed_is_told_from_what_a_user_removed() {
        let by = |who: &str, kind| {
            let mut record = record(kind);
            record.user_identity = Some(Identity::builder().principal_id(who).r#type("Service").build());
            DynamoEvent::of_wire(record).expect("whole").is_expiry
        };
        assert!(by("dynamodb.amazonaws.com", OperationType::Remove));
        assert!(!by("dynamodb.amazonaws.com", OperationType::Modify));
        assert!(!by("somebody", OperationType::Remove));
    }

    #[test]
    fn a_record_that_lacks_what_it_must_have_is_an_error_and_not_a_gap() {
        let without = |what: fn(&mut StreamRecord)| {
            let mut change = change();
            what(&mut change);
            Record::builder().event_name(OperationType::Insert).dynamodb(change).build()
        };
        let no_number = without(|change| change.sequence_number = None);
        let no_key = without(|change| change.keys = None);
        let no_kind = Record::builder().dynamodb(change()).build();
        for (wrong, what) in [
            (no_number, "sequence number"),
            (no_key, "key"),
            (no_kind, "kind"),
            (record("TRUNCATE".into()), "TRUNCATE"),
            (Record::builder().event_name(OperationType::Insert).build(), "change"),
        ] {
            let error = DynamoEvent::of_wire(wrong).expect_err(what);
            assert!(error.kind() == ErrorKind::Data && error.to_string().contains(what), "{error}");
        }
    }
}
