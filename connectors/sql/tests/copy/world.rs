//! What one test has: a table that is fed, a job that copies it, a table that it writes, and a reader of that.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tidelock::Position;
use tidelock_containers::SqlServer;
use tidelock_processes::{Defect, Ended, Evidence, PATIENCE, Process, itself};
use tidelock_sql::{Mode, SqlCommittable, SqlSplit};
use tokio::time::{Instant, sleep};

use crate::checker::Sight;
use crate::common::Place;
use crate::input::{Input, word};
use crate::job::Task;
use crate::reader::Reader;

/// A job and its tables. Everything else in a test begins here.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) place: Place,
    pub(crate) task: Task,
    pub(crate) reader: Reader,
    input: Option<Input>,
    fed: Option<u64>,
    starts: AtomicUsize,
}

impl World {
    /// A database of its own on a server, and a job that writes to it by so many writers.
    pub(crate) async fn new(server: &SqlServer, mode: Mode, workers: usize) -> Self {
        let place = Place::on(server).await.in_mode(mode);
        make_table(&place, "copied").await;
        let folder = TempDir::new().unwrap();
        let input = Input::start(folder.path().join("input.db"));
        let task = Task {
            from: input.url(),
            endless: true,
            to: server.url(&place.config.name),
            table: "copied".into(),
            mode,
            job: "copy".into(),
            checkpoints: folder.path().join("checkpoints").to_str().unwrap().to_owned(),
            interval_ms: 10,
            workers,
            savepoint: None,
            start_from: None,
            defect: None,
        };
        let sight = match (mode, workers) {
            (Mode::Ledger, _) => Sight::ByEpoch,
            (_, 1) => Sight::OneWriter,
            _ => Sight::ByWriter,
        };
        let reader = Reader::start(place.again(), &task.job, sight);
        Self { folder, place, task, reader, input: Some(input), fed: None, starts: AtomicUsize::new(0) }
    }

    /// A job of two writers that copies so many rows of a table of the same server, and ends.
    pub(crate) async fn of_a_scan(server: &SqlServer, mode: Mode, rows: u64) -> Self {
        let mut world = Self::new(server, mode, 2).await;
        // Ranges are read side by side: what is visible is no beginning of the numbers.
        world.reader = Reader::start(world.place.again(), &world.task.job, Sight::ByWriter);
        world.place.run("CREATE TABLE input (id BIGINT PRIMARY KEY, word VARCHAR(32) NOT NULL)").await;
        for first in (1..=rows).step_by(1_000) {
            let some = (first..first + 1_000).map(|id| format!("({id}, '{}')", word(id)));
            let some = some.collect::<Vec<_>>().join(", ");
            world.place.run(&format!("INSERT INTO input VALUES {some}")).await;
        }
        world.stop_feeding();
        world.task.from.clone_from(&world.task.to);
        world.task.endless = false;
        world
    }

