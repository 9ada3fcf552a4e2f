//! What stands at a URL: a log, one entry of it, or a savepoint.

use std::collections::BTreeMap;

use tidelock::log::{Entry, Log, Snapshot, split_position};
use tidelock::{Error, ErrorKind, Position};

use crate::failure::{Failure, Outcome};

/// What a URL means.
pub(crate) enum Place {
    /// A log, or one entry of it.
    Log(Log, Option<Position>),
    Savepoint(Box<Snapshot>),
}

/// The entry that a URL means, with the log or savepoint that holds its chunks.
pub(crate) struct Held {
    pub(crate) log: Log,
    pub(crate) entry: Entry,
}

/// Looks; nothing is created.
pub(crate) async fn open(url: &str) -> Outcome<Place> {
    let (folder, position) = split_position(url);
    let log = Log::look(folder).await?;
    if position.is_some() || !log.positions().await?.is_empty() {
        return Ok(Place::Log(log, position));
    }
    match Snapshot::load_from(log, None).await {
        Ok(snapshot) => Ok(Place::Savepoint(Box::new(snapshot))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Failure::unknown(format!("there is neither a log nor a savepoint at {folder}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The one entry that a URL means: of a log, the newest.
pub(crate) async fn entry(url: &str) -> Outcome<Held> {
    match open(url).await? {
        Place::Savepoint(snapshot) => {
            Ok(Held { log: snapshot.log().clone(), entry: snapshot.entry().clone() })
        }
        Place::Log(log, position) => {
            let entry = match position {
                Some(position) => log.read(position).await?,
                None => log.newest().await?,
            };
            match entry {
                Some(entry) => Ok(Held { log, entry }),
                None => Err(Failure::unknown(format!("{url}: the log has no such entry; `list` shows them"))),
            }
        }
    }
}

/// The settled snapshot that a URL means, whole: of a log, its newest entry.
pub(crate) async fn snapshot(url: &str) -> Outcome<Snapshot> {
    let snapshot = match open(url).await? {
        Place::Savepoint(snapshot) => *snapshot,
        Place::Log(log, position) => {
            let newest = log.positions().await?.last().copied();
            Snapshot::load_from(log, position.or(newest)).await?
        }
    };
    snapshot.check_whole().await?;
    Ok(snapshot)
}

/// Every entry of a log; the error where one is damaged.
pub(crate) async fn entries(log: &Log) -> Outcome<BTreeMap<Position, Result<Entry, Error>>> {
    let mut entries = BTreeMap::new();
    for position in log.positions().await? {
        match log.read(position).await {
            Ok(Some(entry)) => drop(entries.insert(position, Ok(entry))),
            // Pruned since it was listed.
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => drop(entries.insert(position, Err(error))),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(entries)
}
