//! A whole job that looks rows up in HBase, and what happens to its gateways meanwhile. No attempt may fail: a job whose first attempt does
//! ends the test.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidelock::job::JobConfig;
use tidelock_containers::{FamilyOptions, Gateway, GatewayOptions, HbaseOptions, HbaseServer};
use tidelock_files::{FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat};
use tidelock_hbase::{HbaseConfig, HbaseLookup, HbaseLookupConfig, HbaseRow};
use tidelock_runtime::{Handle, Job, Lookups, Restarts, Workers};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// What a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(240);

const KEYS: i64 = 200;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Asked {
    id: i64,
    #[serde(default)]
    word: Option<String>,
}

/// A job with its folders, and a server with two gateways, whose table has a word for each even number.
struct World {
    server: HbaseServer,
    second: Gateway,
    table: String,
    folder: TempDir,
}

impl World {
    async fn start() -> Self {
        let server = HbaseServer::start(HbaseOptions::default()).await.expect("a server");
        let second = server.another_gateway(GatewayOptions::default()).await.expect("a gateway");
        let table = server.fresh_table(&[FamilyOptions::new("f")]).await.expect("a table");
        for id in (0..KEYS).step_by(2) {
            let (row, word) = (id.to_be_bytes(), format!("w{id}"));
            server.put(&table, &row, ("f", b"word"), word.as_bytes(), None).await.expect("put");
        }
        let folder = TempDir::new().expect("a folder");
        for name in ["in", "out", "log"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        Self { server, second, table, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a path").to_owned()
    }

    /// A file of records; it appears at once.
    fn feed(&self, name: &str, ids: impl Iterator<Item = i64>) {
        let lines: String = ids.map(|id| format!("{{\"id\":{id}}}\n")).collect();
        let hidden = self.path(&format!("in/.{name}"));
        std::fs::write(&hidden, lines).expect("written");
        std::fs::rename(hidden, self.path(&format!("in/{name}"))).expect("renamed");
    }

    /// Runs the job; its end is what it ended with. Nothing is kept, so that requests are under way all the time.
    async fn run(&self) -> (Handle, JoinHandle<()>) {
        let mut hbase = HbaseConfig::new([self.server.gateway(), self.second.address()]);
        hbase.connect_timeout_ms = 1_000;
        let mut words = HbaseLookupConfig::new(hbase, &self.table);
        words.columns = vec!["f:word".into()];
        let words = HbaseLookup::open(words, |id: &i64| id.to_be_bytes().to_vec()).await;
        let words = Arc::new(words.expect("opened"));
        let mut reading = FilesSourceConfig::new(self.path("in"), SourceFormat::JsonLines);
        reading.bounded = false;
        let source = Arc::new(FilesSource::<Asked>::new(reading).expect("a source"));
        let writing = FilesSinkConfig::new(self.path("out"), SinkFormat::JsonLines);
        let sink = Arc::new(FilesSink::<Asked>::new(writing).expect("a sink"));
        let mut config = JobConfig::new("enrich".parse().expect("a name"), self.path("log"));
        config.settings.interval = Duration::from_millis(20);
        config.discovery_interval = Duration::from_millis(20);
        let restarts = Restarts { attempts_max: 0, ..Restarts::default() };
        let job = Job::open(config).await.expect("a job").restarts(restarts);
        let handle = job.handle();
        let how = Lookups::ordered().cache_for(Duration::ZERO).keys_per_request_max(8).retry_for(PATIENCE);
        let running = tokio::spawn(async move {
            let ended = job.run(Workers::threads(1), move |graph| {
                let asked = graph.source("asked", &source).stream();
                let join = |asked: Asked, row: Option<&HbaseRow>| Asked {
                    word: row.and_then(|row| row.text("f:word")).map(str::to_owned),
                    ..asked
                };
                asked.lookup("words", &words, how, |asked| Some(asked.id), join).sink("rows", &sink);
            });
            ended.await.expect("no attempt fails");
        });
        (handle, running)
    }

    /// What a reader sees.
    fn visible(&self) -> Vec<Asked> {
        let mut rows = Vec::new();
        read(Path::new(&self.path("out")), &mut rows);
        rows.sort_unstable();
        rows
    }

    /// Waits until so many rows are visible.
    async fn sees(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let visible = self.visible().len();
            if visible >= count {
                return;
            }
            assert!(Instant::now() < deadline, "{visible} of {count} rows");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn read(folder: &Path, rows: &mut Vec<Asked>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            read(&path, rows);
            continue;
        }
        // One that was just renamed is read the next time.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        rows.extend(text.lines().map(|line| serde_json::from_str::<Asked>(line).expect("a row")));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_goes_on_where_its_gateways_and_its_server_are_killed_and_paused_under_lookups() {
    let world = World::start().await;
    let (handle, running) = world.run().await;
    let mut expected = Vec::new();
    let feed = |name: &str, expected: &mut Vec<Asked>| {
        let ids = || (0..10).flat_map(|_| 0..KEYS);
        world.feed(name, ids());
        expected.extend(ids().map(|id| Asked { id, word: (id % 2 == 0).then(|| format!("w{id}")) }));
    };
    feed("first.jsonl", &mut expected);
    world.sees(1).await;
    world.second.kill().await.expect("killed");
    feed("one-killed.jsonl", &mut expected);
    world.sees(expected.len()).await;
    feed("one-left.jsonl", &mut expected);
    world.server.kill_gateway().await.expect("killed");
    world.second.start().await.expect("started");
    world.sees(expected.len()).await;
    world.server.start_gateway().await.expect("started");

    feed("one-paused.jsonl", &mut expected);
    world.second.pause().await.expect("paused");
    world.sees(expected.len()).await;
    world.second.unpause().await.expect("goes on");

    feed("server-killed.jsonl", &mut expected);
    world.server.kill_server().await.expect("killed");
    feed("server-away.jsonl", &mut expected);
    world.server.start_server().await.expect("started");
    world.sees(expected.len()).await;
    handle.stop(None).await.expect("stopped");
    running.await.expect("ended");
    expected.sort_unstable();
    assert_eq!(world.visible(), expected);
}
