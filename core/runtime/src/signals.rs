//! Signals of the operating system that stop a job.

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tidelock::{Error, ErrorKind, Result};
use tokio::time::Instant;

use crate::handle::Handle;

/// What comes so soon after the first signal is the same wish: a shell, GNU `timeout` and the runtimes of
/// containers signal a process and its group, one right after the other.
const ONE_WISH: Duration = Duration::from_secs(1);

/// How long a job that is cancelled may take to end before the process does without it.
const CANCEL_MAX: Duration = Duration::from_secs(10);

/// Listens to what asks a process to end.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(crate) fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| failed().because(error));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }

    /// One item for each signal; it never ends.
    pub(crate) fn each(self) -> impl Stream<Item = ()> {
        stream::unfold(self, async |mut signals| {
            signals.next().await;
            Some(((), signals))
        })
    }
}

/// Stops the job at the first signal, with a checkpoint; at once at the next one. Returns only where the job
/// does not end then.
pub(crate) async fn obey(signals: impl Stream<Item = ()>, handle: &Handle) -> Error {
    let mut signals = pin!(signals);
    signals.next().await;
    let first = Instant::now();
    // A warning, because whoever pressed Ctrl-C must see that it was heard, and many see no more than warnings.
    tracing::warn!("a signal: stopping with a checkpoint; another one ends the job at once");
    let stop = async {
        // It fails only where the job ends by itself.
        let _ = handle.stop(None).await;
        std::future::pending::<()>().await;
    };
    let again = async {
        signals.next().await;
        while first.elapsed() < ONE_WISH {
            signals.next().await;
        }
    };
    tokio::select! {
        () = stop => {}
        () = again => {}
    }
    tracing::warn!(
        within = ?CANCEL_MAX,
        "another signal: ending at once; what is not in a checkpoint is read again by the next start"
    );
    let cancel = async {
        let _ = handle.cancel().await;
        std::future::pending::<()>().await;
    };
    let _ = tokio::time::timeout(CANCEL_MAX, cancel).await;
    let why =
        "the job was told to end at once and did not: it ends as in a crash, and the next start recovers";
    Error::new(ErrorKind::Unavailable, "end at a signal", why)
}

#[cfg(unix)]
fn failed() -> Error {
    Error::new(ErrorKind::Other, "listen to signals", "the system refuses to tell of signals")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::counters::Counters;
    use crate::testing::Heard;

    /// A handle that obeys the signals that the sender stands for.
    fn obeying() -> (mpsc::Sender<()>, Handle) {
        let handle = Handle::new(Arc::new(Counters::default()));
        let (send, signals) = mpsc::channel(8);
        let signals =
            stream::unfold(signals, async |mut signals| signals.recv().await.map(|()| ((), signals)));
        let obeyed = handle.clone();
        tokio::spawn(async move { obey(signals, &obeyed).await });
        (send, handle)
    }

    #[tokio::test(start_paused = true)]
    async fn two_signals_within_milliseconds_are_one_wish() {
        let (signal, handle) = obeying();
        for _ in 0..3 {
            signal.send(()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(ONE_WISH * 10).await;
        assert!(handle.is_stopping(), "the repeats cancelled the job");
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_a_second_later_cancels() {
        let (heard, (signal, handle)) = (Heard::here(), obeying());
        signal.send(()).await.unwrap();
        tokio::time::sleep(ONE_WISH).await;
        assert!(handle.is_stopping());
        let told = heard.lines();
        assert!(told.len() == 1 && told[0].contains("stopping with a checkpoint"), "{told:?}");
        signal.send(()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!handle.is_stopping(), "nobody heard the second signal");
    }
}
