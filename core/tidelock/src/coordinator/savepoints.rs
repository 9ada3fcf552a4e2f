//! After the closed entry: the savepoints that users asked for with a stop.
//!
//! They are written side by side, to stores that may be slow or never answer, while somebody waits. So users are heard
//! meanwhile: one more stop may bring one more folder, and a cancel ends the waiting. The job stays ended whatever
//! becomes of it, and nothing is lost: a savepoint is a copy of the last entry, which stands. But an attempt never ends
//! well without a savepoint that was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::perform::export;
use super::run::Running;
use crate::log::Entry;
use crate::{Error, ErrorKind, Result};

const SAVEPOINT_MISSING: &str = "the job has ended and everything in its log is committed; only the savepoint was not \
     written: do not start the job again for it, but copy its last entry with `tidelock snapshots copy LOG#POSITION \
     FOLDER`";

const NOT_WAITED_FOR: &str = "the job was told to end at once, and the savepoint was not waited for; what stands in its \
     folder is no savepoint while `snapshot.json` is missing there";

impl Running {
    /// Writes every savepoint that was asked for, also of those who ask while it does, until somebody cancels.
    pub(super) async fn write_savepoints(&mut self, last: &Arc<Entry>) -> Result<()> {
        let (mut begun, mut written) = (BTreeSet::new(), BTreeSet::new());
        let mut missing = BTreeMap::new();
        let mut under_way = FuturesUnordered::new();
        while !self.farewell.at_once {
            for url in self.farewell.savepoints.iter().filter(|url| begun.insert(String::clone(url))) {
                let (log, entry, url) = (self.log.clone(), Arc::clone(last), url.clone());
                under_way.push(async move { (export(&log, &entry, &url).await, url) });
            }
            tokio::select! {
                biased;
                Some(command) = self.commands.recv() => self.on_command(command),
                done = under_way.next() => match done {
                    Some((Ok(_), url)) => drop(written.insert(url)),
                    Some((Err(error), url)) => drop(missing.insert(url, error)),
                    None => break,
                },
            }
        }
        for url in self.farewell.savepoints.difference(&written) {
            let not_waited_for = || Error::new(ErrorKind::Unavailable, "write a savepoint", NOT_WAITED_FOR);
            missing.entry(url.clone()).or_insert_with(not_waited_for);
        }
        let mut missing = missing.into_iter();
        let Some((url, error)) = missing.next() else { return Ok(()) };
        let error = self.only_not(SAVEPOINT_MISSING, last, error).with("savepoint", url);
        Err(missing.fold(error, |error, (url, _)| error.with("savepoint", url)))
    }
}
