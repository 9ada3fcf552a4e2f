//! Signals of the operating system that stop a job.

use std::convert::Infallible;

use tidelock::{Error, ErrorKind, Result};

use crate::handle::Handle;

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

    /// Stops the job at the first signal, with a checkpoint; at once at the next one.
    pub(crate) async fn obey(mut self, handle: &Handle) -> Infallible {
        self.next().await;
        tracing::info!("a signal: stopping with a checkpoint; another one ends the job at once");
        let stop = async {
            // It fails only where the job ends by itself.
            let _ = handle.stop(None).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stop => {}
            () = self.next() => {}
        }
        let _ = handle.cancel().await;
        std::future::pending().await
    }
}

#[cfg(unix)]
fn failed() -> Error {
    Error::new(ErrorKind::Other, "listen to signals", "the system refuses to tell of signals")
}
