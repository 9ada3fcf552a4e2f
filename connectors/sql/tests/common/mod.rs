//! A database as a stranger sees it, and the harness of every suite on it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test may fail, and each uses a part of this"
)]

pub(crate) mod cut;
pub(crate) mod killed;
pub(crate) mod prepared;
pub(crate) mod rivals;
pub(crate) mod scenes;
pub(crate) mod session;
pub(crate) mod sources;

use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::prelude::Queryable as _;
use serde::{Serialize, Serializer};
use tempfile::TempDir;
use tidelock::{Rejecting as _, Rejects, Result};
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_sql::{Change, DatabaseKind, Mode, SqlConfig, SqlSink, SqlSinkConfig, SqlWriter};
use tidelock_testkit::harness::{
    IdempotentHarness, RejectingHarness, Row, Shape, SinkFacets, SinkHarness, Value, ValuesHarness,
};
use tokio_postgres::types::Type;

/// A cell as the database's own client gives it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i128),
    Single(f32),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    pub(crate) fn int(&self) -> i128 {
        match self {
            Self::Int(value) => *value,
            other => panic!("an integer: {other:?}"),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("a text: {other:?}"),
        }
    }
}

/// A database of its own.
pub(crate) struct Place {
    pub(crate) config: SqlConfig,
    pub(crate) mode: Mode,
    _folder: Option<TempDir>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("test.db");
        let config = SqlConfig::from_url(&format!("sqlite:{}", path.display())).unwrap();
        Self { config, mode: Mode::Ledger, _folder: Some(folder) }
    }

    /// On the server of this kind that the tests of this process share.
    pub(crate) async fn on_shared(database: Database) -> Self {
        Self::on(SqlServer::shared(database).await.unwrap()).await
    }

    pub(crate) async fn on(server: &SqlServer) -> Self {
        let name = server.fresh_database().await.unwrap();
        let config = SqlConfig::from_url(&server.url(&name)).unwrap();
        Self { config, mode: Mode::Ledger, _folder: None }
    }

    /// The same database once more.
    pub(crate) fn again(&self) -> Self {
        Self { config: self.config.clone(), mode: self.mode, _folder: None }
    }

    /// The same with another mode of sinks.
    pub(crate) fn in_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) fn kind(&self) -> DatabaseKind {
        self.config.kind
    }

    /// Of three texts the one for this kind of database.
    pub(crate) fn of<'t>(&self, postgres: &'t str, mysql: &'t str, sqlite: &'t str) -> &'t str {
        match self.kind() {
            DatabaseKind::Postgres => postgres,
            DatabaseKind::MySql => mysql,
            _ => sqlite,
        }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        let SqlConfig { host, port, name, user, password, .. } = &self.config;
        format!("{scheme}://{user}:{}@{host}:{}/{name}", password.expose(), port.unwrap())
    }

    /// Runs a query by another client than the connector's code. Names in `"` are quoted as the database does.
    pub(crate) async fn query(&self, sql: &str) -> Vec<Vec<Cell>> {
        match self.kind() {
            DatabaseKind::Postgres => self.query_postgres(sql).await,
            DatabaseKind::MySql => self.query_mysql(&sql.replace('"', "`")).await,
            _ => {
                let connection = self.sqlite_connection();
                let mut statement = connection.prepare(sql).unwrap();
                let count = statement.column_count();
                let read = |row: &rusqlite::Row<'_>| {
                    Ok((0..count).map(|at| sqlite_cell(row.get(at).unwrap())).collect())
                };
                statement.query_map([], read).unwrap().map(Result::unwrap).collect()
            }
        }
    }

    pub(crate) fn sqlite_connection(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(&self.config.name).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        connection
    }

    async fn query_postgres(&self, sql: &str) -> Vec<Vec<Cell>> {
        let (client, connection) =
            tokio_postgres::connect(&self.url("postgres"), tokio_postgres::NoTls).await.unwrap();
        let wire = tokio::spawn(connection);
        let rows = client.query(sql, &[]).await.unwrap();
        let cell = |row: &tokio_postgres::Row, at: usize| match *row.columns()[at].type_() {
            Type::INT8 => row.get::<_, Option<i64>>(at).map_or(Cell::Null, |value| Cell::Int(value.into())),
            Type::FLOAT4 => row.get::<_, Option<f32>>(at).map_or(Cell::Null, Cell::Single),
            Type::FLOAT8 => row.get::<_, Option<f64>>(at).map_or(Cell::Null, Cell::Double),
            Type::BYTEA => row.get::<_, Option<Vec<u8>>>(at).map_or(Cell::Null, Cell::Bytes),
            _ => row.get::<_, Option<String>>(at).map_or(Cell::Null, Cell::Text),
        };
        let rows = rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect()).collect();
        drop(client);
        wire.await.unwrap().unwrap();
        rows
    }

    /// A connection of the database's own client.
    pub(crate) async fn mysql_connection(&self) -> mysql_async::Conn {
        let url = self.url("mysql");
        Box::pin(mysql_async::Conn::new(mysql_async::Opts::from_url(&url).unwrap())).await.unwrap()
    }

    async fn query_mysql(&self, sql: &str) -> Vec<Vec<Cell>> {
        let mut connection = self.mysql_connection().await;
        let rows: Vec<mysql_async::Row> = connection.exec(sql, ()).await.unwrap();
        connection.disconnect().await.unwrap();
        let cell = |value, is_bytes: bool| match value {
            mysql_async::Value::NULL => Cell::Null,
            mysql_async::Value::Int(value) => Cell::Int(value.into()),
            mysql_async::Value::UInt(value) => Cell::Int(value.into()),
            mysql_async::Value::Float(value) => Cell::Single(value),
            mysql_async::Value::Double(value) => Cell::Double(value),
            mysql_async::Value::Bytes(bytes) if is_bytes => Cell::Bytes(bytes),
            mysql_async::Value::Bytes(bytes) => Cell::Text(String::from_utf8(bytes).unwrap()),
            other => panic!("a cell: {other:?}"),
        };
        let read = |row: mysql_async::Row| {
            let binary: Vec<bool> =
                row.columns_ref().iter().map(|column| column.character_set() == 63).collect();
            row.unwrap().into_iter().zip(binary).map(|(value, is_bytes)| cell(value, is_bytes)).collect()
        };
        rows.into_iter().map(read).collect()
    }

    /// Runs a statement.
    pub(crate) async fn run(&self, sql: &str) {
        match self.kind() {
            DatabaseKind::Sqlite => self.sqlite_connection().execute_batch(sql).unwrap(),
            _ => {
                self.query(sql).await;
            }
        }
    }

    /// A table that rows are added to: its numbers keep their order.
    pub(crate) async fn make_log(&self) {
        let id = self.of(
            "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            "BIGINT AUTO_INCREMENT PRIMARY KEY",
            "INTEGER PRIMARY KEY AUTOINCREMENT",
        );
        self.run(&format!("CREATE TABLE log (id {id}, \"key\" VARCHAR(64) NOT NULL, value BIGINT NOT NULL)"))
            .await;
    }

    /// A table with a row for each key.
    pub(crate) async fn make_table(&self) {
        let own = self.own_columns();
        self.run(&format!("CREATE TABLE log (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL{own})"))
            .await;
    }

    /// What a table must have beside its columns: in the mode `upsert` versions, and a mark for what was deleted.
    pub(crate) fn own_columns(&self) -> &'static str {
        match self.mode {
            Mode::Upsert => {
                ", tidelock_attempt BIGINT NOT NULL, tidelock_sequence BIGINT NOT NULL, deleted BOOLEAN NOT NULL DEFAULT FALSE"
            }
            _ => "",
        }
    }

    pub(crate) async fn rows(&self, order: &str) -> Vec<Row> {
        let there = if self.mode == Mode::Upsert { "WHERE NOT deleted" } else { "" };
        let rows = self.query(&format!("SELECT \"key\", value FROM log {there} ORDER BY {order}")).await;
        rows.iter().map(|row| Row::new(row[0].text(), u64::try_from(row[1].int()).unwrap())).collect()
    }

    pub(crate) fn sink_config(&self) -> SqlSinkConfig {
        self.sink_config_of("log")
    }

    pub(crate) fn sink_config_of(&self, table: &str) -> SqlSinkConfig {
        let mut config = SqlSinkConfig::new(self.config.clone(), table);
        config.mode = self.mode;
        config.tombstone_column = (self.mode == Mode::Upsert).then(|| "deleted".to_owned());
        config
    }
}

