//! The connections of writers: they say whose they are, so that a newer attempt can end what an older one holds.
//!
//! A writer has a transaction open nearly all the time, and with it the locks of the rows that it wrote. Where its process dies,
//! the server notices. Where it is only paused, or cut off, the connection stays, and the next attempt would wait for its rows.
//! So each connection bears the name of its attempt, and recovery ends those of older ones:
//!
//! | | the name is | ended by |
//! |---|---|---|
//! | PostgreSQL | the `application_name` | `pg_terminate_backend`, of sessions of our own role |
//! | MySQL, MariaDB | a lock of its own (`GET_LOCK`), of a name that the table of transactions says | `KILL`, of connections of our own user |
//!
//! What a name proves is that the connection is an older attempt's at this moment: numbers of connections are used again.

use std::collections::BTreeSet;

use tidelock::{Error, ErrorKind, Position, Result, SinkAttempt, WriterId};

use crate::client::{Access, Client};
use crate::error::Fault;
use crate::kind::DatabaseKind;
use crate::prepared::name::Owner;
use crate::target::Target;
use crate::value::SqlValue;

const OPERATION: &str = "open a writer";

/// How long a server keeps a connection on which nothing happens in the middle of an epoch: longer than the intervals of jobs.
const IDLE_SECONDS_MAX: u32 = 3_600;

/// A writer's next connection takes its lock while the one before it may be closing still: so it takes another one.
const LOCKS: u64 = 4;

/// A connection of a writer.
pub(super) struct Line {
    pub(super) client: Client,
    /// Its number at the server, where it is waited for its end.
    pub(super) number: Option<u64>,
}

/// Whose connections they are.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Of the sink in its database.
    sink: u64,
    attempt: Position,
    writer: WriterId,
}

impl Session {
    pub(super) fn of(target: &Target, attempt: &SinkAttempt, writer: WriterId) -> Self {
        Self { sink: Owner::of(attempt).hash_in(target.tag()), attempt: attempt.number, writer }
    }

    /// 63 bytes are what PostgreSQL keeps, and 64 what MySQL allows.
    fn lock(sink: u64, attempt: Position, writer: WriterId, number: u64) -> String {
        format!("tidelock:{sink:016x}:{attempt}.{writer}.{}", number % LOCKS)
    }

    /// Opens the connection for the writer's transaction of this number.
    pub(super) async fn connect(&self, target: &Target, number: u64) -> Result<Line> {
        let wrong = |fault: Fault| fault.during(OPERATION).with_retry(tidelock::Retry::Restart);
        let mut client = Client::connect(&target.config.database, Access::Write).await?;
        if target.dialect.kind != DatabaseKind::MySql {
            let name = format!("{}{}", applications(self.sink), self.attempt);
            let settings = format!(
                "SET application_name = '{name}'; SET idle_in_transaction_session_timeout = '{IDLE_SECONDS_MAX}s'"
            );
            client.run(&settings).await.map_err(wrong)?;
            return Ok(Line { client, number: None });
        }
        client.run(&format!("SET SESSION wait_timeout = {IDLE_SECONDS_MAX}")).await.map_err(wrong)?;
        let lock = Self::lock(self.sink, self.attempt, self.writer, number);
        let seconds = target.config.database.statement_timeout_ms.div_ceil(1_000);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let values = vec![SqlValue::Text(lock.clone()), SqlValue::I64(seconds)];
        let got = client.query("SELECT GET_LOCK(?, ?), CONNECTION_ID()", values).await.map_err(wrong)?;
        match got.rows.first().map(Vec::as_slice) {
            Some([SqlValue::I64(1), SqlValue::I64(number)]) => {
                Ok(Line { client, number: u64::try_from(*number).ok() })
            }
            _ => {
                let why = "another connection of this writer is open";
                Err(Error::new(ErrorKind::Conflict, OPERATION, why).with("lock", lock))
            }
        }
    }
}

/// What the names of all attempts of a sink begin with on PostgreSQL.
fn applications(sink: u64) -> String {
    format!("tidelock:{sink:016x}:")
}

/// Ends the connections of attempts of this sink that are older than `attempt`. What they had begun is rolled back; what they had
/// prepared is not.
pub(super) async fn end_older(
    client: &mut Client,
    target: &Target,
    attempt: &SinkAttempt,
    sessions: &BTreeSet<(Position, WriterId)>,
) -> Result<()> {
    let wrong = |fault: Fault| fault.during("end the connections of an older attempt");
    let owner = Owner::of(attempt);
    let sink = owner.hash_in(target.tag());
    let ended = match target.dialect.kind {
        DatabaseKind::MySql => {
            let mut ended = 0;
            for (older, writer) in sessions.iter().filter(|(older, _)| *older < attempt.number) {
                for number in 0..LOCKS {
                    let lock = vec![SqlValue::Text(Session::lock(sink, *older, *writer, number))];
                    let held = client.query("SELECT IS_USED_LOCK(?)", lock).await.map_err(wrong)?;
                    let Some([SqlValue::I64(connection)]) = held.rows.first().map(Vec::as_slice) else {
                        continue;
                    };
                    match client.run(&format!("KILL {connection}")).await {
                        Ok(_) => ended += 1,
                        // It is gone already.
                        Err(fault) if fault.code == "1094" => {}
                        Err(fault) => return Err(wrong(fault)),
                    }
                }
            }
            ended
        }
        DatabaseKind::Postgres => {
            let prefix = applications(sink);
            let query = "SELECT DISTINCT application_name FROM pg_stat_activity \
                         WHERE datname = current_database() AND starts_with(application_name, $1)";
            let found = client.query(query, vec![SqlValue::Text(prefix.clone())]).await.map_err(wrong)?;
            let mut ended = 0;
            for row in found.rows {
                let [SqlValue::Text(name)] = row.as_slice() else { continue };
                let older = name.strip_prefix(&prefix).and_then(|number| number.parse().ok()).map(Position);
                if older.is_some_and(|older| older < attempt.number) {
                    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                               WHERE datname = current_database() AND application_name = $1";
                    let values = vec![SqlValue::Text(name.clone())];
                    ended += client.query(end, values).await.map_err(wrong)?.rows.len();
                }
            }
            ended
        }
        DatabaseKind::Sqlite => 0,
    };
    if ended > 0 {
        tracing::info!(sink = %owner, ended, "ended connections of an older attempt");
    }
    Ok(())
}
