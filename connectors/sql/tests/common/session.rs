//! Somebody else at the server.

use mysql_async::prelude::Queryable as _;
use tidelock_sql::DatabaseKind;
use tokio::sync::Mutex;

use super::Place;

/// A connection of somebody who knows nothing of us, for transactions that stay open.
pub(crate) enum Session {
    Postgres(tokio_postgres::Client),
    MySql(Box<mysql_async::Conn>),
}

impl Session {
    pub(crate) async fn open(place: &Place) -> Self {
        match place.kind() {
            DatabaseKind::Postgres => {
                let url = place.url("postgres");
                let (client, wire) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(wire);
                Self::Postgres(client)
            }
            _ => Self::MySql(Box::new(place.mysql_connection().await)),
        }
    }

    /// Runs a statement. Names in `"` are quoted as the database does.
    ///
    /// # Errors
    /// With the server's message.
    pub(crate) async fn run(&mut self, statement: &str) -> Result<(), String> {
        match self {
            Self::Postgres(client) => {
                client.batch_execute(statement).await.map_err(|error| format!("{error:?}"))
            }
            Self::MySql(connection) => {
                connection.query_drop(statement.replace('"', "`")).await.map_err(|error| error.to_string())
            }
        }
    }
}

impl Place {
    /// Waits until some connection to this database waits for a lock.
    pub(crate) async fn until_somebody_waits(&self) {
        for _ in 0..1_000 {
            if self.is_waited_for_a_lock().await {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("nobody waits for a lock");
    }

    /// Whether a connection to this database waits for a lock of another one.
    pub(crate) async fn is_waited_for_a_lock(&self) -> bool {
        if self.kind() == DatabaseKind::Postgres {
            let waiting = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
            return self.query(waiting).await[0][0].int() > 0;
        }
        !self.innodb_transactions("t.trx_state = 'LOCK WAIT'").await.is_empty()
    }

    /// Ends all connections of jobs to this database.
    pub(crate) async fn end_connections(&self) {
        if self.kind() == DatabaseKind::Postgres {
            let end = "SELECT pg_terminate_backend(pid)::int::bigint FROM pg_stat_activity \
                       WHERE datname = current_database() AND application_name LIKE 'tidelock%'";
            self.query(end).await;
            return;
        }
        let mut connection = self.mysql_connection().await;
        let query =
            "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()";
        let ids: Vec<u64> = connection.query(query).await.unwrap();
        for id in ids {
            // It may have ended by itself.
            let _ended = connection.query_drop(format!("KILL {id}")).await;
        }
        connection.disconnect().await.unwrap();
    }

    /// The connections to this database whose transaction is open and of which this is true, but for our own.
    ///
    /// InnoDB makes its list anew where nobody has read it for a tenth of a second: tests that look at it often, or
    /// side by side, would see it as it was for as long as they look.
    /// <https://dev.mysql.com/doc/refman/8.4/en/innodb-information-schema-internal-data.html>
    pub(crate) async fn innodb_transactions(&self, which: &str) -> Vec<u64> {
        static LOOKS: Mutex<()> = Mutex::const_new(());
        let query = format!(
            "SELECT p.ID FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p \
             ON p.ID = t.trx_mysql_thread_id WHERE p.DB = DATABASE() AND p.ID <> CONNECTION_ID() AND {which}"
        );
        let _one_at_a_time = LOOKS.lock().await;
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
        let mut connection = self.mysql_connection().await;
        let ids = connection.query(query).await.unwrap();
        connection.disconnect().await.unwrap();
        ids
    }
}
