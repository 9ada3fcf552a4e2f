//! The command `tidelock-sql transactions` on real servers and the log of a job.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::Place;
use common::scenes::{PendingRows, attempt, prepare, uid};
use serde_json::Value;
use tidelock::log::{Created, Entry, EntryKind, Lineage, Log, PendingState, State};
use tidelock::{Epoch, Generation, JobId, Position, Segment, Sink as _, Stored};
use tidelock_containers::Database;
use tidelock_sql::{Change, Mode, SqlSink};
use tidelock_testkit::harness::Row;

/// Positions of the claims, and so the numbers of the attempts.
const OLDER: u64 = 1;
const NEWER: u64 = 4;

/// A job whose first attempt prepared something and died, and whose second attempt has claimed its log.
struct Trial {
    place: Place,
    folder: tempfile::TempDir,
    listed: PendingRows,
    /// What the first attempt prepared beside it.
    left: PendingRows,
}

impl Trial {
    async fn new(database: Database) -> Self {
        let place = Place::on_shared(database).await.unwrap().in_mode(Mode::Prepared);
        place.make_log().await;
        let sink = SqlSink::new(place.sink_config()).unwrap();
        let mut of_attempt = Vec::new();
        for (number, key) in [(OLDER, "listed"), (OLDER + 1, "left")] {
            // Names of transactions are of their attempt; the log calls both the older one.
            let attempt = attempt("job", number);
            sink.recover(&attempt, &of_attempt).await.unwrap();
            let changes = vec![Change::Insert(Row::new(key, 1))];
            of_attempt.extend(prepare(&sink, &attempt, number, changes).await.unwrap());
        }
        let [listed, left] = <[_; 2]>::try_from(of_attempt).unwrap();
        let trial = Self { place, folder: tempfile::tempdir().unwrap(), listed, left };
        trial.write_log().await;
        trial
    }

    fn log(&self) -> String {
        self.folder.path().join("log").to_str().unwrap().to_owned()
    }

    /// A checkpoint of the older attempt that lists one transaction, and the newer one's claim.
    async fn write_log(&self) {
        let log = Log::open(&self.log()).await.unwrap();
        let state = |pending: Vec<PendingState>| State {
            sources: BTreeMap::new(),
            operators: BTreeMap::new(),
            sinks: BTreeMap::from([(uid(), pending)]),
        };
        let Stored { version, json } = Stored::encode(&self.listed.committable).unwrap();
        let pending = vec![PendingState {
            epoch: Epoch(1),
            attempt: Position(OLDER),
            writer: self.listed.writer,
            version,
            committable: Segment::Json(json),
            chunks: Vec::new(),
        }];
        for (position, kind, attempt, state) in [
            (1, EntryKind::Claim, OLDER, None),
            (2, EntryKind::Start, OLDER, Some(state(vec![]))),
            (3, EntryKind::Checkpoint, OLDER, Some(state(pending.clone()))),
            (4, EntryKind::Claim, NEWER, Some(state(pending))),
        ] {
            let entry = Entry {
                job: JobId::new("job").unwrap(),
                position: Position(position),
                kind,
                nonce: log.nonce(),
                attempt: Position(attempt),
                lineage: Lineage { id: Position(1), generation: Generation(1), origin: None },
                created_at: jiff::Timestamp::UNIX_EPOCH,
                epoch: Epoch(u64::from(position > 2)),
                obeyed: Vec::new(),
                state,
                abandoned: BTreeMap::new(),
            };
            assert!(matches!(log.create(&entry).await, Ok(Created::Ours(_))));
        }
    }

    fn listed(&self) -> String {
        self.listed.committable.transaction().unwrap().to_string()
    }

    fn left(&self) -> String {
        self.left.committable.transaction().unwrap().to_string()
    }

