//! MySQL and MariaDB, by `mysql_async`.

use std::time::Duration;

use async_trait::async_trait;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Column, Conn, DriverError, IoError, OptsBuilder, Params, SslOpts, Value};
use tidelock::{Error, ErrorKind, Result};
use tokio::task::spawn_blocking;

use super::trust::{self, authorities};
use super::{Connection, Intake, Rows, STATEMENTS_KEPT};
use crate::database::SqlConfig;
use crate::dialect::Dialect;
use crate::error::{Class, Fault, TRIGGER_REFUSES, mysql_class};
use crate::kind::DatabaseKind;
use crate::value::{SqlValue, plain_text};

/// The collation of bytes that are no text.
const BINARY: u16 = 63;

/// `require_secure_transport` is on, and the connection is not encrypted.
const TLS_WANTED: u16 = 3159;

/// The password is wrong; MariaDB says the same of a connection that is not encrypted and should be.
const DENIED: &str = "1045";

/// How a query is compared with: what a server may change, silently.
const MODES: &str = "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,\
                     NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO";

/// What a value has around it in a packet, and more.
const AROUND_VALUE: u64 = 1_024;

struct MySql {
    connection: Conn,
    /// How many bytes a value may have: the client closes the connection where one has more.
    value_max: u64,
}

pub(super) async fn connect(config: &SqlConfig) -> Result<Box<dyn Connection>> {
    let mut options = OptsBuilder::default()
        .user(Some(config.user.as_str()))
        .db_name(Some(config.name.as_str()))
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .tcp_nodelay(true)
        // Where the connection goes is said, and not found out there.
        .prefer_socket(false)
        .stmt_cache_size(STATEMENTS_KEPT)
        // An update of a row that is as it should be has met it.
        .client_found_rows(true)
        .setup(settings(config));
    options = if config.host.starts_with('/') {
        options.socket(Some(config.host.as_str()))
    } else {
        options.ip_or_hostname(config.host.as_str())
    };
    if let Some(port) = config.port {
        options = options.tcp_port(port);
    }
    if !config.password.is_empty() {
        options = options.pass(Some(config.password.expose()));
    }
    if config.verifies() {
        options = options.ssl_opts(tls(config).await?);
    }
    let connected = async {
        let mut connection = Conn::new(options).await?;
        let about: Option<mysql_async::Row> =
            connection.query_first("SELECT VERSION(), CAST(@@max_allowed_packet AS UNSIGNED)").await?;
        let (version, packet_max) = about.map_or((String::new(), u64::MAX), |row| about_server(&row));
        if version.contains("MariaDB") {
            // In seconds. MySQL has such a bound for queries alone: there we close the connection.
            let seconds = config.statement_timeout_ms.div_ceil(1000);
            connection.query_drop(format!("SET SESSION max_statement_time = {seconds}")).await?;
        }
        Ok(MySql { connection, value_max: packet_max.saturating_sub(AROUND_VALUE) })
    };
    // A future of this library is large.
    let connection = Box::pin(connected).await.map_err(|error| {
        let mut fault = fault(error);
        if fault.code == DENIED && !config.verifies() {
            fault.remedy = Some(trust::PERHAPS_WANTED);
        }
        fault.during("connect")
    })?;
    Ok(Box::new(connection))
}

/// The version, and how large a packet may be. Whoever stands between us and the server may answer anything.
fn about_server(row: &mysql_async::Row) -> (String, u64) {
    let version = row.get_opt(0).and_then(Result::ok).unwrap_or_default();
    (version, row.get_opt(1).and_then(Result::ok).unwrap_or(u64::MAX))
}

/// What is said of every connection.
///
/// `wait_timeout`: a process that is paused in the middle of a transaction, or cut off, holds what it locked, such as the ledger's row,
/// until the server ends its connection, which by default is after eight hours. Connections of ours that are idle are closed before.
fn settings(config: &SqlConfig) -> Vec<String> {
    let seconds = config.statement_timeout_ms.div_ceil(1000).max(1);
    vec![
        "SET NAMES utf8mb4".into(),
        format!(
            "SET SESSION sql_mode = '{MODES}', autocommit = 1, time_zone = '+00:00', innodb_lock_wait_timeout = {seconds}"
        ),
        Dialect::of(DatabaseKind::MySql).idle_at_most(config.idle_in_transaction()),
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".into(),
    ]
}

