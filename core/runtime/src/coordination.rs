//! The coordinator at work beside its host.

use std::time::Duration;

use futures::future::BoxFuture;
use tidelock::coordinator::{Ended, HostLink};
use tidelock::host::News;
use tidelock::{Error, ErrorKind, Result};
use tokio::sync::mpsc;

use crate::shared::Shared;

/// How long the coordinator may take to end after a failure, before it is dropped like in a crash.
const COORDINATOR_GRACE: Duration = Duration::from_secs(10);

/// A coordinator at work, and the host's ends of its channels.
pub(crate) type Coordination = (BoxFuture<'static, Result<Ended>>, HostLink);

/// Runs the coordinator to its end. It learns of a failure of the host, and ends by itself rather than
/// half-way in a request.
pub(crate) async fn watch_coordinator(
    shared: &Shared,
    mut coordinator: BoxFuture<'static, Result<Ended>>,
    news: &mpsc::Sender<News>,
) -> Result<Ended> {
    tokio::select! {
        ended = &mut coordinator => return ended,
        () = shared.stop.token().cancelled() => {}
    }
    let failed = Error::new(ErrorKind::Other, "run", "the host failed");
    let end = async {
        let _ = news.send(News::Failed { uid: None, error: failed }).await;
        coordinator.await
    };
    match tokio::time::timeout(COORDINATOR_GRACE, end).await {
        Ok(ended) => ended,
        Err(_) => Err(Error::new(ErrorKind::Other, "run", "the coordinator did not end in time")),
    }
}
