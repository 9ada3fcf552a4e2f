//! A range of row keys, and how far it was read.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result, Split, SplitId, Versioned, unknown_version};

use super::config::HbaseKeyRange;
use super::key;

/// Rows of a table whose keys are in a range: those after the last one that was read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HbaseSplit {
    pub(super) name: String,
    pub(super) table: String,
    pub(super) keys: HbaseKeyRange,
    /// The key of the last row that was read. `None`: nothing was.
    #[serde(default, with = "key::optional", skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Vec<u8>>,
}

impl HbaseSplit {
    /// The key from which reading goes on; `None` where no row can follow.
    pub(super) fn from(&self) -> Option<Vec<u8>> {
        let from = match &self.after {
            Some(row) => key::after(row, &self.table),
            None => self.keys.start.clone(),
        };
        self.keys.is_before_stop(&from).then_some(from)
    }

    /// Whether a row with this key was not read yet.
    pub(super) fn is_before(&self, row: &[u8]) -> bool {
        self.after.as_deref().is_none_or(|after| after < row)
    }

    /// Whether it can be read on from this table.
    ///
    /// # Errors
    /// Names the other table: a position says nothing about its rows.
    pub(super) fn check(&self, table: &str) -> Result<()> {
        if self.table != table {
            let why = "the position in the snapshot is of another table: give the source a new uid, or the old table";
            let error = Error::new(ErrorKind::Config, "read rows", why);
            return Err(error.with("was", &self.table).with("is", table));
        }
        if self.after.as_ref().is_some_and(|after| !self.keys.contains(after)) {
            let why = "a position is not in the range of its split";
            return Err(Error::new(ErrorKind::Corrupt, "read rows", why).with("split", &self.name));
        }
        Ok(())
    }
}

/// Without its keys: they may be what nobody should read in a log.
impl fmt::Debug for HbaseSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HbaseSplit")
            .field("name", &self.name)
            .field("table", &self.table)
            .field("is_begun", &self.after.is_some())
            .finish_non_exhaustive()
    }
}

impl Split for HbaseSplit {
    fn id(&self) -> SplitId {
        SplitId::new(&self.name)
    }
}

impl Versioned for HbaseSplit {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

#[cfg(test)]
mod tests {
    use tidelock::Stored;

    use super::*;

    fn begun() -> HbaseSplit {
        HbaseSplit {
            name: "000003".into(),
            table: "air:flights".into(),
            keys: HbaseKeyRange::new("EWR/", b"EWR\xff\\".to_vec()),
            after: Some(b"EWR/2013\0\x01\x7f\xff".to_vec()),
        }
    }

    fn whole() -> HbaseSplit {
        HbaseSplit { name: "000000".into(), table: "t".into(), keys: HbaseKeyRange::default(), after: None }
    }

    #[test]
    fn the_stored_form_is_the_one_that_was_released() {
        for (golden, split) in [
            (include_str!("../../tests/golden/split_v1_begun.json"), begun()),
            (include_str!("../../tests/golden/split_v1_whole.json"), whole()),
        ] {
            let golden: Stored = serde_json::from_str(golden).expect("a golden file");
            assert_eq!(golden.decode::<HbaseSplit>().expect("it loads"), split);
            assert_eq!(Stored::encode(&split).expect("stored"), golden);
        }
    }

    #[test]
    fn a_version_that_was_never_released_is_named() {
        let mut stored = Stored::encode(&whole()).expect("stored");
        stored.version = 2;
        let error = stored.decode::<HbaseSplit>().expect_err("a newer one");
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("version=2"), "{error}");
    }

    #[test]
    fn reading_goes_on_after_the_last_row_and_not_beyond_the_range() {
        assert_eq!(begun().from().as_deref(), Some(&b"EWR/2013\0\x01\x7f\xff\0"[..]));
        assert_eq!(whole().from().as_deref(), Some(&b""[..]));
        let last = HbaseSplit {
            after: Some(b"EWR\xff".to_vec()),
            keys: HbaseKeyRange::new("E", b"EWR\xff\0".to_vec()),
            ..begun()
        };
        assert_eq!(last.from(), None, "the next key is the first one of the next range");
    }

    #[test]
    fn a_position_is_of_one_table_and_in_its_range() {
        assert!(begun().check("air:flights").is_ok());
        let error = begun().check("flights").expect_err("another table").to_string();
        assert!(error.contains("was=air:flights") && error.contains("is=flights"), "{error}");
        for wrong in [&b"EWR"[..], b"EWR\xff\\", b"F"] {
            let wrong = HbaseSplit { after: Some(wrong.to_vec()), ..begun() };
            assert_eq!(wrong.check("air:flights").expect_err("elsewhere").kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn keys_are_never_printed_by_chance() {
        assert!(!format!("{:?}", begun()).contains("EWR"));
    }
}