/// Trusts those of the file, or those of the operating system; and not a list that was compiled in.
async fn tls(config: &SqlConfig) -> Result<SslOpts> {
    // The library takes the provider of the process. Where there is one already, it is the user's.
    let _there_is_one = rustls::crypto::ring::default_provider().install_default();
    let config = config.clone();
    let load = spawn_blocking(move || authorities(&config)).await;
    let found =
        load.map_err(|_| Error::new(ErrorKind::Bug, "set up TLS", "reading certificates panicked"))??;
    let roots = found.into_iter().map(|certificate| certificate.as_ref().to_vec().into()).collect();
    Ok(SslOpts::default().with_disable_built_in_roots(true).with_root_certs(roots))
}

fn parameters(values: Vec<SqlValue>) -> Params {
    if values.is_empty() {
        Params::Empty
    } else {
        Params::Positional(values.into_iter().map(written).collect())
    }
}

#[async_trait]
impl Connection for MySql {
    async fn run(&mut self, statement: &str) -> Result<Rows, Fault> {
        let mut result = self.connection.query_iter(statement).await.map_err(fault)?;
        let found: Vec<mysql_async::Row> = result.collect().await.map_err(fault)?;
        result.drop_result().await.map_err(fault)?;
        let raw = |value| match value {
            Value::Bytes(bytes) => SqlValue::Bytes(bytes),
            _ => SqlValue::Null,
        };
        let rows = found.into_iter().map(|row| row.unwrap().into_iter().map(raw).collect());
        Ok(Rows { rows: rows.collect(), ..Rows::default() })
    }

    async fn execute(&mut self, statement: &str, values: Vec<SqlValue>) -> Result<u64, Fault> {
        if values.iter().any(|value| value.weight() as u64 > self.value_max) {
            return Err(too_large());
        }
        self.connection.exec_drop(statement, parameters(values)).await.map_err(fault)?;
        Ok(self.connection.affected_rows())
    }

    async fn query(&mut self, query: &str, values: Vec<SqlValue>, bytes_max: usize) -> Result<Rows, Fault> {
        let mut result = self.connection.exec_iter(query, parameters(values)).await.map_err(fault)?;
        let name = |column: &Column| column.name_str().into_owned();
        let names = result.columns_ref().iter().map(name).collect();
        let unordered = result.columns_ref().iter().filter(|column| is_unordered(column)).map(name).collect();
        let mut rows = Intake::new(names, bytes_max);
        while let Some(row) = result.next().await.map_err(fault)? {
            let described = row.columns();
            let read = |(column, value)| {
                read(column, value).ok_or_else(|| {
                    let why = format!(
                        "column {}: values of type {:?} cannot be read",
                        column.name_str(),
                        column.column_type()
                    );
                    Fault::new(Class::Violation, "", why)
                })
            };
            let row = described.iter().zip(row.unwrap()).map(read).collect::<Result<_, _>>()?;
            if !rows.take(row) {
                break;
            }
        }
        // What follows on the wire is passed over.
        result.drop_result().await.map_err(fault)?;
        Ok(Rows { unordered, ..rows.rows() })
    }
}

/// Enums and sets are put in order by their numbers, and bits as bytes; with a text they are compared as texts, and as numbers.
fn is_unordered(column: &Column) -> bool {
    use ColumnType as T;
    column.flags().intersects(ColumnFlags::ENUM_FLAG | ColumnFlags::SET_FLAG)
        || matches!(column.column_type(), T::MYSQL_TYPE_ENUM | T::MYSQL_TYPE_SET | T::MYSQL_TYPE_BIT)
}

