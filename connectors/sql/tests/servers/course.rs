//! Writers of one attempt, who write and prepare when they like, what an entry lists of them, and what must be visible.

use std::sync::Arc;
use std::time::Duration;

use tidelock::{Epoch, Pending, Position, Result, Retry, Sink as _, SinkWriter as _, WriterId};
use tidelock_sql::{Change, RecordPolicy, SqlSink, SqlWriter};
use tidelock_testkit::harness::Row;
use tokio::time::Instant;

use crate::common::Place;
use crate::common::scenes::{self, PendingRows};

/// What a busy machine may need for an epoch that is called short, and how often it may try.
const QUICK: Duration = Duration::from_millis(1_500);
const TRIES: usize = 20;

/// Tries until it succeeds, as the coordinator does: every error on the way must say that trying again helps.
pub(crate) async fn at_last<T>(mut what: impl AsyncFnMut() -> Result<T>) -> T {
    for _ in 0..600 {
        match what().await {
            Ok(done) => return done,
            Err(error) => assert_eq!(error.retry(), Retry::Retry, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it never succeeded");
}

pub(crate) async fn commit_at_last(sink: &SqlSink<Row>, epoch: u64, pending: &[PendingRows]) {
    at_last(async || scenes::commit(sink, epoch, pending).await).await;
}

/// A job's sink from epoch to epoch, and from attempt to attempt.
pub(crate) struct Course {
    pub(crate) place: Place,
    /// The sink whose process commits.
    pub(crate) sink: Arc<SqlSink<Row>>,
    /// One in another process, which has the last writer, where there is one.
    there: Option<SqlSink<Row>>,
    attempt: u64,
    writers: Vec<Writing>,
    /// What is prepared and not committed.
    pending: Vec<Waiting>,
    /// Values of rows that are visible, of each writer in their order.
    done: Vec<Vec<u64>>,
    letters: u64,
    made: u64,
    /// When the epoch began in which the last writer is that prepared.
    pub(crate) began: Instant,
    /// Stands behind the key of each row, and makes it long.
    pub(crate) pad: String,
}

struct Writing {
    writer: SqlWriter<Row>,
    /// The epoch that it is in, and what it wrote of it.
    epoch: u64,
    rows: Vec<u64>,
    letters: u64,
}

struct Waiting {
    prepared: PendingRows,
    rows: Vec<u64>,
    letters: u64,
}

/// An attempt whose successor has begun.
pub(crate) struct Older {
    sink: Arc<SqlSink<Row>>,
    writers: Vec<Writing>,
    listed: Vec<PendingRows>,
}

impl Course {
    /// So many writers of a table that is made for them. Of rows that do not fit letters are kept.
    pub(crate) async fn begin(place: Place, writers: usize) -> Self {
        place.make_log().await;
        Self::of_a_table(place, writers, false).await
    }

    /// The same in a table that is there; with the last writer in another process where it is said so.
    pub(crate) async fn of_a_table(place: Place, writers: usize, is_spread: bool) -> Self {
        let sink = Arc::new(sink(&place));
        let there = is_spread.then(|| self::sink(&place));
        let done = vec![Vec::new(); writers];
        let mut new = Self {
            place,
            sink,
            there,
            attempt: 0,
            writers: Vec::new(),
            pending: Vec::new(),
            done,
            letters: 0,
            made: 0,
            began: Instant::now(),
            pad: String::new(),
        };
        new.recover(1).await;
        new
    }

    /// The next attempt: what is pending is committed, and its writers begin with this epoch.
    async fn recover(&mut self, epoch: u64) {
        self.attempt += 1;
        let attempt = scenes::attempt("job", self.attempt);
        let listed: Vec<_> = self.pending.iter().map(|one| one.prepared.clone()).collect();
        at_last(async || self.sink.recover(&attempt, &listed).await).await;
        self.commit_up_to(epoch - 1).await;
        for writer in 0..self.done.len() {
            let is_there = writer + 1 == self.done.len();
            let sink = self.there.as_ref().filter(|_| is_there).unwrap_or(&self.sink);
            let writer = WriterId(u32::try_from(writer).unwrap());
            let writer = at_last(async || sink.open(&attempt, writer).await).await;
            self.writers.push(Writing { writer, epoch, rows: Vec::new(), letters: 0 });
        }
    }

    /// A newer attempt takes over, in this process or in another one. What no entry lists is gone, and is not written again. The older
    /// one is given back: it may be alive.
    pub(crate) async fn restart(&mut self, is_in_this_process: bool) -> Older {
        let epoch = self.durable();
        self.pending.retain(|one| one.prepared.epoch.0 <= epoch);
        let listed = self.pending.iter().map(|one| one.prepared.clone()).collect();
        let older =
            Older { sink: Arc::clone(&self.sink), writers: std::mem::take(&mut self.writers), listed };
        if !is_in_this_process {
            self.sink = Arc::new(sink(&self.place));
        }
        self.there = self.there.take().map(|_| sink(&self.place));
        self.recover(epoch + 1).await;
        older
    }

    pub(crate) async fn write(&mut self, writer: usize, count: u64) {
        let rows = self.made..self.made + count;
        self.made += count;
        let key = format!("{writer}{}", self.pad);
        let mut changes = rows.clone().map(|at| Change::Insert(Row::new(&key, at))).collect();
        let writing = &mut self.writers[writer];
        writing.writer.write(&mut changes).await.unwrap();
        writing.rows.extend(rows);
    }

    /// Writes a row that does not fit.
    pub(crate) async fn write_misfit(&mut self, writer: usize) {
        let writing = &mut self.writers[writer];
        let mut changes = vec![Change::Insert(Row::new("large", u64::MAX))];
        writing.writer.write(&mut changes).await.unwrap();
        writing.letters += 1;
    }

    /// How many epochs a writer is ahead of the slowest one.
    pub(crate) fn is_ahead_by(&self, writer: usize) -> u64 {
        self.writers[writer].epoch - self.durable() - 1
    }

    pub(crate) async fn prepare(&mut self, writer: usize) {
        let Writing { writer: open, epoch, rows, letters } = &mut self.writers[writer];
        let (rows, letters) = (std::mem::take(rows), std::mem::take(letters));
        self.began = Instant::now();
        let prepared = open.prepare(Epoch(*epoch)).await.unwrap();
        assert_eq!(prepared.len(), usize::from(!rows.is_empty() || letters > 0));
        for prepared in prepared {
            let prepared = Pending {
                epoch: Epoch(*epoch),
                attempt: Position(self.attempt),
                writer: WriterId(u32::try_from(writer).unwrap()),
                committable: prepared.committable,
            };
            self.pending.push(Waiting { prepared, rows: rows.clone(), letters });
        }
        *epoch += 1;
    }

    /// The newest epoch that all writers have prepared.
    pub(crate) fn durable(&self) -> u64 {
        self.writers.iter().map(|writing| writing.epoch).min().unwrap() - 1
    }

    /// Commits all that an entry of this epoch lists.
    pub(crate) async fn commit_up_to(&mut self, epoch: u64) {
        let is_listed = |one: &Waiting| one.prepared.epoch.0 <= epoch;
        let (listed, rest): (Vec<_>, _) = std::mem::take(&mut self.pending).into_iter().partition(is_listed);
        self.pending = rest;
        let pending: Vec<_> = listed.iter().map(|one| one.prepared.clone()).collect();
        commit_at_last(&self.sink, epoch, &pending).await;
        for Waiting { prepared, rows, letters } in listed {
            self.done[prepared.writer.0 as usize].extend(rows);
            self.letters += letters;
        }
        self.look().await;
    }

    /// Commits all that is durable.
    pub(crate) async fn commit(&mut self) {
        self.commit_up_to(self.durable()).await;
    }

    /// Rows of one epoch of all writers, up to their commit.
    pub(crate) async fn epoch(&mut self, rows: u64) {
        for writer in 0..self.writers.len() {
            self.write(writer, rows).await;
        }
        self.end_epoch().await;
    }

    /// The barrier comes to all writers, and what they prepare is committed.
    pub(crate) async fn end_epoch(&mut self) {
        for writer in 0..self.writers.len() {
            self.prepare(writer).await;
        }
        self.commit().await;
    }

    /// An epoch that was so short that many rows of the next one are sent before its barrier.
    pub(crate) async fn short_epoch(&mut self) {
        for _ in 0..TRIES {
            // The one before it may have been applied from the log.
            self.epoch(1).await;
            let began = Instant::now();
            self.epoch(1).await;
            if began.elapsed() < QUICK {
                return;
            }
        }
        panic!("no epoch is short on this machine");
    }

    /// As many rows are visible as must be, and each is there once.
    pub(crate) async fn look(&self) {
        let seen = self.place.query("SELECT count(*), count(DISTINCT value) FROM log").await;
        let expected = self.done.iter().map(Vec::len).sum::<usize>() as i128;
        assert_eq!([seen[0][0].int(), seen[0][1].int()], [expected; 2], "{}", self.place.kind());
    }

    /// Everything is visible, each writer's rows in their order, and each letter once.
    pub(crate) async fn compare(&self) {
        let mut seen = vec![Vec::new(); self.done.len()];
        for row in self.place.rows("id").await {
            seen[row.key.trim_end_matches('.').parse::<usize>().unwrap()].push(row.value);
        }
        assert!(seen == self.done, "{}: other rows, or another order", self.place.kind());
        let letters = self.place.query("SELECT count(*) FROM letters").await;
        assert_eq!(letters[0][0].int(), i128::from(self.letters), "{}", self.place.kind());
    }

    /// No row was at the database twice: what is rolled back takes its numbers along.
    pub(crate) async fn assert_sent_once(&self) {
        let seen = self.place.query("SELECT count(*), max(id) FROM log").await;
        assert_eq!(seen[0][0].int(), seen[0][1].int(), "{}: rows were sent in vain", self.place.kind());
    }
}

impl Older {
    /// It wakes up, writes on, and commits what it was about to, where it is another process.
    pub(crate) async fn wake(mut self, course: &Course) {
        for (at, writing) in (0_u64..).zip(&mut self.writers) {
            let rows = 0..1_200 * at;
            let mut changes = rows.map(|at| Change::Insert(Row::new("older", at))).collect();
            writing.writer.write(&mut changes).await.unwrap();
            writing.writer.prepare(Epoch(writing.epoch)).await.unwrap();
        }
        if !Arc::ptr_eq(&self.sink, &course.sink) {
            let newest = self.listed.iter().map(|one| one.epoch.0).max().unwrap_or_default();
            commit_at_last(&self.sink, newest, &self.listed).await;
        }
        course.look().await;
    }
}

fn sink(place: &Place) -> SqlSink<Row> {
    let mut config = place.sink_config();
    config.on_refused = RecordPolicy::DeadLetter("letters".into());
    SqlSink::new(config).unwrap()
}
