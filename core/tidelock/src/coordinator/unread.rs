//! What a job whose bounded input ended before does not read when it is started again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::log::Log;
use crate::restore::read_source;
use crate::retry::in_time;
use crate::{Known, Result, SourceControl, SplitId, Uid};

/// How long a source may look: somebody waits for a job that has nothing to do.
const DISCOVER_MAX: Duration = Duration::from_secs(10);

/// The splits that came since, by source. A source that cannot be asked is passed over with a warning:
/// the job has nothing to do either way.
pub(super) async fn unread(
    log: &Log,
    sources: &BTreeMap<Uid, Arc<dyn SourceControl>>,
) -> BTreeMap<Uid, Vec<SplitId>> {
    let mut unread = BTreeMap::new();
    for (uid, source) in sources {
        match came_since(log, uid, source).await {
            Ok(came) if came.is_empty() => {}
            Ok(came) => drop(unread.insert(uid.clone(), came)),
            Err(error) => tracing::warn!(%uid, %error, "whether input came since cannot be found out"),
        }
    }
    unread
}

async fn came_since(log: &Log, uid: &Uid, source: &Arc<dyn SourceControl>) -> Result<Vec<SplitId>> {
    let state = log.newest().await?.and_then(|newest| newest.state).unwrap_or_default();
    let segments = state.sources.get(uid).map(Vec::as_slice).unwrap_or_default();
    let (finished, active): (Vec<_>, Vec<_>) =
        read_source(log, segments).await?.splits.into_values().partition(|split| split.finished);
    let known = Known {
        active: active.into_iter().map(|split| split.split).collect(),
        finished: finished.iter().map(|split| split.id.clone()).collect(),
        ended: finished.into_iter().map(|split| split.split).collect(),
        first_run: false,
    };
    let found = in_time("discover", DISCOVER_MAX, source.discover(known)).await?;
    Ok(found.new.into_iter().map(|split| split.id).collect())
}
