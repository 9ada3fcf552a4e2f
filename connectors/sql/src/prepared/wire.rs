//! What is said to a server about prepared transactions: PostgreSQL's own statements, and XA for MySQL and MariaDB.
//!
//! The traps that this knows, each of which has a test:
//!
//! - `PREPARE TRANSACTION` of a transaction that had failed answers well: it was rolled back. So the list is asked whether it is
//!   there.
//! - After an `XA START` that failed each statement would commit by itself. So a writer whose start failed writes nothing.
//! - MariaDB does not let anybody else end a prepared transaction while the connection that prepared it is open, and says 1397,
//!   as it does of one that never was. So that connection is closed, and 1397 alone proves nothing.
//! - MariaDB lets a closed connection's transaction go in two steps: first its list of names, a moment later InnoDB. In between a
//!   commit or a rollback by another connection answers well, does nothing, and takes the name from the list: the rows stay locked
//!   until the server is started again. So it is waited for the second step, which only InnoDB's report of its state shows, and
//!   a commit is believed when its row is there. MySQL does both within `XA PREPARE`, where `xa_detach_on_prepare` is on.
//! - XA's list has the names of everybody on the server, and they are bytes.

use crate::client::Client;
use crate::dialect::Dialect;
use crate::error::{Class, Fault};
use crate::kind::DatabaseKind;
use crate::prepared::name::{FORMAT_ID, TransactionName};
use crate::value::SqlValue;

/// What a server has prepared.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// What sinks like ours prepared.
    pub(super) ours: Vec<TransactionName>,
    /// How many others there are.
    pub(super) others: usize,
}

/// Everything that is prepared: on PostgreSQL in this database, by XA on the whole server.
pub(super) async fn list(client: &mut Client, kind: DatabaseKind) -> Result<Listing, Fault> {
    let names: Vec<Option<TransactionName>> = match kind {
        DatabaseKind::Postgres => {
            let query =
                "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared";
            let rows = client.query(query, Vec::new()).await?.rows;
            rows.iter().map(|row| TransactionName::parse(text(row.first())?)).collect()
        }
        DatabaseKind::MySql => {
            let rows = client.run("XA RECOVER").await?.rows;
            rows.iter().map(|row| recovered(row)).collect()
        }
        DatabaseKind::Sqlite => Vec::new(),
    };
    let all = names.len();
    let ours: Vec<_> = names.into_iter().flatten().collect();
    Ok(Listing { others: all - ours.len(), ours })
}

fn text(value: Option<&SqlValue>) -> Option<&str> {
    match value? {
        SqlValue::Text(text) => Some(text),
        SqlValue::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// A row of `XA RECOVER`: the scheme, the lengths of both parts of the name, and both parts in one.
fn recovered(row: &[SqlValue]) -> Option<TransactionName> {
    let number = |at: usize| text(row.get(at))?.parse::<usize>().ok();
    let (format, gtrid, bqual) = (number(0)?, number(1)?, number(2)?);
    let SqlValue::Bytes(name) = row.get(3)? else { return None };
    if format != FORMAT_ID as usize || gtrid.checked_add(bqual)? != name.len() {
        return None;
    }
    let (gtrid, bqual) = name.split_at(gtrid);
    TransactionName::parse_xa(gtrid, bqual)
}

/// Begins a transaction that can be prepared under this name.
pub(super) async fn begin(
    client: &mut Client,
    dialect: &Dialect,
    name: &TransactionName,
) -> Result<(), Fault> {
    match dialect.kind {
        DatabaseKind::MySql => client.run(&format!("XA START {}", name.xid())).await.map(drop),
        _ => client.run(dialect.begin).await.map(drop),
    }
}

/// Prepares what is begun: it outlives the connection, and the server.
pub(super) async fn prepare(
    client: &mut Client,
    kind: DatabaseKind,
    name: &TransactionName,
) -> Result<(), Fault> {
    if kind == DatabaseKind::MySql {
        return end_branch(client, name, "PREPARE").await;
    }
    client.run(&format!("PREPARE TRANSACTION '{name}'")).await?;
    let query = "SELECT gid FROM pg_prepared_xacts WHERE gid = $1 AND database = current_database()";
    let found = client.query(query, vec![SqlValue::Text(name.to_string())]).await?;
    if found.rows.is_empty() {
        let why =
            "the server rolled the transaction back instead of preparing it: a statement in it had failed";
        return Err(Fault::new(Class::Other, "", why));
    }
    Ok(())
}

/// Takes back what is begun and not prepared: the connection can be used again.
pub(super) async fn discard(
    client: &mut Client,
    kind: DatabaseKind,
    name: &TransactionName,
) -> Result<(), Fault> {
    if kind == DatabaseKind::MySql {
        return end_branch(client, name, "ROLLBACK").await;
    }
    client.run("ROLLBACK").await.map(drop)
}

/// Ends a branch on the connection that began it: XA takes nothing more into it, and then does what the word says.
async fn end_branch(client: &mut Client, name: &TransactionName, word: &str) -> Result<(), Fault> {
    let xid = name.xid();
    client.run(&format!("XA END {xid}")).await?;
    client.run(&format!("XA {word} {xid}")).await.map(drop)
}

/// Whether a prepared transaction leaves its connection when it is prepared, and not when that is closed.
pub(super) async fn detaches(client: &mut Client, kind: DatabaseKind) -> Result<bool, Fault> {
    if kind != DatabaseKind::MySql {
        return Ok(true);
    }
    let found = client.query("SHOW VARIABLES LIKE 'xa_detach_on_prepare'", Vec::new()).await?;
    let on = found.rows.first().and_then(|row| text(row.get(1))).is_some_and(|value| value == "ON");
    Ok(on)
}

/// What InnoDB reports of its transactions. It is the state of this moment, unlike the table `INNODB_TRX`.
pub(super) async fn report(client: &mut Client) -> Result<Report, Fault> {
    let found = client.run("SHOW ENGINE INNODB STATUS").await?;
    let status = found.rows.first().and_then(|row| match row.get(2)? {
        SqlValue::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    });
    Ok(Report(status.unwrap_or_default()))
}

/// InnoDB's report.
pub(super) struct Report(String);

impl Report {
    /// The connections that have a prepared transaction, with what is said of them: number, host and user. `None` where the report is cut
    /// off, so that some may be missing.
    pub(super) fn holders(&self) -> Option<Vec<(u64, &str)>> {
        if self.0.contains("truncated") {
            return None;
        }
        let prepared = self.0.split("---TRANSACTION ").filter(|one| one.contains("(PREPARED)"));
        let holder = |one: &'_ str| -> Option<(u64, usize)> {
            let (before, rest) = one.split_once(" thread id ")?;
            let number = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
            Some((number.parse().ok()?, before.len()))
        };
        let line = |one: &'_ str, at: usize| one[at..].lines().next().map_or(0, str::len);
        Some(
            prepared
                .filter_map(|one| {
                    let (number, at) = holder(one)?;
                    Some((number, &one[at..at + line(one, at)]))
                })
                .collect(),
        )
    }
}

/// How a prepared transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    Rollback,
}

