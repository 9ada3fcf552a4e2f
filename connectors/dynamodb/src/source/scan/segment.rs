//! A segment of a table, and how far it was read.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result, Split, SplitId, Versioned, unknown_version};

use crate::item::Item;

/// One of the segments of a table: the items of it that come after the last one that was read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DynamoSegment {
    pub(super) table: String,
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
    pub(super) fn whole(table: &str, segment: u32, segments: u32) -> Self {
        Self { table: table.to_owned(), segment, segments, place: Place::Start }
    }

    /// Whether it can be read on from this table.
    ///
    /// # Errors
    /// Names the other table: a position says nothing about its items.
    pub(super) fn check(&self, table: &str) -> Result<()> {
        if self.table != table {
            let why = "the position in the snapshot is of another table: give the source a new uid, or the old table";
            let error = Error::new(ErrorKind::Config, "scan a table", why);
            return Err(error.with("was", &self.table).with("is", table));
        }
        if self.segment >= self.segments {
            let why = "a position is in no segment that there is";
            return Err(Error::new(ErrorKind::Corrupt, "scan a table", why).with("segment", self.segment));
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
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidelock::Stored;

    use super::*;
    use crate::value::Value;

    fn begun() -> DynamoSegment {
        let key = [
            ("pk".to_owned(), Value::from("Zürich \"1\"")),
            ("sk".to_owned(), Value::B(Bytes::from_static(&[0, 255]))),
        ];
        DynamoSegment { place: Place::After(key.into()), ..DynamoSegment::whole("flights", 3, 16) }
    }

    #[test]
    fn the_stored_form_is_the_one_that_was_released() {
        let whole = DynamoSegment::whole("flights", 0, 1);
        let end = DynamoSegment { place: Place::End, ..DynamoSegment::whole("flights", 15, 16) };
        let golden = include_str!("../../../tests/golden/segments_v1.json");
        let golden: Vec<Stored> = serde_json::from_str(golden).expect("a golden file");
        let all = [whole, begun(), end];
        assert_eq!(golden.len(), all.len());
        for (golden, segment) in golden.iter().zip(all) {
            assert_eq!(golden.decode::<DynamoSegment>().expect("it loads"), segment);
            assert_eq!(Stored::encode(&segment).expect("stored"), *golden);
        }
    }

    #[test]
    fn a_version_that_was_never_released_is_named() {
        let mut stored = Stored::encode(&begun()).expect("stored");
        stored.version = 2;
        let error = stored.decode::<DynamoSegment>().expect_err("a newer one");
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("version=2"), "{error}");
    }

    #[test]
    fn a_position_is_of_one_table_and_its_key_is_never_printed_by_chance() {
        begun().check("flights").expect("its table");
        let error = begun().check("planes").expect_err("another table").to_string();
        assert!(error.contains("was=flights") && error.contains("is=planes"), "{error}");
        let none = DynamoSegment::whole("flights", 16, 16);
        assert_eq!(none.check("flights").expect_err("there is no such one").kind(), ErrorKind::Corrupt);
        assert!(!format!("{:?}", begun()).contains("rich"));
    }
}
