//! What one test has: files, a stream on a server, a job that puts and a job that reads.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tidelock_kinesis::{KinesisSinkConfig, KinesisStreamConfig, Mode};
use tidelock_processes::{Evidence, Pace, Process, itself};

use crate::common::{NewStream, config, shared};
use crate::job::{Given, Line, Part, Task};

/// How many files there are, each with keys of its own.
const FILES: u64 = 4;

/// How many lines of each file a process has as its share, before it is killed.
pub(crate) const LINES_OF_A_KILL: u64 = 150;

pub(crate) struct World {
    folder: TempDir,
    pub(crate) stream: NewStream,
    pub(crate) puts: Task,
    pub(crate) reads: Task,
    lines: u64,
    starts: AtomicUsize,
}

impl World {
    /// Files of so many lines each.
    pub(crate) async fn new(lines: u64, aggregates: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let stream = NewStream::make(shared(), 2).await;
        let mut sink = KinesisSinkConfig::new(config(shared()), &stream.name);
        (sink.mode, sink.aggregates, sink.request_records_max) = (Mode::Numbered, aggregates, 10);
        let mut source = KinesisStreamConfig::new(config(shared()), [&stream.name]);
        (source.batch_records, source.calls_per_second) = (20, 500);
        (source.idle_wait_ms, source.idle_wait_max_ms) = (5, 20);
        let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let task = |job: &str, part| Task {
            job: job.to_owned(),
            checkpoints: text(&format!("checkpoints-{job}")),
            interval_ms: 20,
            workers: 2,
            pace: Pace::new(Duration::from_millis(4), LINES_OF_A_KILL),
            part,
        };
        let puts = task("puts", Part::Puts { input: text("in"), sink: Box::new(sink) });
        // One worker: of two, one would overtake the other on the way of a key from one shard to the next.
        let reads = Task {
            workers: 1,
            ..task("reads", Part::Reads { source: Box::new(source), output: text("out") })
        };
        std::fs::create_dir(folder.path().join("in")).unwrap();
        for file in 0..FILES {
            let path = folder.path().join(format!("in/{file}.jsonl"));
            let mut out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
            for id in 0..lines {
                writeln!(out, "{}", serde_json::to_string(&Given { file, id }).unwrap()).unwrap();
            }
        }
        Self { folder, stream, puts, reads, lines, starts: AtomicUsize::new(0) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn log(task: &Task) -> Evidence {
        Evidence::of(Path::new(&task.checkpoints)).await
    }

    pub(crate) fn start(&self, task: &Task) -> Process {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let mut command = itself("job::running", task);
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "s3cret");
        Process::start(&mut command, &self.path(&format!("start-{start}")))
    }

    /// One shard is split, or two that are beside each other are merged.
    pub(crate) async fn change_shards(&self, random: &mut StdRng) {
        let open = self.stream.open_shards().await;
        if open.len() == 1 || (open.len() < 5 && random.random()) {
            self.stream.split(&open[random.random_range(0..open.len())]).await;
        } else {
            let at = random.random_range(0..open.len() - 1);
            self.stream.merge(&open[at], &open[at + 1]).await;
        }
    }

    fn visible(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        read(&self.path("out"), &mut lines);
        lines.sort_unstable();
        lines
    }

    /// Lets both jobs go at full speed until all is there, and says what is wrong then.
    pub(crate) async fn finish(&self) -> Vec<String> {
        let fast = |task: &Task| Task { pace: Pace::full(), ..task.clone() };
        self.start(&fast(&self.puts)).ended().await.assert_success();
        let count = usize::try_from(FILES * self.lines).unwrap();
        let mut reads = self.start(&fast(&self.reads));
        reads.wait_until("everything is read", async |_| self.visible().len() >= count).await;
        // What is too much comes, too.
        tokio::time::sleep(Duration::from_millis(300)).await;
        Self::log(&self.reads).await.wait_for_entry(&mut reads, 2).await;
        reads.stop().await.assert_success();
        self.wrong()
    }

    /// Every record once, and in the order of its key.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let given = (0..FILES).flat_map(|file| (0..self.lines).map(move |id| Given { file, id }.place()));
        let mut expected: Vec<Line> =
            given.map(|(key, number)| Line { key, number, in_order: true }).collect();
        expected.sort_unstable();
        let visible = self.visible();
        let mut wrong: Vec<String> = Vec::new();
        let disorder = visible.iter().filter(|line| !line.in_order);
        wrong.extend(disorder.map(|line| format!("out of order: {line:?}")));
        let missing = expected.iter().filter(|line| visible.binary_search(line).is_err());
        wrong.extend(missing.map(|line| format!("missing: {line:?}")));
        let doubled = visible.windows(2).filter(|two| two[0] == two[1]);
        wrong.extend(doubled.map(|two| format!("twice: {:?}", two[0])));
        wrong.truncate(20);
        wrong
    }
}

fn read(folder: &Path, lines: &mut Vec<Line>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            read(&path, lines);
            continue;
        }
        // One that was just renamed is read the next time.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        lines.extend(text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap()));
    }
}