/// A server that closes connections which are idle for a second.
pub(crate) fn that_is_soon_tired(database: Database) -> SqlOptions {
    let (setting, value) = match database {
        Database::Postgres => ("idle_session_timeout", 1_000),
        Database::Mariadb | Database::Mysql => ("wait_timeout", 1),
    };
    SqlOptions::new(database).with_setting(setting, value)
}

/// The harness of a suite on the server of this kind that the tests of this process share; `None` where it has no image.
pub(crate) async fn boot_on<H>(
    database: Database,
    mode: Mode,
    harness: impl AsyncFnOnce(Place) -> H,
) -> Result<Option<H>> {
    if !Database::there().contains(&database) {
        return Ok(None);
    }
    Ok(Some(harness(Place::on_shared(database).await.in_mode(mode)).await))
}

fn sqlite_cell(value: rusqlite::types::Value) -> Cell {
    match value {
        rusqlite::types::Value::Null => Cell::Null,
        rusqlite::types::Value::Integer(value) => Cell::Int(value.into()),
        rusqlite::types::Value::Real(value) => Cell::Double(value),
        rusqlite::types::Value::Text(text) => Cell::Text(text),
        rusqlite::types::Value::Blob(bytes) => Cell::Bytes(bytes),
    }
}

/// The harness of the suites of sinks.
pub(crate) struct Rows {
    pub(crate) place: Place,
    shape: Shape,
}

