//! A segment of a table, and how far it was read.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result, Retry, Split, SplitId, Versioned, from_json, unknown_version};

use crate::item::Item;
use crate::mark::Mark;

pub(super) const SCAN: &str = "scan a table";

/// One of the segments of a table: the items of it that come after the last one that was read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DynamoSegment {
    pub(super) table: String,
    /// What DynamoDB called it when it was cut: `None` where it said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) table_id: Option<String>,
    /// Which one it is, counted from 0, of how many.
    pub(super) segment: u32,
    pub(super) segments: u32,
    pub(super) place: Place,
}

/// Where in a segment reading goes on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// At its first item.
    Start,
    /// After the item with this key.
    After(Item),
    /// Nowhere: all of it was read.
    End,
}

impl DynamoSegment {
    pub(super) fn whole(table: &Mark, segment: u32, segments: u32) -> Self {
        let Mark { name, id } = table.clone();
        Self { table: name, table_id: id, segment, segments, place: Place::Start }
    }

    fn mark(&self) -> Mark {
        Mark { name: self.table.clone(), id: self.table_id.clone() }
    }

    /// Whether it can be read on from this table.
    ///
    /// # Errors
    /// Names the other table: a position says nothing about its items.
    pub(super) fn check(&self, table: &Mark) -> Result<()> {
        let was = self.mark();
        if !was.is(table) {
            let error = if was.name == table.name {
                let why = "the table was made anew or restored since the scan began: what comes after a key of the old one is no part of the new \
                           one. Give the source a new uid, and it reads the new one from its beginning";
                Error::new(ErrorKind::Conflict, SCAN, why).with_retry(Retry::Halt)
            } else {
                let why = "the position in the snapshot is of another table: give the source a new uid, or the old table";
                Error::new(ErrorKind::Config, SCAN, why)
            };
            return Err(error.with("was", was).with("is", table));
        }
        if self.segment >= self.segments {
            let why = "a position is in no segment that there is";
            return Err(Error::new(ErrorKind::Corrupt, SCAN, why).with("segment", self.segment));
        }
        Ok(())
    }
}

/// Without its key: it may be what nobody should read in a log.
impl fmt::Debug for DynamoSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::Start => "start",
            Place::After(_) => "begun",
            Place::End => "end",
        };
        f.debug_struct("DynamoSegment")
            .field("table", &self.table)
            .field("segment", &self.segment)
            .field("segments", &self.segments)
            .field("place", &place)
            .finish()
    }
}

impl Split for DynamoSegment {
    fn id(&self) -> SplitId {
        SplitId::new(format!("{:06}", self.segment))
    }
}

impl Versioned for DynamoSegment {
    const VERSION: u16 = 2;

    fn upgrade(version: u16, json: &str) -> Result<Self> {
        match version {
            // The first version knew a table by its name alone.
            1 => from_json(json),
            _ => Err(unknown_version::<Self>(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidelock::Stored;

    use super::*;
    use crate::value::Value;

    fn flights(id: Option<&str>) -> Mark {
        Mark { name: "flights".into(), id: id.map(str::to_owned) }
    }

    fn begun(table: &Mark) -> DynamoSegment {
        let key = [
            ("pk".to_owned(), Value::from("Zürich \"1\"")),
            ("sk".to_owned(), Value::B(Bytes::from_static(&[0, 255]))),
        ];
        DynamoSegment { place: Place::After(key.into()), ..DynamoSegment::whole(table, 3, 16) }
    }

    fn segments(table: &Mark) -> [DynamoSegment; 3] {
        let end = DynamoSegment { place: Place::End, ..DynamoSegment::whole(table, 15, 16) };
        [DynamoSegment::whole(table, 0, 1), begun(table), end]
    }

    #[test]
    fn the_stored_form_is_the_one_that_was_released() {
        let golden = include_str!("../../../tests/golden/segments_v2.json");
        let golden: Vec<Stored> = serde_json::from_str(golden).expect("a golden file");
        let mut all = segments(&flights(Some("0c5a7e4e-1f0b-4b52-9a3e-8b5d1f2a6c70")));
        // Of a server that gives no ids.
        all[2].table_id = None;
        assert_eq!(golden.len(), all.len());
        for (golden, segment) in golden.iter().zip(all) {
            assert_eq!(golden.decode::<DynamoSegment>().expect("it loads"), segment);
            assert_eq!(Stored::encode(&segment).expect("stored"), *golden);
        }
    }

    #[test]
    fn a_position_of_the_first_version_is_of_a_table_of_that_name() {
        let golden = include_str!("../../../tests/golden/segments_v1.json");
        let golden: Vec<Stored> = serde_json::from_str(golden).expect("a golden file");
        for (golden, segment) in golden.iter().zip(segments(&flights(None))) {
            assert_eq!(golden.decode::<DynamoSegment>().expect("it loads"), segment);
            segment.check(&flights(Some("a"))).expect("by its name");
        }
    }

    #[test]
    fn a_version_that_was_never_released_is_named() {
        let mut stored = Stored::encode(&begun(&flights(None))).expect("stored");
        stored.version = 3;
        let error = stored.decode::<DynamoSegment>().expect_err("a newer one");
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("version=3"), "{error}");
    }

    #[test]
    fn a_position_is_of_one_table_and_its_key_is_never_printed_by_chance() {
        let begun = begun(&flights(Some("a")));
        begun.check(&flights(Some("a"))).expect("its table");
        let arn = Mark { name: "arn:aws:dynamodb:eu-central-1:1:table/flights".into(), ..flights(Some("a")) };
        begun.check(&arn).expect("the same by another name");
        let planes = Mark { name: "planes".into(), id: Some("b".into()) };
        let error = begun.check(&planes).expect_err("another table");
        let said = error.to_string();
        assert!(error.kind() == ErrorKind::Config && said.contains("was=flights (a)"), "{said}");
        assert!(said.contains("is=planes (b)"), "{said}");
        let error = begun.check(&flights(Some("b"))).expect_err("another one of its name");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error}");
        let none = DynamoSegment::whole(&flights(None), 16, 16);
        assert_eq!(none.check(&flights(None)).expect_err("there is no such one").kind(), ErrorKind::Corrupt);
        assert!(!format!("{begun:?}").contains("rich"));
    }
}
