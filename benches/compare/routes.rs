//! The table that the pipeline looks up, in a database of its own.

use tidelock_containers::{Database, SqlOptions, SqlServer};
use tokio::runtime::Runtime;

use crate::Failure;
use crate::sql::Sql;

/// How many rows it has.
const ROUTES: u64 = 1_000;

/// The database is gone when this is dropped.
pub(crate) struct Routes {
    pub(crate) url: String,
    _server: SqlServer,
    _runtime: Runtime,
}

impl Routes {
    pub(crate) fn start() -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new("start the database of the routes", error);
        eprintln!("starting MySQL for the lookup");
        let runtime = Runtime::new().map_err(|error| failed(&error))?;
        let (server, url) = runtime
            .block_on(async {
                let server = SqlServer::start(SqlOptions::new(Database::Mysql)).await?;
                let name = server.fresh_database().await?;
                let url = server.url(&name);
                Ok::<_, tidelock_containers::Error>((server, url))
            })
            .map_err(|error| failed(&error))?;
        let mut sql = Sql::connect(&url)?;
        sql.run("CREATE TABLE routes (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(64) NOT NULL)")?;
        let rows: Vec<String> = (0..ROUTES).map(|id| format!("({id}, 'from here to place {id}')")).collect();
        sql.run(&format!("INSERT INTO routes VALUES {}", rows.join(", ")))?;
        Ok(Self { url, _server: server, _runtime: runtime })
    }
}
