//! What a server must allow before anything is prepared on it: each fault is told with what to do about it.

use std::collections::BTreeMap;

use tidelock::{Error, ErrorKind, Result, Retry};

use crate::client::{Access, Client};
use crate::config::SqlSinkConfig;
use crate::database::SqlConfig;
use crate::error::Fault;
use crate::kind::DatabaseKind;
use crate::prepared::{detach, wire};
use crate::value::SqlValue;

const OPERATION: &str = "look whether transactions can be prepared";

const OTHER_MODE: &str = "or choose the mode `ledger`, which prepares nothing";

fn refuse(why: impl Into<String>, remedy: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Config, OPERATION, why).with("remedy", format_args!("{remedy}; {OTHER_MODE}"))
}

fn wrong(fault: Fault) -> Error {
    fault.during(OPERATION)
}

/// Looks at the server.
pub(super) async fn look(client: &mut Client, config: &SqlSinkConfig) -> Result<()> {
    let SqlSinkConfig { database: config, prepared_max, .. } = config;
    match config.kind {
        DatabaseKind::Postgres => {
            places(client, 1, u64::from(*prepared_max)).await?;
            pooler(client, config).await
        }
        DatabaseKind::MySql => {
            let found = client.query(VARIABLES, Vec::new()).await.map_err(wrong)?;
            let variables = found.rows.into_iter().filter_map(|row| match <[_; 2]>::try_from(row) {
                Ok([SqlValue::Text(name), SqlValue::Text(value)]) => Some((name, value)),
                _ => None,
            });
            check_variables(&variables.collect())?;
            if !wire::detaches(client, config.kind).await.map_err(wrong)? {
                wire::report(client).await.map(drop).map_err(detach::cannot_report)?;
            }
            Ok(())
        }
        DatabaseKind::Sqlite => Ok(()),
    }
}

/// Whether PostgreSQL has places for the writers that are known, each with so many transactions. Nobody says how many writers there
/// will be, and each change of the setting restarts the server: so the remedy says how it is reckoned.
pub(super) async fn places(client: &mut Client, writers: u64, each: u64) -> Result<()> {
    let query = "SELECT setting::bigint FROM pg_settings WHERE name = 'max_prepared_transactions'";
    let found = client.query(query, Vec::new()).await.map_err(wrong)?;
    let Some([SqlValue::I64(places)]) = found.rows.first().map(Vec::as_slice) else { return Ok(()) };
    check_places(*places, writers, each)
}

fn check_places(places: i64, writers: u64, each: u64) -> Result<()> {
    let wanted = writers.saturating_mul(each);
    if u64::try_from(places).is_ok_and(|places| places >= wanted) {
        return Ok(());
    }
    let remedy = format!(
        "let an administrator set max_prepared_transactions, once for all, and restart the server: {each} (prepared_max) for each \
         writer, of which the sink has one on each worker of the job. For this sink alone that is {wanted} or more, by the {writers} \
         of its writers that are known so far: add those that are not open yet, and those of other sinks and jobs on the server"
    );
    Err(refuse("the server has too few places for prepared transactions", remedy)
        .with("max_prepared_transactions", places)
        .with("writers", writers)
        .with("prepared_max", each))
}

/// A pooler that gives one connection of the server to several of its clients, from one transaction to the next, can be told by
/// two clients that meet the same one. Where they do not, nothing is proven.
async fn pooler(client: &mut Client, config: &SqlConfig) -> Result<()> {
    let mut other = Client::connect(config, Access::Write).await?;
    let ours = backend(client).await?;
    other.run("BEGIN").await.map_err(wrong)?;
    let theirs = backend(&mut other).await?;
    let ours_again = backend(client).await?;
    other.run("ROLLBACK").await.map_err(wrong)?;
    check_backends(&ours, &theirs, &ours_again)
}

async fn backend(client: &mut Client) -> Result<Option<SqlValue>> {
    // Not prepared: another connection of the server does not know what was prepared on the last one.
    let found = client.run("SELECT pg_backend_pid()").await.map_err(wrong)?;
    Ok(found.rows.into_iter().next().and_then(|row| row.into_iter().next()))
}

