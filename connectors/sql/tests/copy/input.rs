//! The rows that are fed: numbered from one, in a table of a SQLite file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

/// What is fed at once, and how often: some rows for every epoch, and no more than a small machine with several jobs and servers
/// on it can carry.
const FED_AT_ONCE: u64 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// What stands in a row besides its number.
pub(crate) fn word(number: u64) -> String {
    format!("w{}", number.wrapping_mul(2_654_435_761) % 1_000_003)
}

/// Feeds the table until it is stopped.
#[derive(Debug)]
pub(crate) struct Input {
    path: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<u64>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// How many rows come at once.
    rows: AtomicU64,
}

impl Input {
    /// Begins with nothing.
    pub(crate) fn start(path: PathBuf) -> Self {
        let table = Connection::open(&path).unwrap();
        // Readers go on while it is written to, and nobody tries what happens when this machine loses power.
        table.pragma_update(None, "journal_mode", "WAL").unwrap();
        table.pragma_update(None, "synchronous", "OFF").unwrap();
        table
            .execute_batch("CREATE TABLE input (id INTEGER PRIMARY KEY AUTOINCREMENT, word TEXT NOT NULL)")
            .unwrap();
        let shared = Arc::new(Shared::default());
        shared.rows.store(FED_AT_ONCE, Ordering::SeqCst);
        let fed_with = Arc::clone(&shared);
        let thread = std::thread::spawn(move || feed(table, &fed_with));
        Self { path, shared, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    /// Stops, and returns how many rows there are.
    pub(crate) fn stop(mut self) -> u64 {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.take().and_then(|thread| thread.join().ok()).expect("everything is there")
    }

    /// Feeds so many rows a hundredth of a second from now on.
    pub(crate) fn at_once(&self, rows: u64) {
        self.shared.rows.store(rows, Ordering::SeqCst);
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

fn feed(mut table: Connection, shared: &Shared) -> u64 {
    table.busy_timeout(Duration::from_secs(60)).unwrap();
    let (mut fed, mut due) = (0_u64, tokio::time::Instant::now());
    while !shared.stop.load(Ordering::SeqCst) {
        let transaction = table.transaction().unwrap();
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO input (id, word) VALUES (?, ?)").unwrap();
            for _ in 0..shared.rows.load(Ordering::SeqCst) {
                fed += 1;
                insert.execute((fed.cast_signed(), word(fed))).unwrap();
            }
        }
        transaction.commit().unwrap();
        due += PAUSE;
        std::thread::sleep(due.saturating_duration_since(tokio::time::Instant::now()));
    }
    fed
}
