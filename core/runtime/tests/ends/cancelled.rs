//! A cancel is how a job ends, whatever is still reported when it comes.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use tidelock::log::{Closed, Log};
use tidelock_runtime::{Handle, Job, Restarts};
use tidelock_testkit::doubles::{Feed, MemorySink, MemorySource, Target};
use tidelock_testkit::harness::Row;

use super::{PATIENCE, addresses, config, until, workers};

/// Short ones, so that their ends are reported all the time.
const SPLITS: u64 = 4_000;

/// Rounds of the race between what is reported and the end.
const ROUNDS: usize = 4;

async fn cancel(processes: usize, round: usize) {
    let (feed, target) = (Feed::new(), Target::new());
    for split in 0..SPLITS {
        let split = format!("s{split}");
        feed.append(&split, 0..1);
        feed.end(&split);
    }
    let log = Log::on(Arc::new(InMemory::new()), "log".into());
    let addresses = addresses(processes);
    let (mut handles, mut running) = (Vec::new(), Vec::new());
    for process in 0..processes {
        let mut config = config();
        config.settings.interval = Duration::from_millis(5);
        let job = Job::open_on(config, log.clone()).await.unwrap().restarts(Restarts::never());
        handles.push(job.handle());
        let source = Arc::new(MemorySource::new(feed.clone()));
        let sink = Arc::new(MemorySink::new(target.clone()));
        running.push(tokio::spawn(job.run(workers(process, &addresses), move |graph| {
            let rows = graph.source("in", &source).stream();
            rows.map(|input| Row::new(input.split, input.place)).rebalance().sink("out", &sink);
        })));
    }
    let read = |handle: &Handle| handle.records_read().values().sum::<u64>();
    until(async || handles.iter().map(read).sum::<u64>() >= 200).await;
    handles[round % processes].cancel().await.unwrap();
    for run in running {
        let ended = tokio::time::timeout(PATIENCE, run).await.expect("it ends").unwrap();
        assert_eq!(ended.unwrap().closed, Closed::Cancelled, "{processes} processes, round {round}");
    }
    assert_eq!(target.leftovers(), [], "{processes} processes, round {round}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_how_every_process_ends_whatever_is_still_reported() {
    for processes in [2, 1] {
        for round in 0..ROUNDS {
            cancel(processes, round).await;
        }
    }
}
