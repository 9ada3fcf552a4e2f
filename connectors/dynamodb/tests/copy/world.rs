//! What one test has: files, a job that copies them, and a table.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tidelock_dynamodb::{DynamoSinkConfig, Mode};
use tidelock_processes::{DynamoServer, Evidence, Pace, Process, itself};

use crate::common::{self, NewTable};
use crate::given::{FILES, Given, Seen, difference, expected, seen_of};
use crate::job::Task;

/// How many lines of each file a process has as its share, before it is killed.
pub(crate) const LINES_OF_A_KILL: u64 = 300;

/// A job, its input and its table.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) server: DynamoServer,
    pub(crate) task: Task,
    lines: u64,
    starts: AtomicUsize,
}

impl World {
    /// Files of so many lines each, which two workers copy to a table on a server of their own.
    pub(crate) async fn new(mode: Mode, interval_ms: u64, lines: u64) -> Self {
        let folder = TempDir::new().unwrap();
        let server = DynamoServer::on_disk(folder.path());
        let client = common::client(server.address()).await;
        let table = NewTable::fresh().make(&client).await;
        let mut sink = DynamoSinkConfig::new(common::config(server.address()), table);
        sink.mode = mode;
        let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let task = Task {
            input: text("in"),
            checkpoints: text("checkpoints"),
            interval_ms,
            workers: 2,
            pace: Pace::new(Duration::from_millis(4), LINES_OF_A_KILL),
            sink,
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
        let mut command = itself("job::copying", task);
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "s3cret");
        Process::start(&mut command, &self.path(&format!("start-{start}")))
    }

    /// What a reader sees, who leaves out what was deleted.
    pub(crate) async fn seen(&self) -> Seen {
        let client = common::client(self.server.address()).await;
        let mut items = common::items(&client, &self.task.sink.table).await;
        items.retain(|item| !item.contains_key("tidelock_deleted"));
        let with_key = |mut item: tidelock_dynamodb::Item| {
            item.remove("tidelock_version");
            (item.remove("pk").unwrap(), item)
        };
        seen_of(items.into_iter().map(with_key))
    }

    /// What is wrong in the table when all is copied.
    pub(crate) async fn wrong(&self) -> Vec<String> {
        difference(&self.seen().await, &expected(self.task.sink.mode, self.lines))
    }

    /// Lets the job end at full speed, and says what is wrong in the table then.
    pub(crate) async fn finish(&self) -> Vec<String> {
        let fast = Task { pace: Pace::full(), ..self.task.clone() };
        self.start_as(&fast).ended().await.assert_success();
        self.wrong().await
    }
}
