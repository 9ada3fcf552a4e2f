//! A connection to a database by its bare client, for threads that wait.

use mysql_async::prelude::Queryable;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::SimpleQueryMessage;

use crate::Failure;
use crate::reader::Stamp;
use crate::tables::Rows;

/// Its own thread drives the connection, while it waits for an answer and no longer.
pub(crate) struct Sql {
    runtime: Runtime,
    client: Client,
}

enum Client {
    Postgres(tokio_postgres::Client),
    Mysql(mysql_async::Conn),
}

impl Sql {
    pub(crate) fn connect(url: &str) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new("connect to the database", error);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
        let client = runtime.block_on(async {
            if url.starts_with("mysql:") {
                let options = mysql_async::Opts::from_url(url).map_err(|error| failed(&error))?;
                mysql_async::Conn::new(options).await.map(Client::Mysql).map_err(|error| failed(&error))
            } else {
                let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
                let (client, connection) = connected.map_err(|error| failed(&error))?;
                tokio::spawn(connection);
                Ok(Client::Postgres(client))
            }
        });
        Ok(Self { runtime, client: client? })
    }

    /// Runs a statement that answers nothing.
    pub(crate) fn run(&mut self, statement: &str) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new("run a statement", error);
        match &mut self.client {
            Client::Postgres(client) => {
                self.runtime.block_on(client.batch_execute(statement)).map_err(|error| failed(&error))
            }
            Client::Mysql(client) => {
                self.runtime.block_on(client.query_drop(statement)).map_err(|error| failed(&error))
            }
        }
    }

    /// Runs a query of number and due time.
    fn stamps(&mut self, query: &str) -> Result<Vec<Stamp>, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new("read what is visible", error);
        match &mut self.client {
            Client::Postgres(client) => {
                let messages = self.runtime.block_on(client.simple_query(query));
                let mut stamps = Vec::new();
                for message in messages.map_err(|error| failed(&error))? {
                    let SimpleQueryMessage::Row(row) = message else { continue };
                    let number = |at| row.get(at).and_then(|text| text.parse().ok());
                    let (Some(number), Some(due)) = (number(0), number(1)) else {
                        return Err(failed(&"a row is no stamp"));
                    };
                    stamps.push(Stamp { number, due });
                }
                Ok(stamps)
            }
            Client::Mysql(client) => {
                let rows = self.runtime.block_on(client.query::<(u64, u64), _>(query));
                let rows = rows.map_err(|error| failed(&error))?;
                Ok(rows.into_iter().map(|(number, due)| Stamp { number, due }).collect())
            }
        }
    }
}

impl Rows for Sql {
    fn are_in_order(&self) -> bool {
        true
    }

    /// The bare client keeps its position in a table beside it.
    fn make(&mut self, table: &str) -> Result<(), Failure> {
        self.run(&format!(
            "CREATE TABLE {table} (number BIGINT PRIMARY KEY, due BIGINT NOT NULL, filler TEXT NOT NULL)"
        ))?;
        self.run(&format!(
            "CREATE TABLE {table}_position (slot INTEGER PRIMARY KEY, position BIGINT NOT NULL)"
        ))?;
        self.run(&format!("INSERT INTO {table}_position VALUES (0, 0)"))
    }

    fn remove(&mut self, table: &str) -> Result<(), Failure> {
        self.run(&format!("DROP TABLE IF EXISTS {table}"))?;
        self.run(&format!("DROP TABLE IF EXISTS {table}_position"))
    }

    fn since(&mut self, table: &str, number: u64) -> Result<Vec<Stamp>, Failure> {
        self.stamps(&format!(
            "SELECT number, due FROM {table} WHERE number >= {number} ORDER BY number LIMIT 100000"
        ))
    }

    fn newest(&mut self, table: &str) -> Result<Option<u64>, Failure> {
        let newest = self.stamps(&format!("SELECT number, due FROM {table} ORDER BY number DESC LIMIT 1"))?;
        Ok(newest.first().map(|stamp| stamp.number))
    }
}