impl Rows {
    pub(crate) async fn log(place: Place) -> Self {
        place.make_log().await;
        Self { place, shape: Shape::Log }
    }

    pub(crate) async fn table(place: Place) -> Self {
        place.make_table().await;
        Self { place, shape: Shape::Table }
    }
}

/// Above every value of the suite, and of the column.
const BAD: u64 = 1 << 63;

#[async_trait]
impl SinkHarness for Rows {
    type Sink = SqlSink<Row>;

    async fn sink(&self) -> Result<SqlSink<Row>> {
        SqlSink::new(self.place.sink_config())
    }

    fn record(&self, row: &Row) -> Change<Row> {
        match self.shape {
            Shape::Table => Change::Upsert(row.clone()),
            _ => Change::Insert(row.clone()),
        }
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        Ok(self.place.rows(if self.shape == Shape::Table { "\"key\"" } else { "id" }).await)
    }

    fn facets(&self) -> SinkFacets<'_> {
        let facets = SinkFacets::new(self.shape);
        match self.place.mode {
            Mode::Prepared => facets.with_expiry(&self.place).with_leftovers(&self.place),
            _ => facets,
        }
    }
}

impl IdempotentHarness for Rows {
    fn delete(&self, row: &Row) -> Option<Change<Row>> {
        Some(Change::Delete(row.clone()))
    }
}

impl RejectingHarness for Rows {
    fn bad(&self, row: &Row) -> Change<Row> {
        self.record(&Row::new(&row.key, row.value | BAD))
    }

    fn row(&self, record: &Change<Row>) -> Row {
        let row = record.record();
        Row::new(&row.key, row.value & !BAD)
    }

    fn reject_to(&self, writer: &mut SqlWriter<Row>, rejects: Rejects<Change<Row>>) {
        writer.reject_to(rejects);
    }
}

/// Bytes that serde is told of as bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