/// A value as the library takes it.
fn written(value: SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::NULL,
        SqlValue::Bool(value) => Value::Int(value.into()),
        SqlValue::I64(value) => Value::Int(value),
        SqlValue::U64(value) => Value::UInt(value),
        SqlValue::F64(value) => Value::Double(value),
        SqlValue::Text(text) | SqlValue::Decimal(text) | SqlValue::Json(text) => {
            Value::Bytes(text.into_bytes())
        }
        SqlValue::Bytes(bytes) => Value::Bytes(bytes),
        SqlValue::Date(date) => written_time(DateTime::from_parts(date, Time::midnight())),
        SqlValue::Timestamp(time) => written_time(time),
        SqlValue::Moment(moment) => written_time(TimeZone::UTC.to_datetime(moment)),
        other => Value::Bytes(plain_text(&other).into_bytes()),
    }
}

fn written_time(time: DateTime) -> Value {
    let small = |part: i8| u8::try_from(part).unwrap_or(0);
    let micros = u32::try_from(time.subsec_nanosecond() / 1_000).unwrap_or(0);
    // Years of 1 to 9999 are all that goes into a column.
    let year = u16::try_from(time.year()).unwrap_or(0);
    let (hour, minute, second) = (small(time.hour()), small(time.minute()), small(time.second()));
    Value::Date(year, small(time.month()), small(time.day()), hour, minute, second, micros)
}

/// A value as the column says what it is. `None` for one that no value of ours is.
fn read(column: &Column, value: Value) -> Option<SqlValue> {
    use ColumnType as T;
    Some(match value {
        Value::NULL => SqlValue::Null,
        Value::Int(value) => SqlValue::I64(value),
        Value::UInt(value) => value.into(),
        Value::Float(value) => SqlValue::F64(value.into()),
        Value::Double(value) => SqlValue::F64(value),
        Value::Date(year, month, day, hour, minute, second, micros) => {
            let small = |part: u8| i8::try_from(part).ok();
            let date = Date::new(i16::try_from(year).ok()?, small(month)?, small(day)?).ok()?;
            let nanos = i32::try_from(micros).ok()? * 1_000;
            let time = Time::new(small(hour)?, small(minute)?, small(second)?, nanos).ok()?;
            let time = DateTime::from_parts(date, time);
            match column.column_type() {
                T::MYSQL_TYPE_DATE | T::MYSQL_TYPE_NEWDATE => SqlValue::Date(date),
                // The session's zone is UTC.
                T::MYSQL_TYPE_TIMESTAMP | T::MYSQL_TYPE_TIMESTAMP2 => {
                    SqlValue::Moment(TimeZone::UTC.to_timestamp(time).ok()?)
                }
                _ => SqlValue::Timestamp(time),
            }
        }
        // A duration of more than a day, or less than nothing, is no time.
        Value::Time(false, 0, hour, minute, second, micros) => {
            let small = |part: u8| i8::try_from(part).ok();
            let nanos = i32::try_from(micros).ok()? * 1_000;
            SqlValue::Time(Time::new(small(hour)?, small(minute)?, small(second)?, nanos).ok()?)
        }
        Value::Time(..) => return None,
        Value::Bytes(bytes) => match column.column_type() {
            T::MYSQL_TYPE_DECIMAL | T::MYSQL_TYPE_NEWDECIMAL => {
                SqlValue::Decimal(String::from_utf8(bytes).ok()?)
            }
            T::MYSQL_TYPE_JSON => SqlValue::Json(String::from_utf8(bytes).ok()?),
            _ if column.character_set() == BINARY && column.flags().contains(ColumnFlags::BINARY_FLAG) => {
                SqlValue::Bytes(bytes)
            }
            _ => SqlValue::Text(String::from_utf8(bytes).ok()?),
        },
    })
}

