//! Whole jobs that look rows up in a database, and what happens to the database meanwhile. No attempt may fail: a job
//! whose first attempt does ends the test.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidelock::job::JobConfig;
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_files::{FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat};
use tidelock_runtime::{Handle, Job, LookupTables, Lookups, Restarts, Workers};
use tidelock_sql::{SqlConfig, SqlLookup, SqlLookupConfig};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// What a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(120);

const KEYS: i64 = 2_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Asked {
    id: i64,
    #[serde(default)]
    word: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Word {
    word: String,
}

/// A job with its folders and its database, whose table has a word for each even number.
struct World {
    server: SqlServer,
    database: String,
    folder: TempDir,
}

enum How {
    Keys(Lookups),
    Whole(LookupTables),
}

impl World {
    async fn start(database: Database) -> Self {
        let server = SqlServer::start(SqlOptions::new(database)).await.expect("a server");
        let database = server.fresh_database().await.expect("a database");
        let rows: Vec<String> = (0..KEYS).step_by(2).map(|id| format!("({id}, 'w{id}')")).collect();
        let statements = format!(
            "CREATE TABLE words (id BIGINT PRIMARY KEY, word VARCHAR(20) NOT NULL); INSERT INTO words VALUES {}",
            rows.join(", ")
        );
        server.run(&database, &statements).await.expect("a table");
        let folder = TempDir::new().expect("a folder");
        for name in ["in", "out", "log"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        Self { server, database, folder }
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

    /// Runs the job; its end is what it ended with.
    async fn run(&self, bounded: bool, how: How) -> (Handle, JoinHandle<()>) {
        let url =
            format!("{}?statement_timeout_ms=1000&connect_timeout_ms=2000", self.server.url(&self.database));
        let config = SqlConfig::from_url(&url).expect("a URL");
        let words = SqlLookup::<i64, Word>::open(SqlLookupConfig::new(config, "words", ["id"])).await;
        let words = Arc::new(words.expect("opened"));
        let mut reading = FilesSourceConfig::new(self.path("in"), SourceFormat::JsonLines);
        reading.bounded = bounded;
        let source = Arc::new(FilesSource::<Asked>::new(reading).expect("a source"));
        let writing = FilesSinkConfig::new(self.path("out"), SinkFormat::JsonLines);
        let sink = Arc::new(FilesSink::<Asked>::new(writing).expect("a sink"));
        let mut config = JobConfig::new("enrich".parse().expect("a name"), self.path("log"));
        config.settings.interval = Duration::from_millis(20);
        config.discovery_interval = Duration::from_millis(20);
        let restarts = Restarts { attempts_max: 0, ..Restarts::default() };
        let job = Job::open(config).await.expect("a job").restarts(restarts);
        let handle = job.handle();
        let running = tokio::spawn(async move {
            let ended = job.run(Workers::threads(1), move |graph| {
                let asked = graph.source("asked", &source).stream();
                let rows = match how {
                    How::Keys(how) => asked.lookup(
                        "words",
                        &words,
                        how,
                        |asked| Some(asked.id),
                        |asked, word| Asked { word: word.map(|word: &Word| word.word.clone()), ..asked },
                    ),
                    How::Whole(how) => asked.lookup_table("words", &words, how, |asked: Asked, words| {
                        Asked { word: words.get(&asked.id).map(|word| word.word.clone()), ..asked }
                    }),
                };
                rows.sink("rows", &sink);
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
    async fn sees(&self, count: usize) -> Vec<Asked> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let visible = self.visible();
            if visible.len() >= count {
                return visible;
            }
            assert!(Instant::now() < deadline, "{} of {count} rows", visible.len());
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

fn answered(id: i64) -> Asked {
    Asked { id, word: (id % 2 == 0).then(|| format!("w{id}")) }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_goes_on_where_its_database_is_killed_and_started_again_under_lookups() {
    Database::each(async |database| {
        let world = World::start(database).await;
        // Nothing is kept, so that requests are under way all the time.
        let how = Lookups::ordered().cache_for(Duration::ZERO).keys_per_request_max(8).retry_for(PATIENCE);
        let (handle, running) = world.run(false, How::Keys(how)).await;
        let mut expected = Vec::new();
        for round in 0..3 {
            let ids = || (0..10).flat_map(|_| 0..KEYS);
            world.feed(&format!("{round}-before.jsonl"), ids());
            world.sees(expected.len() + 1).await;
            world.server.kill().await.expect("killed");
            expected.extend(ids().map(answered));
            world.feed(&format!("{round}-meanwhile.jsonl"), ids());
            sleep(Duration::from_millis(100)).await;
            assert!(world.visible().len() <= expected.len(), "nobody answers");
            expected.extend(ids().map(answered));
            world.server.start_again().await.expect("started again");
            world.sees(expected.len()).await;
        }
        handle.stop(None).await.expect("stopped");
        running.await.expect("ended");
        expected.sort_unstable();
        assert_eq!(world.visible(), expected, "{database:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn while_a_database_is_paused_records_go_on_with_stale_answers_and_what_was_never_known_waits() {
    Database::each(async |database| {
        let world = World::start(database).await;
        let how =
            Lookups::unordered().cache_for(Duration::from_millis(1)).stale_for(PATIENCE).retry_for(PATIENCE);
        let (handle, running) = world.run(false, How::Keys(how)).await;
        world.feed("a.jsonl", 0..100);
        world.sees(100).await;

        world.server.pause().await.expect("paused");
        world.feed("b.jsonl", 0..100);
        let stale = world.sees(200).await;
        let mut twice: Vec<Asked> = (0..100).chain(0..100).map(answered).collect();
        twice.sort_unstable();
        assert_eq!(stale, twice, "{database:?}");

        world.feed("c.jsonl", 100..200);
        sleep(Duration::from_millis(500)).await;
        assert_eq!(world.visible().len(), 200, "nobody knows an answer");
        world.server.unpause().await.expect("goes on");
        world.sees(300).await;
        handle.stop(None).await.expect("stopped");
        running.await.expect("ended");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_whole_table_is_refreshed_and_stays_in_use_while_its_database_is_away() {
    Database::each(async |database| {
        let world = World::start(database).await;
        let how = LookupTables::refreshed_every(Duration::from_millis(50)).stale_for(PATIENCE);
        let (handle, running) = world.run(false, How::Whole(how)).await;
        world.feed("0.jsonl", 0..100);
        assert_eq!(world.sees(100).await, (0..100).map(answered).collect::<Vec<_>>(), "{database:?}");

        let change = "UPDATE words SET word = 'new' WHERE id = 0; INSERT INTO words VALUES (1, 'one')";
        world.server.run(&world.database, change).await.expect("changed");
        let mut latest = BTreeMap::new();
        for round in 1.. {
            world.feed(&format!("{round}.jsonl"), 0..2);
            let visible = world.sees(100 + 2 * round).await;
            latest =
                visible.into_iter().filter_map(|row| Some((row.id, row.word?))).collect::<BTreeMap<_, _>>();
            // Both changes are of one transaction or none: a batch sees one state, and the older rows have no word for 1.
            if latest.contains_key(&1) || round == 1_000 {
                break;
            }
        }
        assert_eq!(latest.get(&1).map(String::as_str), Some("one"), "{database:?}");

        world.server.kill().await.expect("killed");
        let seen = world.visible().len();
        world.feed("z.jsonl", 0..100);
        world.sees(seen + 100).await;
        handle.stop(None).await.expect("stopped");
        running.await.expect("ended");
    })
    .await;
}
