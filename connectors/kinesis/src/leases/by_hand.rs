//! Leases from the log of a job that was stopped: the way back to KCL.

use std::collections::BTreeSet;

use tidelock::log::{Entry, EntryKind, Log};
use tidelock::restore::read_source;
use tidelock::{Error, ErrorKind, Result, Uid};

use super::config::LeaseExport;
use super::export::{Export, Written};
use super::progress::all_of;
use crate::source::KinesisShard;

const EXPORT: &str = "export positions as leases";

/// Writes where a source ended, as the newest entry of its job's log says, as leases that KCL goes on from. What the leases say is what was processed: neither less
/// nor more.
///
/// # Errors
/// [`ErrorKind::Conflict`] where the job was not stopped, unless that is forced: what it has prepared and not committed is in no output, and KCL would not read it
/// again. [`ErrorKind::NotFound`] where the log is none, or has no such source.
pub async fn export_leases(log: &Log, source: &Uid, to: LeaseExport, force: bool) -> Result<Written> {
    let shards = shards(log, source, force).await?;
    let streams: BTreeSet<&String> = shards.iter().map(|shard| &shard.stream).collect();
    let streams: Vec<String> = streams.into_iter().cloned().collect();
    let export = Export::open(to, &streams).await?;
    export.write(all_of(&shards, streams.len() > 1)?).await
}

/// The shards of the source, with how far each was read.
async fn shards(log: &Log, source: &Uid, force: bool) -> Result<Vec<KinesisShard>> {
    let of_log = |kind, why: &str| Error::new(kind, EXPORT, why).with("log", log.place());
    let newest = log.newest().await?;
    let entry = newest.ok_or_else(|| of_log(ErrorKind::NotFound, "there is no log of a job"))?;
    if !force && !is_stopped(&entry) {
        let why = "the job was not stopped: it runs, or it died, and what it prepared may wait for its commit. Start it, stop it, and export then";
        return Err(of_log(ErrorKind::Conflict, why));
    }
    let state = entry.state.ok_or_else(|| {
        of_log(ErrorKind::NotFound, "the newest entry has no positions: the job has not read anything yet")
    })?;
    let segments = state.sources.get(source).ok_or_else(|| {
        let sources: Vec<&str> = state.sources.keys().map(Uid::as_str).collect();
        let why = "the job has no source of this uid";
        of_log(ErrorKind::NotFound, why).with("uid", source).with("sources", sources.join(", "))
    })?;
    let splits = read_source(log, segments).await?.splits.into_values();
    let shards = splits.map(|split| split.split.decode::<KinesisShard>());
    shards.collect::<Result<_>>().map_err(|error| {
        let why = "the source is none of Kinesis, or of a newer build";
        of_log(ErrorKind::Config, why).with("uid", source).because(error)
    })
}

/// Whether the job has ended, and everything up to its positions is committed.
fn is_stopped(entry: &Entry) -> bool {
    let is_settled = entry.state.as_ref().is_some_and(|state| state.is_settled());
    matches!(entry.kind, EntryKind::Closed(_)) && is_settled
}
