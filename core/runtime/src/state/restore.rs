//! What an operator on one worker finds in a snapshot.
//!
//! A part is the state of a range of key groups: what one worker had. With the same number of workers
//! a worker goes on with its part; with another number it picks its groups out of all parts, and the
//! first report replaces the old parts by new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use futures::future::try_join_all;
use serde_json::value::to_raw_value;
use tidelock::host::{Change, PartChange};
use tidelock::log::Log;
use tidelock::{Error, ErrorKind, Position, Result, Segment};

use super::floors::{Floors, Stretch};
use super::keeper::{Kept, store};
use super::segment::merge;
use crate::batch::Millis;
use crate::key::{KEY_GROUPS, groups_of};

/// The part that held one watermark for all groups, before each worker stored its own.
const ONE_WATERMARK: &str = "watermark";

/// What the name of a part begins with that holds the watermarks of some groups: their range follows.
const WATERMARKS: &str = "watermarks/";

#[derive(Debug)]
pub(crate) struct Restored {
    /// Everything in the worker's groups, each key once.
    pub(crate) entries: Option<Bytes>,
    /// How far each of the worker's groups was.
    pub(crate) floors: Floors,
    /// The segments that the worker's part consists of.
    pub(super) kept: Vec<Kept>,
    /// What the first report must change before anything else.
    pub(super) first: Vec<PartChange>,
}

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
fn parse_part(name: &str) -> Result<Range<u16>> {
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

/// Reads the state of a worker.
pub(crate) async fn restore(
    log: &Log,
    attempt: Position,
    parts: &BTreeMap<String, Vec<Segment>>,
    worker: u32,
    workers: u32,
) -> Result<Restored> {
    let groups = groups_of(worker, workers);
    let own = part_name(&groups);
    let floors = Floors::of(&groups);
    let mut restored = Restored { entries: None, floors, kept: Vec::new(), first: Vec::new() };
    let mut segments = Vec::new();
    for (name, stored) in parts {
        if let Some(stretches) = read_watermarks(log, name, stored).await? {
            restored.floors.raise(&stretches);
            continue;
        }
        let held = parse_part(name)?;
        if held.start < groups.end && groups.start < held.end {
            if parts.contains_key(&own) && *name != own {
                let error = Error::new(ErrorKind::Corrupt, "restore", "two parts hold the same key groups");
                return Err(error.with("part", name).with("other_part", own));
            }
            segments.extend(stored.iter().cloned());
        }
    }
    let bytes = try_join_all(segments.iter().map(|segment| log.read_segment(segment))).await?;
    let within = groups.clone();
    restored.entries = blocking(move || merge(&bytes, &within, false)).await?;
    if parts.contains_key(&own) {
        restored.kept = segments.into_iter().map(Kept::of).collect();
    } else if let Some(entries) = &restored.entries {
        let segment = store(log, attempt, entries.clone()).await;
        restored.first.push(PartChange { part: own, change: Change::Base(segment.clone()) });
        restored.kept = vec![Kept::of(segment)];
    }
    if !parts.contains_key(&watermarks_name(&groups)) && restored.floors.is_ahead(Millis::MIN) {
        restored.first.push(store_watermarks(&groups, &restored.floors)?);
    }
    if worker == 0 {
        let ranges = (0..workers).map(|worker| groups_of(worker, workers));
        let current: BTreeSet<String> =
            ranges.flat_map(|groups| [part_name(&groups), watermarks_name(&groups)]).collect();
        let old = parts.keys().filter(|name| !current.contains(*name));
        restored.first.extend(old.map(|name| PartChange { part: name.clone(), change: Change::Remove }));
    }
    Ok(restored)
}

/// What a part says about watermarks; `None` where it holds something else.
async fn read_watermarks(log: &Log, name: &str, stored: &[Segment]) -> Result<Option<Vec<Stretch>>> {
    let damaged = || {
        let error = Error::new(ErrorKind::Corrupt, "restore", "the watermark of an operator is damaged");
        error.with("part", name)
    };
    let groups = name.strip_prefix(WATERMARKS).map(parse_part).transpose()?;
    if groups.is_none() && name != ONE_WATERMARK {
        return Ok(None);
    }
    let segment = stored.last().ok_or_else(damaged)?;
    let bytes = log.read_segment(segment).await?;
    let read = match groups {
        Some(_) => serde_json::from_slice(&bytes),
        None => serde_json::from_slice(&bytes).map(|one| vec![Stretch::of(0..KEY_GROUPS, one)]),
    };
    read.map(Some).map_err(|error| damaged().because(error))
}

/// Runs what takes long off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(Error::new(ErrorKind::Bug, "merge state", "merging keyed state panicked").because(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_again_by_its_name() {
        for workers in [1, 2, 3, 7, 128] {
            for worker in 0..workers {
                let groups = groups_of(worker, workers);
                assert_eq!(parse_part(&part_name(&groups)).unwrap(), groups);
            }
        }
        assert!(parse_part("0-63/64").unwrap_err().to_string().contains("another number of key groups"));
        assert!(parse_part("0-128/128").is_err());
        assert!(parse_part("something").unwrap_err().to_string().contains("part=something"));
    }
}
