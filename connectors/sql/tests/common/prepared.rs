//! What a database has prepared, as a stranger sees it, and what an operator does to it.

use async_trait::async_trait;
use mysql_async::prelude::Queryable as _;
use tidelock::{Result, TargetName};
use tidelock_sql::{DatabaseKind, TransactionName};
use tidelock_testkit::harness::{Expiry, Leftovers};

use super::{Cell, Place};

/// FNV-1a, folded: what names have of a database.
fn tag(name: &str) -> String {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}

impl Place {
    /// The names of ours that are prepared in this database.
    pub(crate) async fn prepared(&self) -> Vec<String> {
        let tag = tag(&self.config.name);
        let names: Vec<String> = match self.kind() {
            DatabaseKind::Postgres => {
                let query = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()";
                self.query(query).await.iter().map(|row| row[0].text().to_owned()).collect()
            }
            DatabaseKind::MySql => {
                let listed = self.xa_recover().await;
                let ours = listed.iter().filter(|(format, ..)| *format == 0x7469_646c);
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                ours.map(|(_, gtrid, bqual)| {
                    let bqual = text(bqual);
                    let (numbers, tag) = bqual.rsplit_once('.').unwrap();
                    format!("tidelock:{}:{numbers}:{tag}", text(gtrid))
                })
                .collect()
            }
            _ => Vec::new(),
        };
        names.into_iter().filter(|name| name.ends_with(&tag)).collect()
    }

    /// All that is prepared on a server of MySQL: scheme, and both parts of the name.
    pub(crate) async fn xa_recover(&self) -> Vec<(u64, Vec<u8>, Vec<u8>)> {
        let mut connection = self.mysql_connection().await;
        let rows: Vec<(u64, usize, usize, Vec<u8>)> = connection.query("XA RECOVER").await.unwrap();
        connection.disconnect().await.unwrap();
        let split = |(format, gtrid, _, name): (u64, usize, usize, Vec<u8>)| {
            (format, name[..gtrid].to_vec(), name[gtrid..].to_vec())
        };
        rows.into_iter().map(split).collect()
    }

    /// How this database's statements have a name.
    pub(crate) fn literal(&self, name: &str) -> String {
        if self.kind() == DatabaseKind::Postgres {
            return format!("'{name}'");
        }
        let parts: Vec<&str> = name.split(':').collect();
        format!("'{}','{}.{}',{}", parts[1], parts[2], parts[3], 0x7469_646c)
    }

    /// What an operator does by hand.
    pub(crate) async fn end_by_hand(&self, name: &str, word: &str) {
        let literal = self.literal(name);
        match self.kind() {
            DatabaseKind::Postgres => self.run(&format!("{word} PREPARED {literal}")).await,
            _ => {
                let mut connection = self.mysql_connection().await;
                // The connection that prepared it may be closing still.
                for _ in 0..200 {
                    if connection.query_drop(format!("XA {word} {literal}")).await.is_ok() {
                        return;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                panic!("{name} cannot be ended by hand");
            }
        }
    }

    /// Ends every other connection to this database that has a transaction open.
    pub(crate) async fn end_open_transactions(&self) {
        if self.kind() == DatabaseKind::Postgres {
            let end = "SELECT pg_terminate_backend(pid)::int::bigint FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL";
            self.query(end).await;
            return;
        }
        let ids = self.innodb_transactions("TRUE").await;
        let mut connection = self.mysql_connection().await;
        for id in ids {
            // It may have ended by itself.
            let _ended = connection.query_drop(format!("KILL {id}")).await;
        }
        connection.disconnect().await.unwrap();
    }

    /// The names in the table of transactions.
    pub(crate) async fn registry(&self) -> Vec<String> {
        let rows = self.query("SELECT name FROM tidelock_transactions ORDER BY name").await;
        rows.iter()
            .map(|row| match &row[0] {
                Cell::Text(name) => name.clone(),
                other => panic!("a name: {other:?}"),
            })
            .collect()
    }
}

#[async_trait]
impl Leftovers for Place {
    async fn leftovers(&self) -> Result<Vec<TargetName>> {
        let name = |name: &String| {
            assert!(TransactionName::parse(name).is_some(), "{name}");
            let parts: Vec<&str> = name.split(':').collect();
            let (numbers, _) = parts[2].rsplit_once('.').unwrap();
            TargetName::parse(&format!("{}.{numbers}", parts[1])).unwrap()
        };
        Ok(self.prepared().await.iter().map(name).collect())
    }
}

#[async_trait]
impl Expiry for Place {
    async fn expire(&self) -> Result<()> {
        self.end_open_transactions().await;
        for name in self.prepared().await {
            self.end_by_hand(&name, "ROLLBACK").await;
        }
        Ok(())
    }
}