    /// Runs a command: whether it succeeded, and all that it said. The password is in no argument.
    fn command(&self, arguments: &[&str]) -> (bool, String) {
        let scheme = self.place.of("postgres", "mysql", "sqlite");
        let ran = Command::new(env!("CARGO_BIN_EXE_tidelock-sql"))
            .arg("transactions")
            .args(arguments)
            .env("TIDELOCK_SQL_URL", self.place.url(scheme))
            .output()
            .unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        (ran.status.success(), String::from_utf8(said).unwrap())
    }

    #[track_caller]
    fn does(&self, arguments: &[&str]) -> String {
        let (done, said) = self.command(arguments);
        assert!(done, "{arguments:?}: {said}");
        said
    }

    /// The command refuses, and says this.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], why: &str) {
        let (done, said) = self.command(arguments);
        assert!(!done && said.contains(why), "{arguments:?}: {said}");
        assert!(!said.contains(self.place.config.password.expose()), "{said}");
    }

    async fn visible(&self) -> Vec<String> {
        self.place.rows("id").await.into_iter().map(|row| row.key).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_a_log_lists_is_shown_and_committed_once() {
    for database in Database::there() {
        let trial = Trial::new(database).await;
        let (log, listed, left) = (trial.log(), trial.listed(), trial.left());
        let lines: BTreeMap<String, Value> = trial
            .does(&["list", "--log", &log, "--json"])
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| (line["transaction"].as_str().unwrap().to_owned(), line))
            .collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(
            (&lines[&listed]["listed"], &lines[&listed]["outcome"]),
            (&true.into(), &"prepared".into())
        );
        assert_eq!((&lines[&left]["listed"], &lines[&left]["outcome"]), (&false.into(), &"prepared".into()));
        let all = trial.does(&["list"]);
        assert!(all.contains(&listed) && all.contains(&left), "{all}");

        trial.refuses(&["commit", &listed], "give --log");
        trial.refuses(&["commit", &left, "--log", &log], "the log does not list it");
        let said = trial.does(&["commit", "--log", &log]);
        assert!(said.contains(&listed) && !said.contains(&left), "{said}");
        assert_eq!(trial.visible().await, ["listed"], "{database:?}");
        assert!(trial.does(&["commit", "--log", &log]).contains("committed already"));
        assert!(trial.does(&["list", "--log", &log]).contains("committed"));
        assert_eq!(trial.visible().await, ["listed"]);
        trial.does(&["rollback", &left, "--log", &log]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn only_what_nobody_waits_for_is_rolled_back() {
    for database in Database::there() {
        let trial = Trial::new(database).await;
        let (log, listed, left) = (trial.log(), trial.listed(), trial.left());
        trial.refuses(&["rollback", &left], "give --log");
        trial.refuses(&["rollback", &listed, "--log", &log], "the job's log lists it");
        let newest = left.replace(":2.0.1:", ":4.0.1:");
        trial.refuses(&["rollback", &newest, "--log", &log], "its attempt is the job's newest");
        let foreign = left.replace("job.out", "other.out");
        trial.refuses(&["rollback", &foreign, "--log", &log], "no sink of the log's job made it");
        trial.refuses(&["rollback", "somebody-elses", "--log", &log], "no transaction of a sink of ours");
        trial.does(&["rollback", &left, "--log", &log]);
        assert!(trial.does(&["rollback", &left, "--log", &log]).contains("rolled back already"));
        assert_eq!(trial.place.prepared().await, [&*listed], "{database:?}");

        // By force, what the log lists: then nothing commits it any more.
        trial.does(&["rollback", &listed, "--log", &log, "--force"]);
        trial.refuses(&["commit", "--log", &log], "it was rolled back");
        let told = trial.does(&["list", "--log", &log]);
        assert!(told.contains("rolled back"), "{told}");
        assert_eq!(trial.visible().await, Vec::<String>::new());
        let sink = SqlSink::<Row>::new(trial.place.sink_config()).unwrap();
        let pending = [trial.listed.clone()];
        assert!(sink.recover(&attempt("job", NEWER), &pending).await.is_err());
    }
}
