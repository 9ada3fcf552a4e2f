//! The server of rows, and tables in it.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tidelock_containers::{
    Database, Gateway, GatewayOptions, HbaseOptions, HbaseServer, SqlOptions, SqlServer,
};
use tidelock_processes::DynamoServer;
use tokio::runtime::Runtime;

use crate::Failure;
use crate::dynamodb::{self, Dynamo};
use crate::hbase::{self, Hbase};
use crate::reader::Stamp;
use crate::sql::Sql;
use crate::target::Target;

/// No two measurements share a table.
static TABLES: AtomicU64 = AtomicU64::new(0);

/// Heaps as servers in production have at least, and all of Java's compiler: the containers' own options are for tests.
const HBASE_JAVA: &str = "-Xms4g -Xmx4g -XX:+UseG1GC";
const GATEWAY_JAVA: &str = "-Xms1g -Xmx1g -XX:+UseG1GC";

/// A connection to what has rows, by its bare client.
pub(crate) trait Rows: Send {
    /// Whether rows become visible in the order of their numbers.
    fn are_in_order(&self) -> bool;

    /// Makes an empty table for records of the load.
    fn make(&mut self, table: &str) -> Result<(), Failure>;

    /// Removes it, where it is there.
    fn remove(&mut self, table: &str) -> Result<(), Failure>;

    /// Of the rows from this number on some, and where there are any the first ones, by number.
    fn since(&mut self, table: &str, number: u64) -> Result<Vec<Stamp>, Failure>;

    /// The greatest number.
    fn newest(&mut self, table: &str) -> Result<Option<u64>, Failure>;
}

/// Connects to a database, a gateway or a server.
pub(crate) fn connect(url: &str) -> Result<Box<dyn Rows>, Failure> {
    Ok(match Target::of(Some(url)) {
        Target::Hbase => Box::new(Hbase::connect(url)?),
        Target::Dynamodb => Box::new(Dynamo::connect(url)?),
        Target::Kafka | Target::Postgres | Target::Mysql => Box::new(Sql::connect(url)?),
    })
}

pub(crate) struct Tables {
    pub(crate) place: Place,
    admin: Mutex<Box<dyn Rows>>,
    _server: Option<Server>,
    _runtime: Runtime,
}

/// Where a server is found.
pub(crate) struct Place {
    /// By the systems.
    pub(crate) url: String,
    /// By the reader. To HBase it has a gateway of its own: what it asks for is not counted for a system.
    pub(crate) reader_url: String,
    /// The process of the gateway at `url`, where it is ours.
    pub(crate) gateway: Option<u32>,
}

impl Place {
    fn of(url: String) -> Self {
        Self { reader_url: url.clone(), url, gateway: None }
    }
}

/// It is gone when this is dropped.
#[expect(dead_code, reason = "what they hold is dropped, and otherwise left alone")]
enum Server {
    Sql(SqlServer),
    Hbase(Gateway, HbaseServer),
    Dynamo(DynamoServer),
}

/// A container that is being started, and its URL.
type Starting = Pin<Box<dyn Future<Output = tidelock_containers::Result<(Place, Server)>>>>;

impl Tables {
    /// The server at `url`, or one of our own, with as much memory as one in production has at least. Of Kafka none.
    pub(crate) fn start(target: Target, url: Option<String>) -> Result<Option<Self>, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new("start the database", error);
        let runtime = Runtime::new().map_err(|error| failed(&error))?;
        let wait = |starting: Starting| -> Result<_, Failure> {
            eprintln!("starting {target}");
            let (place, server) = runtime.block_on(starting).map_err(|error| failed(&error))?;
            Ok((place, Some(server)))
        };
        let (place, server) = match (target, url) {
            (Target::Kafka, _) => return Ok(None),
            (_, Some(url)) => (Place::of(url), None),
            (Target::Postgres, None) => wait(Box::pin(start_sql(Database::Postgres)))?,
            (Target::Mysql, None) => wait(Box::pin(start_sql(Database::Mysql)))?,
            (Target::Hbase, None) => wait(Box::pin(start_hbase()))?,
            (Target::Dynamodb, None) => {
                DynamoServer::installed().map_err(|error| failed(&error))?;
                let server = DynamoServer::start();
                (Place::of(dynamodb::place(server.address())), Some(Server::Dynamo(server)))
            }
        };
        let admin = Mutex::new(connect(&place.reader_url)?);
        Ok(Some(Self { place, admin, _server: server, _runtime: runtime }))
    }

    fn ask<T>(&self, ask: impl FnOnce(&mut dyn Rows) -> T) -> T {
        ask(self.admin.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
    }

    /// Makes an empty table.
    pub(crate) fn make(&self) -> Result<String, Failure> {
        let name = format!("copied_{}", TABLES.fetch_add(1, Ordering::Relaxed));
        self.remove(&name)?;
        self.ask(|rows| rows.make(&name))?;
        Ok(name)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        self.ask(|rows| rows.remove(name))
    }

    /// How many records are visible: their numbers begin with 0 and, but for some of the last ones, have no gaps.
    pub(crate) fn visible(&self, name: &str) -> Result<u64, Failure> {
        Ok(self.ask(|rows| rows.newest(name))?.map_or(0, |number| number + 1))
    }

    /// How many records are visible, counted.
    pub(crate) fn count(&self, name: &str) -> Result<u64, Failure> {
        let (mut count, mut next) = (0, 0);
        loop {
            let some = self.ask(|rows| rows.since(name, next))?;
            let Some(last) = some.last() else { return Ok(count) };
            count += some.len() as u64;
            next = last.number + 1;
        }
    }
}

/// MySQL 9 does not know the old name any more, and MariaDB never had the new one.
fn redo_log_size(kind: Database) -> &'static str {
    if kind == Database::Mysql { "innodb_redo_log_capacity" } else { "innodb_log_file_size" }
}

async fn start_sql(kind: Database) -> tidelock_containers::Result<(Place, Server)> {
    let options = SqlOptions::new(kind);
    let options = match kind {
        Database::Postgres => options.with_setting("shared_buffers", "1GB"),
        Database::Mariadb | Database::Mysql => options
            .with_setting("innodb_buffer_pool_size", "1G")
            .with_setting(redo_log_size(kind), "1G")
            .with_setting("max_allowed_packet", "256M"),
    };
    let server = SqlServer::start(options).await?;
    let name = server.fresh_database().await?;
    Ok((Place::of(server.url(&name)), Server::Sql(server)))
}

async fn start_hbase() -> tidelock_containers::Result<(Place, Server)> {
    let gateway = GatewayOptions::default().with_java(GATEWAY_JAVA);
    // On one disk with the job's checkpoints its writes would wait for their fsyncs.
    let options = HbaseOptions::default().with_java(HBASE_JAVA).with_gateway(gateway).with_data_in_memory();
    let server = HbaseServer::start(options).await?;
    let of_reader = server.another_gateway(GatewayOptions::default().with_java(GATEWAY_JAVA)).await?;
    let at = |gateway: &str| hbase::place(gateway, &server.zookeeper());
    let place = Place {
        url: at(&server.gateway()),
        reader_url: at(&of_reader.address()),
        gateway: Some(server.gateway_process().await?),
    };
    Ok((place, Server::Hbase(of_reader, server)))
}
