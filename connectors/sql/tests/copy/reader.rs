//! A reader that looks at the table all the time, by the database's own client.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use tidelock_sql::{DatabaseKind, Mode};
use tokio::time::{sleep, timeout};

use crate::checker::{Checker, Look, Sight};
use crate::common::Place;

/// Between two looks: it must leave the job some of a small machine.
const PAUSE: Duration = Duration::from_millis(15);

/// A server that is killed or paused does not answer: it is asked again by another connection.
const ANSWER_MAX: Duration = Duration::from_secs(5);

type Asked<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Looks until it is stopped.
#[derive(Debug)]
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    checker: Arc<Mutex<Checker>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Looks at the rows that a job writes.
    pub(crate) fn start(place: Place, job: &str, sight: Sight) -> Self {
        let (stop, checker) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Checker::new(sight))));
        let (stopped, shared, job) = (Arc::clone(&stop), Arc::clone(&checker), job.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(look_until(&stopped, &place, &job, &shared));
        });
        Self { stop, checker, thread: Some(thread) }
    }

    pub(crate) fn checker(&self) -> MutexGuard<'_, Checker> {
        self.checker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to which number rows are visible.
    pub(crate) fn newest(&self) -> u64 {
        self.checker().newest()
    }

    pub(crate) fn wrong(&self) -> Vec<String> {
        self.checker().wrong().to_vec()
    }

    #[track_caller]
    pub(crate) fn assert_right(&self) {
        let wrong = self.wrong();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Looks no more. Returns how often it did.
    pub(crate) fn stop(&mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.checker().looks
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

async fn look_until(stop: &AtomicBool, place: &Place, job: &str, checker: &Mutex<Checker>) {
    let mut line = None;
    while !stop.load(Ordering::SeqCst) {
        let from = checker.lock().unwrap_or_else(PoisonError::into_inner).from();
        let looked = timeout(ANSWER_MAX, look(&mut line, place, &query(place, job, from))).await;
        match looked {
            Ok(Ok(look)) => checker.lock().unwrap_or_else(PoisonError::into_inner).see(look),
            // No server, or no table yet.
            Ok(Err(_)) | Err(_) => {
                line = None;
                sleep(PAUSE * 4).await;
            }
        }
        sleep(PAUSE).await;
    }
}

/// One statement sees one moment.
fn query(place: &Place, job: &str, from: u64) -> String {
    let number = place.of("BIGINT", "SIGNED", "INTEGER");
    let ledger = |column: &str| match place.mode {
        Mode::Ledger => {
            format!("(SELECT coalesce(max({column}), 0) FROM tidelock_ledger WHERE job = '{job}')")
        }
        _ => "0".to_owned(),
    };
    let columns = [
        ledger("generation"),
        ledger("epoch"),
        "count(*)".into(),
        "count(DISTINCT number)".into(),
        "coalesce(min(number), 0)".into(),
        "coalesce(max(number), 0)".into(),
        "coalesce(sum(number), 0)".into(),
    ];
    let columns = columns.map(|column| format!("CAST({column} AS {number})")).join(", ");
    format!("SELECT {columns} FROM copied WHERE number > {from}")
}

enum Line {
    Postgres(tokio_postgres::Client),
    MySql(Box<mysql_async::Conn>),
}

async fn connect(place: &Place) -> Asked<Line> {
    if place.kind() == DatabaseKind::Postgres {
        let url = format!("{}?application_name=reader", place.url("postgres"));
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        return Ok(Line::Postgres(client));
    }
    let options = mysql_async::Opts::from_url(&place.url("mysql"))?;
    Ok(Line::MySql(Box::new(mysql_async::Conn::new(options).await?)))
}

async fn look(line: &mut Option<Line>, place: &Place, query: &str) -> Asked<Look> {
    if line.is_none() {
        *line = Some(Box::pin(connect(place)).await?);
    }
    let values: Vec<i64> = match line.as_mut().expect("a connection") {
        Line::Postgres(client) => {
            let row = client.query_one(query, &[]).await?;
            (0..row.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?
        }
        Line::MySql(connection) => {
            let row: Option<mysql_async::Row> = connection.exec_first(query, ()).await?;
            let values = row.ok_or("no row")?.unwrap().into_iter();
            values.map(mysql_async::from_value_opt::<i64>).collect::<Result<_, _>>()?
        }
    };
    let [generation, epoch, count, distinct, min, max, sum] =
        <[i64; 7]>::try_from(values).map_err(|_| "seven numbers")?.map(i64::unsigned_abs);
    Ok(Look { version: (generation, epoch), count, distinct, min, max, sum })
}
