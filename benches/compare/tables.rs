//! The database, and tables in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tidelock_containers::{Database, SqlOptions, SqlServer};
use tokio::runtime::Runtime;

use crate::Failure;
use crate::sql::Sql;

/// No two measurements share a table.
static TABLES: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Tables {
    pub(crate) url: String,
    admin: Mutex<Sql>,
    _server: Option<SqlServer>,
    _runtime: Runtime,
}

/// MySQL 9 does not know the old name any more, and MariaDB never had the new one.
fn redo_log_size(kind: Database) -> &'static str {
    if kind == Database::Mysql { "innodb_redo_log_capacity" } else { "innodb_log_file_size" }
}

impl Tables {
    /// The database at `url`, or one of our own, with as much memory as one in production has at least.
    pub(crate) fn start(kind: Database, url: Option<String>) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new("start the database", error);
        let runtime = Runtime::new().map_err(|error| failed(&error))?;
        let (url, server) = match url {
            Some(url) => (url, None),
            None => {
                eprintln!("starting a database");
                let options = SqlOptions::new(kind);
                let options = match kind {
                    Database::Postgres => options.with_setting("shared_buffers", "1GB"),
                    Database::Mariadb | Database::Mysql => options
                        .with_setting("innodb_buffer_pool_size", "1G")
                        .with_setting(redo_log_size(kind), "1G")
                        .with_setting("max_allowed_packet", "256M"),
                };
                let started = runtime.block_on(async {
                    let server = SqlServer::start(options).await?;
                    let name = server.fresh_database().await?;
                    Ok::<_, tidelock_containers::Error>((server.url(&name), server))
                });
                let (url, server) = started.map_err(|error| failed(&error))?;
                (url, Some(server))
            }
        };
        let admin = Mutex::new(Sql::connect(&url)?);
        Ok(Self { url, admin, _server: server, _runtime: runtime })
    }

    fn run(&self, statement: &str) -> Result<(), Failure> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner).run(statement)
    }

    /// Makes an empty table for records of so many bytes. The bare client keeps its position in a table beside it.
    pub(crate) fn make(&self) -> Result<String, Failure> {
        let name = format!("copied_{}", TABLES.fetch_add(1, Ordering::Relaxed));
        self.remove(&name)?;
        self.run(&format!(
            "CREATE TABLE {name} (number BIGINT PRIMARY KEY, due BIGINT NOT NULL, filler TEXT NOT NULL)"
        ))?;
        self.run(&format!(
            "CREATE TABLE {name}_position (slot INTEGER PRIMARY KEY, position BIGINT NOT NULL)"
        ))?;
        self.run(&format!("INSERT INTO {name}_position VALUES (0, 0)"))?;
        Ok(name)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        self.run(&format!("DROP TABLE IF EXISTS {name}"))?;
        self.run(&format!("DROP TABLE IF EXISTS {name}_position"))
    }

    /// How many records are visible: their numbers begin with 0 and have no gaps.
    pub(crate) fn visible(&self, name: &str) -> Result<u64, Failure> {
        let mut admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = admin.stamps(&format!("SELECT number, due FROM {name} ORDER BY number DESC LIMIT 1"))?;
        Ok(newest.first().map_or(0, |stamp| stamp.number + 1))
    }
}