/// The server's messages about data quote the value: these have words of ours. That of a duplicate quotes the key alone.
fn fault(error: mysql_async::Error) -> Fault {
    match error {
        mysql_async::Error::Server(reported) => {
            let class = match &*reported.state {
                // A trigger that signals: it may choose any number.
                "45000" => Class::Violation,
                _ => mysql_class(reported.code),
            };
            let named = |after: &str| {
                let (_, rest) = reported.message.rsplit_once(after)?;
                rest.split('\'').next().map(str::to_owned)
            };
            let (constraint, message) = match (class, reported.code) {
                (Class::Violation, 1022 | 1062 | 1169 | 1586 | 1761 | 1762) => {
                    (named("for key '"), "a row with this key is there already".to_owned())
                }
                (Class::Violation, 1216 | 1217 | 1451 | 1452 | 1557) => {
                    let constraint = reported
                        .message
                        .split_once("CONSTRAINT `")
                        .and_then(|(_, rest)| rest.split('`').next());
                    (constraint.map(str::to_owned), "a foreign key is violated".to_owned())
                }
                // "Check constraint 'c' is violated.", "CONSTRAINT `c` failed for `d`.`t`"
                (Class::Violation, 3819 | 4025) => {
                    let constraint = reported.message.split(['\'', '`']).nth(1);
                    (constraint.map(str::to_owned), "a check is violated".to_owned())
                }
                (Class::Violation, 1048 | 1364 | 1406 | 1264 | 1265) => {
                    let column = reported.message.split('\'').nth(1).unwrap_or("?");
                    (None, format!("a value does not fit column {column}"))
                }
                (Class::Violation, 1292 | 1366) => {
                    let column = named("for column ").or_else(|| named("column '")).unwrap_or_default();
                    let column = column
                        .trim_matches(['`', ' '])
                        .split(" at row")
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                    (None, format!("a value does not fit column {column}"))
                }
                (Class::Violation, _) if reported.state == "45000" => (None, TRIGGER_REFUSES.to_owned()),
                (Class::Violation, _) => (None, "a value does not fit its column".to_owned()),
                _ => (None, reported.message.clone()),
            };
            let remedy = (reported.code == TLS_WANTED).then_some(trust::WANTED);
            Fault { constraint, remedy, ..Fault::new(class, reported.code.to_string(), message) }
        }
        mysql_async::Error::Io(IoError::Tls(error)) => {
            Fault::new(Class::Refused, "", format!("TLS: {error}"))
        }
        mysql_async::Error::Io(IoError::Io(error)) => {
            trust::untrusted(&error).unwrap_or_else(|| Fault::gone(error.to_string()))
        }
        mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => trust::not_offered(),
        mysql_async::Error::Driver(DriverError::StmtParamsMismatch { .. }) => {
            Fault::new(Class::Impossible, "", "the statement wants another number of values")
        }
        mysql_async::Error::Driver(DriverError::PacketTooLarge) => too_large(),
        // What the library cannot make sense of leaves the connection in no known state. Its words may have values in them.
        mysql_async::Error::Driver(_) => {
            Fault::gone("the connection is closed, or does not speak this protocol")
        }
        mysql_async::Error::Other(_) | mysql_async::Error::Url(_) => {
            Fault::new(Class::Other, "", "the client failed")
        }
    }
}

fn too_large() -> Fault {
    Fault::new(Class::Violation, "", "a value is larger than the server's max_allowed_packet")
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    fn reported(code: u16, message: &str) -> Fault {
        fault(mysql_async::Error::Server(ServerError {
            code,
            message: message.into(),
            state: "23000".into(),
        }))
    }

    #[test]
    fn a_violation_names_its_constraint_and_no_value() {
        for (code, message, constraint) in [
            (1062, "Duplicate entry 's3cret-'x' for key 'orders.PRIMARY'", Some("orders.PRIMARY")),
            (
                1452,
                "Cannot add or update a child row: a foreign key constraint fails (`d`.`t`, CONSTRAINT `fk` FOREIGN KEY (`a`))",
                Some("fk"),
            ),
            (3819, "Check constraint 'positive' is violated.", Some("positive")),
            (4025, "CONSTRAINT `positive` failed for `d`.`t`", Some("positive")),
            (1366, "Incorrect string value: 's3cret' for column `d`.`t`.`name` at row 1", None),
            (1292, "Incorrect datetime value: 's3cret' for column 'at' at row 1", None),
            (1644, "s3cret", None),
        ] {
            let fault = reported(code, message);
            assert_eq!(
                (fault.class, fault.constraint.as_deref()),
                (Class::Violation, constraint),
                "{message}"
            );
            assert!(!fault.message.contains("s3cret"), "{}", fault.message);
        }
        assert_eq!(
            reported(1406, "Data too long for column 'name' at row 1").message,
            "a value does not fit column name"
        );
    }
}
