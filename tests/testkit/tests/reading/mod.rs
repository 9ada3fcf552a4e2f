//! A job that reads ten records and writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelock::coordinator::{Control, Ended};
use tidelock::job::{Job, JobConfig};
use tidelock::log::Log;
use tidelock::{Result, Uid};
use tidelock_testkit::doubles::{Feed, MemorySource};
use tidelock_testkit::host::{Pipeline, start};
use tidelock_testkit::oracle::Input;

/// Runs it on a log until it ends, and its user is done. `user` has it in hand once a checkpoint is durable.
pub(crate) async fn run<T>(
    config: JobConfig,
    log: Log,
    user: impl AsyncFnOnce(Control) -> T,
) -> Result<(Result<Ended>, T)> {
    let job = Job::open_on(config, log).await?;
    let feed = Feed::new();
    feed.append("a", 0..10);
    let source = Arc::new(MemorySource::new(feed));
    let pipeline = Pipeline::<Input, ()> {
        sources: BTreeMap::from([(Uid::new("in").unwrap(), source as _)]),
        function: Arc::new(|_| Vec::new()),
        sinks: BTreeMap::new(),
        tasks: 1,
        log: None,
    };
    let (attempt, control) = start(job, pipeline);
    let user = async {
        control.checkpoint().await.unwrap();
        user(control).await
    };
    Ok(tokio::join!(attempt, user))
}
