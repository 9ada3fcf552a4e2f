//! The parts of an operator's stored state: how they are called, and what is in those that hold watermarks.
//!
//! ```text
//!   "0-63/128"             base, delta, delta ...   the keys of groups 0 to 63, of 128: what one worker had
//!   "watermarks/0-63/128"  base                     how far each of these groups was
//! ```

use std::ops::Range;

use serde_json::value::to_raw_value;
use tidelock::host::{Change, PartChange};
use tidelock::{Error, ErrorKind, Result, Segment};

use super::floors::{Floors, Stretch};
use super::storage::Storage;
use crate::key::KEY_GROUPS;

/// The part that held one watermark for all groups, before each worker stored its own.
const ONE_WATERMARK: &str = "watermark";

/// What the name of a part begins with that holds the watermarks of some groups: their range follows.
const WATERMARKS: &str = "watermarks/";

/// The name of the part that holds these groups.
pub(super) fn part_name(groups: &Range<u16>) -> String {
    format!("{}-{}/{KEY_GROUPS}", groups.start, groups.end.saturating_sub(1))
}

/// The name of the part that holds the watermarks of these groups.
pub(super) fn watermarks_name(groups: &Range<u16>) -> String {
    format!("{WATERMARKS}{}", part_name(groups))
}

/// Replaces the stored watermarks of these groups.
pub(super) fn store_watermarks(groups: &Range<u16>, floors: &Floors) -> Result<PartChange> {
    let json = to_raw_value(&floors.stretches()).map_err(|error| {
        Error::new(ErrorKind::Bug, "store", "a watermark cannot be stored").because(error)
    })?;
    Ok(PartChange { part: watermarks_name(groups), change: Change::Base(Segment::Json(json)) })
}

/// The groups that a part holds.
pub(super) fn parse_part(name: &str) -> Result<Range<u16>> {
    let parsed = (|| {
        let (range, of) = name.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse::<u16>().ok()?, last.parse::<u16>().ok()?, of.parse::<u16>().ok()?))
    })();
    let Some((first, last, of)) = parsed else {
        let error = Error::new(ErrorKind::Corrupt, "restore", "a part of keyed state has an unknown name");
        return Err(error.with("part", name));
    };
    if of != KEY_GROUPS || last >= of {
        let why = "keyed state was stored with another number of key groups than this build has";
        let error = Error::new(ErrorKind::Corrupt, "restore", why);
        return Err(error.with("part", name).with("key_groups", KEY_GROUPS));
    }
    Ok(first..last + 1)
}

/// What a part says about watermarks; `None` where it holds something else.
pub(super) async fn read_watermarks(
    storage: &Storage,
    name: &str,
    stored: &[Segment],
) -> Result<Option<Vec<Stretch>>> {
    let damaged = || {
        let error = Error::new(ErrorKind::Corrupt, "restore", "the watermark of an operator is damaged");
        error.with("part", name)
    };
    let groups = name.strip_prefix(WATERMARKS).map(parse_part).transpose()?;
    if groups.is_none() && name != ONE_WATERMARK {
        return Ok(None);
    }
    let segment = stored.last().ok_or_else(damaged)?;
    let bytes = storage.read(segment).await?;
    let read = match groups {
        Some(_) => serde_json::from_slice(&bytes),
        None => serde_json::from_slice(&bytes).map(|one| vec![Stretch::of(0..KEY_GROUPS, one)]),
    };
    read.map(Some).map_err(|error| damaged().because(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seat::Seat;

    #[test]
    fn a_part_is_found_again_by_its_name() {
        for workers in [1, 2, 3, 7, 128] {
            for seat in Seat::all(workers) {
                let groups = seat.groups();
                assert_eq!(parse_part(&part_name(&groups)).unwrap(), groups);
            }
        }
        assert!(parse_part("0-63/64").unwrap_err().to_string().contains("another number of key groups"));
        assert!(parse_part("0-128/128").is_err());
        assert!(parse_part("something").unwrap_err().to_string().contains("part=something"));
    }
}
