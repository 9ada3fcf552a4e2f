//! The job: what it restores, how it runs, how it ends.

use std::time::Duration;

use tidelock::job::{JobConfig, Restored, StartFrom};
use tidelock::log::{RequestId, Snapshot};
use tidelock::{Error, ErrorKind, Result};
use tidelock_runtime::{Handle, Job, Restarts, Workers};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::answer;
use crate::flow;
use crate::options::{Options, RATE};
use crate::pace::Pace;
use crate::places::Places;
use crate::report::{Beginning, Reporter};

/// Errors that may go away by themselves get a few tries; a person is near, and starts it again.
const RESTARTS: usize = 3;

/// Signals that come so soon after the first are the same wish.
const ONE_WISH: Duration = Duration::from_secs(1);

/// Runs the job to the end of its data, or until a signal stops it.
///
/// # Errors
/// Whatever ended it.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let places = Places::of(options);
    let reporter = Reporter::new(options.report);
    let rate = options.rate.unwrap_or(if options.load.is_some() { 0 } else { RATE });
    let flow = flow::of(options, &places, Pace::new(rate, reporter.on_read())).await?;
    check_savepoint(options, &reporter).await?;
    let job = Job::open(config(options, &places)).await?;
    let restored = job.restored().cloned();
    let beginning = beginning(options, restored.as_ref()).await;
    reporter.begin(options, &places, restored.as_ref(), &beginning);
    if matches!(beginning, Beginning::New)
        && places.to_files()
        && !answer::result_files(places.out.as_ref())?.is_empty()
    {
        reporter.note(
            "warning",
            &format!(
                "warning: {} has rows already, of another run: remove them, or each is there twice",
                places.out
            ),
        );
    }

    let handle = job.handle();
    let restarts =
        Restarts { attempts_max: RESTARTS, wait_max: Duration::from_secs(1), ..Restarts::default() };
    let threads = Workers::threads(options.workers.get());
    let running = Box::pin(job.restarts(restarts).run(threads, flow));
    let ended = tokio::select! {
        ended = running => ended.map_err(|error| with_late(error, &handle))?,
        () = reporter.follow(&handle) => unreachable!("invariant: it follows for ever"),
        failed = obey_signals(options, &handle, &reporter) => return Err(failed),
    };
    if ended.was_finished {
        return reporter.nothing_left(&places, &ended);
    }
    reporter.end(&places, &handle, &ended, restored.as_ref())
}

/// Refuses a folder for the savepoint that is taken: now, and not when the job was stopped and cannot leave it there. A
/// savepoint that the job itself left there is no reason not to start again.
async fn check_savepoint(options: &Options, reporter: &Reporter) -> Result<()> {
    let Some(url) = &options.savepoint else { return Ok(()) };
    let Err(taken) = Snapshot::check_free(url).await else { return Ok(()) };
    match Snapshot::load(url).await {
        Ok(snapshot) if snapshot.id().job == options.job_id() => {
            let line = format!(
                "warning: {url} has a savepoint of this job already: the next one needs another folder"
            );
            reporter.note("warning", &line);
            Ok(())
        }
        _ => Err(taken),
    }
}

fn config(options: &Options, places: &Places) -> JobConfig {
    let mut config = JobConfig::new(options.job_id(), &places.checkpoints);
    config.settings.interval = options.interval;
    if let Some(url) = &options.from_savepoint {
        let request = options.request.clone().map(RequestId);
        config.start_from = StartFrom::Snapshot { url: url.clone(), request };
    }
    config
}

/// Adds how many flights came too late, where some did.
fn with_late(error: Error, handle: &Handle) -> Error {
    match handle.records_late().values().sum::<u64>() {
        0 => error,
        late => error.with("late_flights_so_far", late),
    }
}

/// What a person should know of where the run begins.
async fn beginning(options: &Options, restored: Option<&Restored>) -> Beginning {
    let Some(restored) = restored else { return Beginning::New };
    let Some(url) = &options.from_savepoint else { return Beginning::Newest };
    // A savepoint may be gone where its request was obeyed before.
    match Snapshot::load(url).await {
        Ok(snapshot) if snapshot.id() != restored.id => Beginning::NewestAgain,
        Ok(_) if restored.id.job == options.job_id() => Beginning::Rollback,
        Ok(_) => Beginning::Fork,
        Err(_) => Beginning::NewestAgain,
    }
}

/// Stops the job, or takes a savepoint, when a signal says so. Returns only with an error.
async fn obey_signals(options: &Options, handle: &Handle, reporter: &Reporter) -> Error {
    match obey(options, handle, reporter).await {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

async fn obey(options: &Options, handle: &Handle, reporter: &Reporter) -> Result<std::convert::Infallible> {
    let mut interrupted = listen(SignalKind::interrupt())?;
    let mut terminated = listen(SignalKind::terminate())?;
    let mut asked = listen(SignalKind::user_defined1())?;
    let mut savepoint = options.savepoint.as_deref();
    let mut stopping: Option<Instant> = None;
    loop {
        let stop = tokio::select! {
            _ = interrupted.recv() => true,
            _ = terminated.recv() => true,
            _ = asked.recv() => false,
        };
        match (stop, savepoint) {
            // A shell and GNU `timeout` signal a process and its group, one right after the other.
            (true, _) if stopping.is_some_and(|since| since.elapsed() < ONE_WISH) => {}
            (true, _) if stopping.is_some() => {
                reporter.note("cancel", "asked again: ending at once");
                handle.cancel().await?;
            }
            (true, url) => {
                stopping = Some(Instant::now());
                reporter.note("stop", "stopping with a checkpoint; ask again to end at once");
                handle.stop(url).await?;
            }
            (false, None) => {
                reporter.note("savepoint", "no savepoint: --savepoint does not say where, or it is taken")
            }
            (false, Some(url)) => {
                let taken = handle.savepoint(url).await?;
                reporter.note("savepoint", &format!("savepoint of {taken} in {url}"));
                savepoint = None;
            }
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| Error::new(ErrorKind::Other, "listen to signals", error.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn every_option_has_a_default_and_the_request_reaches_the_job() {
        let options = Options::parse_from(["flights"]);
        let places = Places::of(&options);
        let plain = config(&options, &places);
        assert_eq!(plain.settings.interval, Duration::from_millis(10));
        assert_eq!(plain.start_from, StartFrom::Newest);
        assert_eq!(plain.checkpoints, "target/flights/checkpoints");
        let options = Options::parse_from(["flights", "--from-savepoint", "s", "--request", "again"]);
        let StartFrom::Snapshot { url, request } = config(&options, &places).start_from else { panic!() };
        assert_eq!((url.as_str(), request), ("s", Some(RequestId("again".into()))));
        let crash = Options::parse_from(["flights", "--crash", "3"]);
        assert_eq!(Places::of(&crash).out, "target/flights/crash/rows");
    }
}
