//! The command `tidelock-sql transactions` on real servers and the log of a job.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;

use common::Place;
use common::scenes::{PendingRows, attempt, prepare, uid};
use serde_json::Value;
use tidelock::log::Log;
use tidelock::{Epoch, JobId, Pending, Sink as _};
use tidelock_containers::Database;
use tidelock_sql::{Change, Mode, SqlSink};
use tidelock_testkit::harness::Row;
use tidelock_testkit::tool::{NEWER, OLDER, Tool, log_of_two_attempts};

/// A job whose first attempt prepared something and died, and whose second attempt has claimed its log.
struct Trial {
    place: Place,
    folder: tempfile::TempDir,
    tool: Tool,
    listed: PendingRows,
    /// What the first attempt prepared beside it.
    left: PendingRows,
}

impl Trial {
    async fn new(database: Database) -> Self {
        let place = Place::on_shared(database).await.in_mode(Mode::Prepared);
        place.make_log().await;
        let sink = SqlSink::new(place.sink_config()).unwrap();
        let mut of_attempt = Vec::new();
        for (number, key) in [(OLDER.0, "listed"), (OLDER.0 + 1, "left")] {
            // Names of transactions are of their attempt; the log calls both the older one.
            let attempt = attempt("job", number);
            sink.recover(&attempt, &of_attempt).await.unwrap();
            let changes = vec![Change::Insert(Row::new(key, 1))];
            of_attempt.extend(prepare(&sink, &attempt, number, changes).await.unwrap());
        }
        let [listed, left] = <[_; 2]>::try_from(of_attempt).unwrap();
        // The password is in no argument.
        let url = place.url(place.of("postgres", "mysql", "sqlite"));
        let tool = Tool::new(env!("CARGO_BIN_EXE_tidelock-sql"), &["transactions"])
            .with_variable("TIDELOCK_SQL_URL", &url)
            .that_keeps(place.config.password.expose());
        let trial = Self { place, folder: tempfile::tempdir().unwrap(), tool, listed, left };
        let log = Log::open(&trial.log()).await.unwrap();
        let listed = Pending { epoch: Epoch(1), attempt: OLDER, ..trial.listed.clone() };
        log_of_two_attempts(&log, &JobId::new("job").unwrap(), &uid(), &listed).await.unwrap();
        trial
    }

    fn log(&self) -> String {
        self.folder.path().join("log").to_str().unwrap().to_owned()
    }

    fn listed(&self) -> String {
        self.listed.committable.transaction().unwrap().to_string()
    }

    fn left(&self) -> String {
        self.left.committable.transaction().unwrap().to_string()
    }

    async fn visible(&self) -> Vec<String> {
        self.place.rows("id").await.into_iter().map(|row| row.key).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_a_log_lists_is_shown_and_committed_once() {
    Database::each(async |database| {
        let trial = Trial::new(database).await;
        let tool = &trial.tool;
        let (log, listed, left) = (trial.log(), trial.listed(), trial.left());
        let lines: BTreeMap<String, Value> = tool
            .does(&["list", "--log", &log, "--json"])
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| (line["transaction"].as_str().unwrap().to_owned(), line))
            // By XA the list is of the whole server, and other tests have jobs of this name there.
            .filter(|(name, _)| name.rsplit(':').next() == listed.rsplit(':').next())
            .collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(
            (&lines[&listed]["listed"], &lines[&listed]["outcome"]),
            (&true.into(), &"prepared".into())
        );
        assert_eq!((&lines[&left]["listed"], &lines[&left]["outcome"]), (&false.into(), &"prepared".into()));
        let all = tool.does(&["list"]);
        assert!(all.contains(&listed) && all.contains(&left), "{all}");

        tool.refuses(&["commit", &listed], "give --log");
        tool.refuses(&["commit", &left, "--log", &log], "the log does not list it");
        let said = tool.does(&["commit", "--log", &log]);
        assert!(said.contains(&listed) && !said.contains(&left), "{said}");
        assert_eq!(trial.visible().await, ["listed"], "{database:?}");
        assert!(tool.does(&["commit", "--log", &log]).contains("committed already"));
        assert!(tool.does(&["list", "--log", &log]).contains("committed"));
        assert_eq!(trial.visible().await, ["listed"]);
        tool.does(&["rollback", &left, "--log", &log]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn only_what_nobody_waits_for_is_rolled_back() {
    Database::each(async |database| {
        let trial = Trial::new(database).await;
        let tool = &trial.tool;
        let (log, listed, left) = (trial.log(), trial.listed(), trial.left());
        tool.refuses(&["rollback", &left], "give --log");
        tool.refuses(&["rollback", &listed, "--log", &log], "the job's log lists it");
        let newest = left.replace(":2.0.1:", ":4.0.1:");
        tool.refuses(&["rollback", &newest, "--log", &log], "its attempt is the job's newest");
        let foreign = left.replace("job.out", "other.out");
        tool.refuses(&["rollback", &foreign, "--log", &log], "no sink of the log's job made it");
        tool.refuses(&["rollback", "somebody-elses", "--log", &log], "no transaction of a sink of ours");
        tool.does(&["rollback", &left, "--log", &log]);
        assert!(tool.does(&["rollback", &left, "--log", &log]).contains("rolled back already"));
        assert_eq!(trial.place.prepared().await, [&*listed], "{database:?}");

        // By force, what the log lists: then nothing commits it any more.
        tool.does(&["rollback", &listed, "--log", &log, "--force"]);
        tool.refuses(&["commit", "--log", &log], "it was rolled back");
        let told = tool.does(&["list", "--log", &log]);
        assert!(told.contains("rolled back"), "{told}");
        assert_eq!(trial.visible().await, Vec::<String>::new());
        let sink = SqlSink::<Row>::new(trial.place.sink_config()).unwrap();
        let pending = [trial.listed.clone()];
        assert!(sink.recover(&attempt("job", NEWER.0), &pending).await.is_err());
    })
    .await;
}