    /// Checkpoints at this interval.
    pub(crate) fn every(mut self, interval_ms: u64) -> Self {
        self.task.interval_ms = interval_ms;
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn input(&self) -> &Input {
        self.input.as_ref().expect("it is fed")
    }

    pub(crate) async fn log(&self) -> Evidence {
        Evidence::of(&self.path("checkpoints")).await
    }

    /// Starts the job.
    pub(crate) fn start(&self) -> Process {
        self.start_as(&self.task)
    }

    /// Starts it with something broken in it.
    pub(crate) fn start_broken(&self, defect: Defect) -> Process {
        self.start_as(&Task { defect: Some(defect), ..self.task.clone() })
    }

    pub(crate) fn start_as(&self, task: &Task) -> Process {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        Process::start(&mut itself("job::copying", task), &self.path(&format!("start-{start}")))
    }

    /// Starts it, and waits until it recovered and works.
    pub(crate) async fn start_at_work(&self) -> Process {
        let before = self.log().await.position().await;
        let mut process = self.start();
        self.recovered(&mut process, before).await;
        self.wait_for_rows(&mut process, 1).await;
        process
    }

    /// Waits until an attempt after `before` has started: then nothing of older ones is left.
    pub(crate) async fn recovered(&self, process: &mut Process, before: Position) -> Position {
        let attempt = self.log().await.wait_for_attempt(process, before).await;
        self.place.assert_no_orphans(attempt).await;
        attempt
    }

    /// Waits until so many more rows are visible than when this was called.
    pub(crate) async fn wait_for_rows(&self, process: &mut Process, more: u64) {
        let end = self.reader.newest() + more;
        let wish = async |_: &Process| {
            self.reader.assert_right();
            self.reader.newest() >= end
        };
        process.wait_until("more rows are visible", wish).await;
    }

    /// What the newest entry lists and the database has not committed.
    pub(crate) async fn listed(&self) -> Listed {
        let log = self.log().await;
        let mut found = Listed::default();
        if self.task.mode == Mode::Ledger {
            let listed = log.listed().await;
            if listed.is_empty() {
                // The ledger may not be there yet.
                return found;
            }
            let query = format!("SELECT epoch FROM tidelock_ledger WHERE job = '{}'", self.task.job);
            let applied = self.place.query(&query).await.first().map_or(0, |row| row[0].int());
            for one in listed {
                found.add(i128::from(one.epoch.0) > applied);
            }
            return found;
        }
        let prepared = self.place.prepared().await;
        for one in log.pending::<SqlCommittable>().await {
            let name = one.transaction().expect("prepared").to_string();
            found.add(prepared.contains(&name));
        }
        found
    }

    /// What is prepared and no entry lists.
    pub(crate) async fn unlisted(&self) -> Vec<String> {
        let mut prepared = self.place.prepared().await;
        let listed: Vec<String> = self
            .log()
            .await
            .pending::<SqlCommittable>()
            .await
            .iter()
            .filter_map(|one| Some(one.transaction()?.to_string()))
            .collect();
        prepared.retain(|name| !listed.contains(name));
        prepared
    }

    /// How many rows there are, once the feeder was stopped.
    pub(crate) fn stop_feeding(&mut self) -> u64 {
        match self.input.take() {
            Some(input) => *self.fed.insert(input.stop()),
            None => self.fed.expect("it was stopped"),
        }
    }

    /// Waits until all that was fed is visible, stops the job, and compares.
    pub(crate) async fn finish(&mut self, process: Process) -> Ended {
        let ended = self.stop_with_all(process).await;
        let fed = self.stop_feeding();
        self.compare(fed).await;
        ended
    }

    /// The job has ended: each of so many rows is there once, and nothing of the job is left.
    pub(crate) async fn compare(&mut self, rows: u64) {
        self.reader.stop();
        self.reader.assert_right();
        assert_eq!(self.copies("copied").await, vec![1; usize::try_from(rows).unwrap()]);
        self.place.assert_nothing_is_left().await;
    }

    /// Waits until all that was fed is visible, and stops the job and the reader.
    pub(crate) async fn stop_with_all(&mut self, mut process: Process) -> Ended {
        let fed = self.stop_feeding();
        let newest = async |_: &Process| {
            let row = &self.place.query("SELECT max(number), count(*) FROM copied").await[0];
            row[1].int() >= i128::from(fed) && row[0].int() == i128::from(fed)
        };
        process.wait_until("all is visible", newest).await;
        let ended = process.stop().await;
        ended.assert_success();
        let looks = self.reader.stop();
        println!("{fed} rows, and {looks} looks at them: {:?}", self.log().await.recoveries().await);
        ended
    }

    /// How often each number from one on is in a table: each row must be whole.
    pub(crate) async fn copies(&self, table: &str) -> Vec<u64> {
        let query = format!(
            "SELECT number, count(*), min(word), max(word) FROM {table} GROUP BY number ORDER BY number"
        );
        let mut copies = Vec::new();
        for row in self.place.query(&query).await {
            let number = u64::try_from(row[0].int()).unwrap();
            assert_eq!((row[2].text(), row[3].text()), (&*word(number), &*word(number)), "row {number}");
            copies.resize(usize::try_from(number - 1).unwrap(), 0);
            copies.push(u64::try_from(row[1].int()).unwrap());
        }
        copies
    }

    /// Waits for a condition that no process of ours is needed for.
    pub(crate) async fn wait_until(&self, what: &str, mut wish: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wish().await {
            assert!(Instant::now() < deadline, "waited too long until {what}");
            sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// What an entry lists, by what the database says of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Not committed.
    pub(crate) open: usize,
    /// Committed, and not confirmed.
    pub(crate) done: usize,
}

impl Listed {
    fn add(&mut self, is_open: bool) {
        self.open += usize::from(is_open);
        self.done += usize::from(!is_open);
    }
}

/// A table in which nothing keeps a row from being there twice.
pub(crate) async fn make_table(place: &Place, name: &str) {
    place.run(&format!("CREATE TABLE {name} (number BIGINT NOT NULL, word VARCHAR(32) NOT NULL)")).await;
    place.run(&format!("CREATE INDEX {name}_number ON {name} (number)")).await;
}

/// Up to which row of the input a source had read.
pub(crate) fn read_up_to(splits: &[SqlSplit]) -> u64 {
    let [split] = splits else { panic!("one split: {splits:?}") };
    let stored = serde_json::to_value(split).unwrap();
    stored["after"][0].as_u64().unwrap_or_default()
}
