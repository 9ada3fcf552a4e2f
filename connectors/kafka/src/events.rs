//! The thread that takes a client's events off as they come. It sleeps in librdkafka's queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidelock::{Error, ErrorKind, Result};

/// How long the thread sleeps at most before it looks whether it is still needed.
pub(crate) const EVENT_WAIT: Duration = Duration::from_millis(100);

/// Ends the thread when it is dropped. The thread then destroys the client that it holds: that may block, and there
/// nothing waits.
pub(crate) struct EventThread(Arc<AtomicBool>);

impl Drop for EventThread {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl EventThread {
    /// Calls `serve`, which waits for events up to [`EVENT_WAIT`], until the returned value is dropped. `action` is what
    /// an error says that could not be done.
    pub(crate) fn start(action: &'static str, mut serve: impl FnMut() + Send + 'static) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            while !stopped.load(Ordering::SeqCst) {
                serve();
            }
        };
        std::thread::Builder::new().name("kafka-events".into()).spawn(run).map_err(|error| {
            Error::new(ErrorKind::Other, action, "no thread can be started").because(error)
        })?;
        Ok(Self(stop))
    }
}
