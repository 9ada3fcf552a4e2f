//! Somebody else at the server.

use mysql_async::prelude::Queryable as _;
use tidelock_sql::DatabaseKind;

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
        let waiting = self.of(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            "SELECT count(*) FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p \
             ON p.ID = t.trx_mysql_thread_id WHERE t.trx_state = 'LOCK WAIT' AND p.DB = DATABASE()",
            "",
        );
        for _ in 0..1_000 {
            if self.query(waiting).await[0][0].int() > 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("nobody waits for a lock");
    }
}
