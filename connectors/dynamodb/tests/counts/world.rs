//! What one test has: files, a job that counts what is in them, a server that may be killed, and a proxy before it.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tidelock_dynamodb::{DynamoSinkConfig, Item, Mode, Value};
use tidelock_processes::{DynamoServer, Evidence, Pace, Process, itself};
use tidelock_testkit::HttpFaults;

use crate::common::{self, NewTable};
use crate::given::{FILES, Given, Seen, difference, expected};
use crate::job::Task;

/// How many lines of each file a process has as its share, before it is killed.
pub(crate) const LINES_OF_A_KILL: u64 = 600;

/// A job, its input and its table.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) server: DynamoServer,
    pub(crate) faults: HttpFaults,
    pub(crate) task: Task,
    lines: u64,
    starts: AtomicUsize,
}

impl World {
    /// Files of so many lines each, which two workers read.
    pub(crate) async fn new(interval_ms: u64, lines: u64) -> Self {
        let folder = TempDir::new().unwrap();
        let server = DynamoServer::on_disk(folder.path());
        let faults = HttpFaults::start(server.address()).await.unwrap();
        let table = NewTable::fresh().make(&common::client(server.address()).await).await;
        let mut sink = DynamoSinkConfig::new(common::config(faults.address()), table);
        sink.mode = Mode::Ledger;
        // Of what is lost soon, and not only after ten seconds.
        sink.dynamodb.call_timeout_ms = 2_000;
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
        Self { folder, server, faults, task, lines, starts: AtomicUsize::new(0) }
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
        // Credentials are no setting: the job finds them where AWS's own tools look.
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "s3cret");
        Process::start(&mut command, &self.path(&format!("start-{start}")))
    }

    /// What a reader sees.
    pub(crate) async fn seen(&self) -> Seen {
        let client = common::client(self.server.address()).await;
        let number = |value: &Value| match value {
            Value::N(number) => number.parse::<i64>().unwrap(),
            other => panic!("a number: {other:?}"),
        };
        let one = |item: Item| {
            let Value::S(key) = &item["pk"] else { panic!("a text: {item:?}") };
            let last = item.get("last").map(|last| u64::try_from(number(last)).unwrap());
            (key.clone(), (number(&item["count"]), last))
        };
        common::items(&client, &self.task.sink.table).await.into_iter().map(one).collect()
    }

    /// How many items the ledger has.
    pub(crate) async fn ledger_items(&self) -> usize {
        let client = common::client(self.server.address()).await;
        common::items(&client, &self.task.sink.ledger_table).await.len()
    }

    /// Lets the job end at full speed and without faults, and says what is wrong in the table then.
    pub(crate) async fn finish(&self) -> Vec<String> {
        self.faults.heal();
        let fast = Task { pace: Pace::full(), ..self.task.clone() };
        self.start_as(&fast).ended().await.assert_success();
        let mut wrong = difference(&self.seen().await, &expected(self.lines));
        // What comes when all is over.
        self.faults.deliver_late().await.unwrap();
        wrong.extend(difference(&self.seen().await, &expected(self.lines)));
        wrong
    }
}
