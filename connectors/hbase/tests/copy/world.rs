//! What one test has: files, a job that copies them, and a table of HBase.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tidelock_containers::{CellKind, FamilyOptions, HbaseServer};
use tidelock_hbase::{Deletes, HbaseConfig, HbaseSinkConfig, Mode};
use tidelock_processes::{Evidence, Pace, Process, itself};

use crate::given::{FILES, Given, Seen, difference, expected};
use crate::job::Task;

/// How many lines of each file a process has as its share, before it is killed.
pub(crate) const LINES_OF_A_KILL: u64 = 600;

/// A job, its input and its table.
pub(crate) struct World {
    folder: TempDir,
    server: &'static HbaseServer,
    pub(crate) task: Task,
    lines: u64,
    starts: AtomicUsize,
}

impl World {
    /// Files of so many lines each, which two workers copy.
    pub(crate) async fn new(server: &'static HbaseServer, mode: Mode, interval_ms: u64, lines: u64) -> Self {
        let family = |name: &str| FamilyOptions::new(name).with_deleted_cells_kept();
        let table = server.fresh_table(&[family("f"), family("g")]).await.unwrap();
        let mut sink = HbaseSinkConfig::new(HbaseConfig::new([server.gateway()]), table);
        (sink.mode, sink.deletes) = (mode, Deletes::Markers);
        let folder = TempDir::new().unwrap();
        let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let task = Task {
            input: text("in"),
            checkpoints: text("checkpoints"),
            interval_ms,
            workers: 2,
            pace: Pace::new(Duration::from_millis(4), LINES_OF_A_KILL),
            sink,
            defect: None,
        };
        std::fs::create_dir(&task.input).unwrap();
        for file in 0..FILES {
            let path = folder.path().join(format!("in/{file}.jsonl"));
            let mut out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
            for id in 0..lines {
                writeln!(out, "{}", serde_json::to_string(&Given { file, id }).unwrap()).unwrap();
            }
        }
        Self { folder, server, task, lines, starts: AtomicUsize::new(0) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn log(&self) -> Evidence {
        Evidence::of(&self.path("checkpoints")).await
    }

    /// Starts the job.
    pub(crate) fn start(&self) -> Process {
        self.start_as(&self.task)
    }

    pub(crate) fn start_as(&self, task: &Task) -> Process {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        Process::start(&mut itself("job::copying", task), &self.path(&format!("start-{start}")))
    }

    /// What a reader sees, of each cell the newest.
    pub(crate) async fn seen(&self) -> Seen {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut seen = Seen::new();
        for cell in self.server.cells(&self.task.sink.table).await.unwrap() {
            assert_eq!(cell.kind, CellKind::Put);
            let column = format!("{}:{}", cell.family, text(&cell.qualifier));
            seen.entry((text(&cell.row), column)).or_insert_with(|| text(&cell.value));
        }
        seen
    }

    /// Lets the job end at full speed, and says what is wrong in the table then, before and after a major compaction.
    pub(crate) async fn finish(&self) -> Vec<String> {
        let fast = Task { pace: Pace::full(), ..self.task.clone() };
        self.start_as(&fast).ended().await.assert_success();
        let expected = expected(self.lines);
        let mut wrong = difference(&self.seen().await, &expected);
        let table = &self.task.sink.table;
        self.server.flush(table).await.unwrap();
        self.server.major_compact(table).await.unwrap();
        wrong.extend(difference(&self.seen().await, &expected));
        wrong
    }
}