/// A record with a field for each type; `kind` says which of them counts.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Flat {
    kind: &'static str,
    single: Option<f32>,
    double: Option<f64>,
    signed: Option<i64>,
    big: Option<u64>,
    text: Option<String>,
    bytes: Option<Raw>,
}

/// The harness of the suite of values.
pub(crate) struct Values(Arc<Place>);

impl Values {
    pub(crate) async fn new(place: Place) -> Self {
        let columns = place.of(
            "kind TEXT, single REAL, \"double\" DOUBLE PRECISION, signed BIGINT, big NUMERIC(20), text TEXT, bytes BYTEA",
            "kind TEXT, single FLOAT, \"double\" DOUBLE, \"signed\" BIGINT, big BIGINT UNSIGNED, text LONGTEXT, bytes LONGBLOB",
            "kind TEXT, single REAL, double REAL, signed BIGINT, big BIGINT, text TEXT, bytes BLOB",
        );
        place.run(&format!("CREATE TABLE log ({columns})")).await;
        Self(Arc::new(place))
    }
}

#[async_trait]
impl ValuesHarness for Values {
    type Sink = SqlSink<Flat>;

    async fn sink(&self) -> Result<SqlSink<Flat>> {
        SqlSink::new(self.0.sink_config())
    }

    fn record(&self, value: &Value) -> Option<Change<Flat>> {
        let flat = Flat::default();
        Some(Change::Insert(match value.clone() {
            Value::F32(value) => Flat { kind: "f32", single: Some(value), ..flat },
            Value::F64(value) => Flat { kind: "f64", double: Some(value), ..flat },
            Value::I64(value) => Flat { kind: "i64", signed: Some(value), ..flat },
            Value::U64(value) => Flat { kind: "u64", big: Some(value), ..flat },
            Value::Text(text) => Flat { kind: "text", text: Some(text), ..flat },
            Value::Bytes(bytes) => Flat { kind: "bytes", bytes: Some(Raw(bytes)), ..flat },
            Value::MaybeText(text) => Flat { kind: "maybe text", text, ..flat },
            Value::MaybeBytes(bytes) => Flat { kind: "maybe bytes", bytes: bytes.map(Raw), ..flat },
            Value::Timestamp(value) => Flat { kind: "timestamp", signed: Some(value), ..flat },
            _ => return None,
        }))
    }

    async fn visible(&self) -> Result<Vec<Value>> {
        let big = self.0.of("big::text", "CAST(big AS CHAR)", "CAST(big AS TEXT)");
        let query = format!("SELECT kind, single, \"double\", \"signed\", {big}, text, bytes FROM log");
        let value = |row: Vec<Cell>| {
            let int = || i64::try_from(row[3].int()).unwrap();
            let text = || match &row[5] {
                Cell::Null => None,
                text => Some(text.text().to_owned()),
            };
            let bytes = || match &row[6] {
                Cell::Bytes(bytes) => Some(bytes.clone()),
                _ => None,
            };
            match row[0].text() {
                "f32" => match row[1] {
                    Cell::Single(value) => Value::F32(value),
                    #[allow(clippy::cast_possible_truncation, reason = "SQLite has no narrower floats")]
                    Cell::Double(value) if f64::from(value as f32).to_bits() == value.to_bits() => {
                        Value::F32(value as f32)
                    }
                    ref other => panic!("a float of 32 bits: {other:?}"),
                },
                "f64" => match row[2] {
                    Cell::Double(value) => Value::F64(value),
                    ref other => panic!("a float: {other:?}"),
                },
                "i64" => Value::I64(int()),
                "u64" => Value::U64(row[4].text().parse().unwrap()),
                "text" => Value::Text(text().unwrap()),
                "bytes" => Value::Bytes(bytes().unwrap()),
                "maybe text" => Value::MaybeText(text()),
                "maybe bytes" => Value::MaybeBytes(bytes()),
                "timestamp" => Value::Timestamp(int()),
                other => panic!("a kind: {other}"),
            }
        };
        Ok(self.0.query(&query).await.into_iter().map(value).collect())
    }
}
