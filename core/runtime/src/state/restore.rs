//! What an operator on one worker finds in a snapshot.
//!
//! A part is the state of a range of key groups: what one worker had. With the same number of workers
//! a worker goes on with its part; with another number it picks its groups out of all parts, and the
//! first report replaces the old parts by new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use futures::future::try_join_all;
use tidelock::host::{Change, PartChange};
use tidelock::log::Log;
use tidelock::{Error, ErrorKind, Position, Result, Segment};

use super::keeper::{Kept, store};
use super::segment::merge;
use crate::batch::Millis;
use crate::key::{KEY_GROUPS, groups_of};

/// The part that holds the operator's watermark. All workers have the same one when an epoch closes.
pub(super) const WATERMARK: &str = "watermark";

#[derive(Debug)]
pub(crate) struct Restored {
    /// Everything in the worker's groups, each key once.
    pub(crate) entries: Option<Bytes>,
    pub(crate) watermark: Option<Millis>,
    /// The segments that the worker's part consists of.
    pub(super) kept: Vec<Kept>,
    /// What the first report must change before anything else.
    pub(super) first: Vec<PartChange>,
}

/// The name of the part that holds these groups.
pub(super) fn part_name(groups: &Range<u16>) -> String {
    format!("{}-{}/{KEY_GROUPS}", groups.start, groups.end.saturating_sub(1))
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
    let mut restored = Restored { entries: None, watermark: None, kept: Vec::new(), first: Vec::new() };
    let mut segments = Vec::new();
    for (name, stored) in parts {
        if name == WATERMARK {
            restored.watermark = Some(read_watermark(log, stored).await?);
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
    if worker == 0 {
        let current: BTreeSet<String> =
            (0..workers).map(|worker| part_name(&groups_of(worker, workers))).collect();
        let old = parts.keys().filter(|name| *name != WATERMARK && !current.contains(*name));
        restored.first.extend(old.map(|name| PartChange { part: name.clone(), change: Change::Remove }));
    }
    Ok(restored)
}

async fn read_watermark(log: &Log, stored: &[Segment]) -> Result<Millis> {
    let damaged = || Error::new(ErrorKind::Corrupt, "restore", "the watermark of an operator is damaged");
    let segment = stored.last().ok_or_else(damaged)?;
    let bytes = log.read_segment(segment).await?;
    serde_json::from_slice(&bytes).map_err(|error| damaged().because(error))
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
