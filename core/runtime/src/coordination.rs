//! The coordinator at work beside its host.

use std::time::Duration;

use futures::future::BoxFuture;
use tidelock::coordinator::{Ended, HostLink};
use tidelock::host::News;
use tidelock::{Error, ErrorKind, Result};
use tokio::sync::mpsc;

use crate::stop::Stop;

/// How long the coordinator may take to end after a failure, before it is dropped like in a crash.
const COORDINATOR_GRACE: Duration = Duration::from_secs(10);

/// A coordinator at work, and the host's ends of its channels.
pub(crate) type Coordination = (BoxFuture<'static, Result<Ended>>, HostLink);

/// Runs the coordinator to its end. It learns of a failure of the host, and ends by itself rather than
/// half-way in a request.
///
/// Once it hears no news any more, it has decided how the job ends, and its closed entry may stand. Then it is waited for
/// whatever becomes of the host: it writes savepoints that somebody was promised, and bounds its own requests.
pub(crate) async fn watch_coordinator(
    stop: &Stop,
    mut coordinator: BoxFuture<'static, Result<Ended>>,
    news: &mpsc::Sender<News>,
) -> Result<Ended> {
    let late = async {
        stop.token().cancelled().await;
        let tell = async {
            let error = Error::new(ErrorKind::Other, "run", "the host failed");
            let _ = news.send(News::Failed { uid: None, error }).await;
            std::future::pending::<()>().await;
        };
        let _ = tokio::time::timeout(COORDINATOR_GRACE, tell).await;
    };
    let ended = tokio::select! {
        biased;
        // First: one that has ended hears no news either, and may have ended because the host failed.
        ended = &mut coordinator => ended,
        () = news.closed() => {
            stop.decide();
            coordinator.await
        }
        () = late => Err(Error::new(ErrorKind::Other, "run", "the coordinator did not end in time")),
    };
    if ended.is_ok() {
        stop.decide();
    }
    ended
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures::FutureExt;
    use tidelock::log::{Closed, SnapshotId};
    use tidelock::{Epoch, JobId, Position};

    use super::*;

    /// Longer than a coordinator that has decided nothing is waited for.
    const LONG: Duration = Duration::from_secs(60);

    fn ended() -> Ended {
        let snapshot = SnapshotId { job: JobId::new("job").unwrap(), position: Position(9), epoch: Epoch(4) };
        Ended { closed: Closed::Stopped, snapshot, was_finished: false, unread: BTreeMap::new() }
    }

    fn fail(stop: &Stop) {
        stop.fail(None, Error::new(ErrorKind::Unavailable, "read", "the broker is gone"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_coordinator_that_has_decided_the_end_is_waited_for_whenever_the_host_fails() {
        for fails_after in [Duration::ZERO, LONG / 60, LONG / 2] {
            let (news, mut heard) = mpsc::channel(1);
            let stop = Stop::new();
            let coordinator = async move {
                tokio::time::sleep(LONG / 120).await;
                heard.close();
                tokio::time::sleep(LONG).await;
                Ok(ended())
            };
            let failing = async {
                tokio::time::sleep(fails_after).await;
                fail(&stop);
            };
            let (result, ()) = tokio::join!(watch_coordinator(&stop, coordinator.boxed(), &news), failing);
            assert_eq!(result.unwrap(), ended());
            assert!(stop.failed_late() && stop.take_failure().is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_coordinator_that_has_decided_nothing_is_told_of_a_failure_and_not_waited_for_without_end() {
        let (news, mut heard) = mpsc::channel(1);
        let stop = Stop::new();
        fail(&stop);
        let error = watch_coordinator(&stop, std::future::pending().boxed(), &news).await.unwrap_err();
        assert!(error.to_string().contains("did not end in time"), "{error:?}");
        assert!(matches!(heard.recv().await, Some(News::Failed { .. })));
        assert!(!stop.failed_late() && stop.take_failure().is_some());
    }
}