fn check_backends(
    ours: &Option<SqlValue>,
    theirs: &Option<SqlValue>,
    ours_again: &Option<SqlValue>,
) -> Result<()> {
    if ours == ours_again && ours != theirs {
        return Ok(());
    }
    Err(refuse(
        "a pooler stands before the server and gives its connections to several clients at once, so that the session's settings are lost",
        "connect to the server itself, or let the pooler pool sessions (PgBouncer: pool_mode = session)",
    ))
}

const VARIABLES: &str = "SHOW VARIABLES WHERE Variable_name IN \
     ('wsrep_on', 'transaction_isolation', 'tx_isolation', 'log_bin', 'binlog_format')";

fn check_variables(variables: &BTreeMap<String, String>) -> Result<()> {
    let is =
        |name: &str, value: &str| variables.get(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
    if is("wsrep_on", "ON") {
        return Err(refuse(
            "the server is a node of a Galera cluster, which refuses XA",
            "use a server that is none",
        ));
    }
    if is("log_bin", "ON") && is("binlog_format", "STATEMENT") {
        let why =
            "the server's binlog has statements, which it refuses to write at the isolation READ COMMITTED";
        return Err(refuse(why, "let an administrator set binlog_format to ROW or MIXED"));
    }
    // The name is an older one on MariaDB.
    let isolation = variables.get("transaction_isolation").or(variables.get("tx_isolation"));
    if isolation.is_some_and(|isolation| !isolation.eq_ignore_ascii_case("READ-COMMITTED")) {
        let why = "the session does not have the isolation that was set: somebody between us and the server keeps it back";
        return Err(refuse(why, "connect to the server itself")
            .with("isolation", isolation.map_or("unknown", String::as_str)));
    }
    Ok(())
}

/// The error of a server that does not show what is prepared.
pub(super) fn cannot_list(fault: Fault) -> Error {
    // MySQL says the right that is missing in a warning alone.
    if fault.code == "1401" {
        return Error::new(ErrorKind::Auth, OPERATION, fault.message)
            .with_retry(Retry::Halt)
            .with("code", fault.code)
            .with("remedy", "let an administrator grant it: GRANT XA_RECOVER_ADMIN ON *.* TO our user");
    }
    wrong(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_a_server_must_not_be_is_told_with_what_to_do() {
        let good = [("log_bin", "ON"), ("binlog_format", "MIXED"), ("tx_isolation", "READ-COMMITTED")];
        assert!(check_variables(&variables(&good)).is_ok() && check_variables(&variables(&[])).is_ok());
        for (wrong, told) in [
            (("wsrep_on", "ON"), "Galera"),
            (("binlog_format", "STATEMENT"), "binlog_format"),
            (("tx_isolation", "REPEATABLE-READ"), "isolation"),
            (("transaction_isolation", "SERIALIZABLE"), "isolation"),
        ] {
            let mut all = variables(&good);
            all.insert(wrong.0.into(), wrong.1.into());
            let error = check_variables(&all).expect_err(told);
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt));
            assert!(error.to_string().contains(told) && error.to_string().contains("remedy="), "{error}");
        }
    }

    #[test]
    fn places_are_asked_for_once_with_how_they_are_reckoned() {
        assert!(check_places(8, 2, 4).is_ok() && check_places(64, 1, 4).is_ok());
        for (places, writers, wanted) in [(0, 1, "4 or more"), (3, 1, "4 or more"), (7, 2, "8 or more")] {
            let error = check_places(places, writers, 4).expect_err(wanted);
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt));
            let told = error.to_string();
            for part in
                [wanted, "4 (prepared_max) for each writer", "this sink alone", "other sinks and jobs"]
            {
                assert!(told.contains(part), "{part}: {told}");
            }
        }
    }

    #[test]
    fn a_pooler_is_told_where_two_clients_meet_one_backend() {
        let pid = |pid| Some(SqlValue::I64(pid));
        assert!(check_backends(&pid(1), &pid(2), &pid(1)).is_ok());
        assert!(check_backends(&pid(1), &pid(1), &pid(2)).is_err(), "one for both");
        assert!(check_backends(&pid(1), &pid(2), &pid(3)).is_err(), "another one each time");
    }
}
