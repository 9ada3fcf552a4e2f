//! PostgreSQL, by `tokio-postgres`.

mod values;

use std::collections::HashMap;
use std::error::Error as _;
use std::io;

use async_trait::async_trait;
use futures::{TryStreamExt as _, pin_mut};
use tidelock::{Error, ErrorKind, Result};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, Socket, Statement};

use self::values::NoForm;
use super::tls::Rustls;
use super::trust;
use super::{Connection, Intake, Rows, STATEMENTS_KEPT};
use crate::database::SqlConfig;
use crate::error::{Class, Fault, TRIGGER_REFUSES, is_raised, postgres_class};
use crate::value::SqlValue;

struct Postgres {
    client: Client,
    /// Statements by their text, the latest last. Those that are dropped are closed at the server.
    statements: HashMap<String, Statement>,
    /// Ends the task that speaks with the server, also where the server does not answer.
    wire: AbortHandle,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.wire.abort();
    }
}

/// What is said of every connection. A commit that was answered survives a crash of the server: where the server's own setting is
/// less, the ledger's row could be lost with the rows after the job's log has forgotten them.
fn settings(config: &SqlConfig) -> String {
    let timeout = config.statement_timeout_ms;
    format!(
        "SET statement_timeout = {timeout}; SET lock_timeout = {timeout}; \
         SET idle_in_transaction_session_timeout = {idle}; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; \
         SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 3; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        idle = config.idle_in_transaction().as_millis(),
    )
}

pub(super) async fn connect(config: &SqlConfig) -> Result<Box<dyn Connection>> {
    let mut wanted = Config::new();
    wanted
        .user(&config.user)
        .dbname(&config.name)
        .application_name("tidelock")
        .connect_timeout(config.connect_timeout())
        .keepalives(true)
        .keepalives_idle(std::time::Duration::from_secs(30))
        .ssl_mode(if config.verifies() { SslMode::Require } else { SslMode::Disable });
    if config.host.starts_with('/') {
        wanted.host_path(&config.host);
    } else {
        wanted.host(&config.host);
    }
    if let Some(port) = config.port {
        wanted.port(port);
    }
    if !config.password.is_empty() {
        wanted.password(config.password.expose());
    }
    let connection = if config.verifies() {
        let config = config.clone();
        let tls = spawn_blocking(move || Rustls::new(&config)).await;
        let tls =
            tls.map_err(|_| Error::new(ErrorKind::Bug, "set up TLS", "reading certificates panicked"))??;
        open(&wanted, tls).await
    } else {
        open(&wanted, NoTls).await
    };
    let connection = connection.map_err(|error| fault(&error).during("connect"))?;
    connection
        .client
        .batch_execute(&settings(config))
        .await
        .map_err(|error| fault(&error).during("connect"))?;
    Ok(Box::new(connection))
}

async fn open<T>(wanted: &Config, tls: T) -> Result<Postgres, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket> + Send,
    T::Stream: TlsStream + Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = wanted.connect(tls).await?;
    let wire = tokio::spawn(async move {
        // Whoever waits for an answer is told the same.
        let _ended = connection.await;
    });
    Ok(Postgres { client, statements: HashMap::new(), wire: wire.abort_handle() })
}

impl Postgres {
    async fn prepared(&mut self, text: &str) -> Result<Statement, Fault> {
        if let Some(statement) = self.statements.get(text) {
            return Ok(statement.clone());
        }
        if self.statements.len() == STATEMENTS_KEPT {
            // There are few shapes, so this is as good as any order, and it is bounded.
            self.statements.clear();
        }
        let statement = self.client.prepare(text).await.map_err(|error| fault(&error))?;
        self.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

fn parameters(values: &[SqlValue]) -> impl ExactSizeIterator<Item = &(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync))
}

