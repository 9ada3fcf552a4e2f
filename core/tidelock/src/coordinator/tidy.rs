//! After the end of a job: nothing that it had begun stays open in its targets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::control::Ended;
use crate::retry::{Bounds, retry};
use crate::{Attempt, Error, ErrorKind, Result, SinkControl, Uid};

/// How long a target may take. The job has ended, and whoever ended it waits.
const TIDY_TIMEOUT: Duration = Duration::from_secs(30);

/// Aborts what `attempt`, which ended so, had begun in the targets of `sinks`. For the host, once none of its writers
/// lives any more.
///
/// A job that is cancelled drops what it had not checkpointed. In a target with transactions that stays open, and
/// holds its readers up, until the next attempt recovers; but a job that is cancelled may have none. So what the
/// next one would do first is done here, in the name of the closed entry. Its position is above all attempts until
/// now and below all to come, and it lists nothing: whatever those began is a leftover (I6).
///
/// # Errors
/// The first sink's that failed or did not answer in time, when all of them were asked. The job has ended all the
/// same, and the next start aborts what is left.
pub async fn tidy(
    ended: &Ended,
    attempt: &Attempt,
    sinks: &BTreeMap<Uid, Arc<dyn SinkControl>>,
) -> Result<()> {
    if ended.was_finished {
        return Ok(());
    }
    let closed = &Attempt { number: ended.snapshot.position, ..attempt.clone() };
    let asked = sinks.iter().map(|(uid, control)| async move {
        let closed = closed.of_sink(uid);
        let recover = || control.recover(&closed, Vec::new());
        let bounds = Bounds { jitter_seed: closed.number.0, call_timeout: TIDY_TIMEOUT };
        let swept = tokio::time::timeout(TIDY_TIMEOUT, retry("sweep", bounds, recover)).await;
        let late = |_| Error::new(ErrorKind::Unavailable, "sweep", "the target did not answer in time");
        swept.map_err(late).and_then(|tried| tried.result).map_err(|error| error.with("uid", uid))
    });
    futures::future::join_all(asked).await.into_iter().collect()
}
