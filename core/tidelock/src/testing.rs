//! What a test hears of the log. The runtime's tests use this file too.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};

/// The warnings that this thread logs as long as it lives.
pub(crate) struct Heard {
    text: Text,
    _guard: DefaultGuard,
    /// While there is but one subscriber, `tracing` asks the thread that meets a warning first whether anybody wants
    /// it, and remembers the answer for all. That may be the thread of another test, which has none.
    _other: Dispatch,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Heard {
    pub(crate) fn here() -> Self {
        let text = Text::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        Self { text, _guard: guard, _other: Dispatch::new(NoSubscriber::default()) }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.text.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}