#[async_trait]
impl Connection for Postgres {
    async fn run(&mut self, statement: &str) -> Result<Rows, Fault> {
        let answers = self.client.simple_query(statement).await.map_err(|error| fault(&error))?;
        let text = |text: Option<&str>| text.map_or(SqlValue::Null, |text| SqlValue::Text(text.to_owned()));
        let row = |answer: &SimpleQueryMessage| match answer {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| text(row.get(at))).collect()),
            _ => None,
        };
        Ok(Rows { rows: answers.iter().filter_map(row).collect(), ..Rows::default() })
    }

    async fn execute(&mut self, statement: &str, values: Vec<SqlValue>) -> Result<u64, Fault> {
        let statement = self.prepared(statement).await?;
        self.client.execute_raw(&statement, parameters(&values)).await.map_err(|error| fault(&error))
    }

    async fn query(&mut self, query: &str, values: Vec<SqlValue>, bytes_max: usize) -> Result<Rows, Fault> {
        let statement = self.prepared(query).await?;
        let names: Vec<String> = statement.columns().iter().map(|column| column.name().to_owned()).collect();
        let count = names.len();
        let found =
            self.client.query_raw(&statement, parameters(&values)).await.map_err(|error| fault(&error))?;
        pin_mut!(found);
        let mut rows = Intake::new(names, bytes_max);
        while let Some(row) = found.try_next().await.map_err(|error| fault(&error))? {
            let read = |at: usize| {
                row.try_get::<_, SqlValue>(at).map_err(|error| {
                    let column = &row.columns()[at];
                    // Other words of the client may have the value in them.
                    let why = match error.source().and_then(|why| why.downcast_ref::<NoForm>()) {
                        Some(no_form) => no_form.to_string(),
                        None => format!("values of type {} cannot be read", column.type_()),
                    };
                    Fault::new(Class::Violation, "", format!("column {}: {why}", column.name()))
                })
            };
            // What follows on the wire is passed over before the next answer.
            if !rows.take((0..count).map(read).collect::<Result<_, _>>()?) {
                break;
            }
        }
        Ok(rows.rows())
    }
}

/// The server's detail may be a whole row, and the client's words have it in them: neither is passed on.
fn fault(error: &tokio_postgres::Error) -> Fault {
    if let Some(reported) = error.as_db_error() {
        let code = reported.code().code();
        let class = match reported.routine() {
            // A table was altered under a prepared statement: a connection that prepares anew does not know of it.
            Some("RevalidateCachedQuery") => Class::Gone,
            _ => postgres_class(code),
        };
        // Some messages of data quote the value.
        let message = match (class, code.get(..2)) {
            (Class::Violation, Some("22")) => match reported.column() {
                Some(column) => format!("a value does not fit column {column}"),
                None => "a value does not fit its column".to_owned(),
            },
            (Class::Violation, _) if is_raised(code) => TRIGGER_REFUSES.to_owned(),
            _ => reported.message().to_owned(),
        };
        let constraint = reported.constraint().map(str::to_owned);
        // No rule of pg_hba.conf fits.
        let wants_tls = code == "28000" && message.ends_with("no encryption");
        let remedy = wants_tls.then_some(trust::WANTED);
        return Fault { constraint, remedy, ..Fault::new(class, code, message) };
    }
    let source = error.source();
    let text = match source {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    match source.and_then(|cause| cause.downcast_ref::<io::Error>()) {
        Some(cause) => trust::untrusted(cause).unwrap_or_else(|| Fault::gone(text)),
        None if error.is_closed() || text.starts_with("timeout") => Fault::gone(text),
        None if text.ends_with("server does not support TLS") => trust::not_offered(),
        None if text.starts_with("error serializing") => {
            Fault::new(Class::Violation, "", "a value has no form in the type of its place")
        }
        None if text.starts_with("authentication") || text.starts_with("invalid configuration") => {
            Fault::new(Class::Refused, "", text)
        }
        None => Fault::new(Class::Other, "", error.to_string()),
    }
}