/// Ends a prepared transaction, from any connection that has nothing begun.
pub(super) async fn end(
    client: &mut Client,
    kind: DatabaseKind,
    name: &TransactionName,
    how: End,
) -> Result<(), Fault> {
    let word = if how == End::Commit { "COMMIT" } else { "ROLLBACK" };
    let statement = match kind {
        DatabaseKind::MySql => format!("XA {word} {}", name.xid()),
        _ => format!("{word} PREPARED '{name}'"),
    };
    client.run(&statement).await.map(drop)
}

/// Whether an error of the end of a transaction leaves open what became of it: it is not there, or somebody else has it now. What
/// is true is then found by looking.
pub(super) fn is_open_question(fault: &Fault) -> bool {
    // PostgreSQL: no such transaction; busy with another session. XA: no such transaction, or its connection is open.
    matches!(fault.code.as_str(), "42704" | "55000" | "1397")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(format: &str, gtrid: &str, bqual: &str, name: &[u8]) -> Vec<SqlValue> {
        let mut row: Vec<_> = [format, gtrid, bqual].map(|text| SqlValue::Bytes(text.into())).into();
        row.push(SqlValue::Bytes(name.to_vec()));
        row
    }

    #[test]
    fn innodb_says_which_connections_hold_what_they_prepared() {
        let report = |text: &str| Report(text.into());
        let status = "TRANSACTIONS\n---TRANSACTION 77, ACTIVE (PREPARED) 0 sec\n1 lock struct(s)\n\
                      MariaDB thread id 9, OS thread handle 140, query id 5 127.0.0.1 shop cleaning up\n\
                      ---TRANSACTION 78, ACTIVE (PREPARED) 3 sec recovered trx\n1 lock struct(s)\n\
                      ---TRANSACTION 79, ACTIVE 3 sec\nMySQL thread id 10, OS thread handle 1, query id 6 localhost shop\n";
        let found = report(status);
        let holders = found.holders().expect("whole");
        assert_eq!(holders.len(), 1);
        assert!(holders[0].0 == 9 && holders[0].1.contains(" shop"), "{holders:?}");
        assert!(report("").holders().is_some_and(|holders| holders.is_empty()));
        assert!(report(&format!("{status}\n... truncated...\n")).holders().is_none());
    }

    #[test]
    fn names_of_others_are_passed_over_whatever_bytes_they_have() {
        let ours = recovered(&row("1953064044", "10", "15", b"orders.out17.0.3.0000001f"));
        assert_eq!(ours.map(|name| name.to_string()).as_deref(), Some("tidelock:orders.out:17.0.3:0000001f"));
        for foreign in [
            row("1", "10", "15", b"orders.out17.0.3.0000001f"),
            row("1953064044", "10", "14", b"orders.out17.0.3.0000001f"),
            row("1953064044", "99", "1", b"orders.out17.0.3.0000001f"),
            row("1953064044", "18446744073709551615", "1", b""),
            row("-1", "10", "15", b"orders.out17.0.3.0000001f"),
            row("1953064044", "4", "4", b"\xff\xfe\0\x01\x80\x81\x82\x83"),
            row("1953064044", "", "", b""),
            vec![SqlValue::Null],
            Vec::new(),
        ] {
            assert_eq!(recovered(&foreign), None, "{foreign:?}");
        }
    }
}
