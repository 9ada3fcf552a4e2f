//! What a job has left in its database, as a stranger sees it.

use std::time::Duration;

use tidelock::Position;
use tidelock_sql::{DatabaseKind, TransactionName};

use crate::common::Place;

/// What a dead process held is free within a moment, or something is wrong.
const LOOKS: usize = 1_000;
const LOOK: Duration = Duration::from_millis(20);

impl Place {
    /// Connections of jobs to this database, or on MySQL those of anybody that have a transaction open.
    async fn connections_that_hold(&self) -> usize {
        if self.kind() == DatabaseKind::Postgres {
            let query = "SELECT pid::bigint FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name LIKE 'tidelock%'";
            return self.query(query).await.len();
        }
        self.innodb_transactions("TRUE").await.len()
    }

    /// The job runs as this attempt: nothing of an older one is prepared, or connected.
    pub(crate) async fn assert_no_orphans(&self, attempt: Position) {
        let prepared = self.prepared().await;
        let is_orphan = |name: &&String| {
            assert!(TransactionName::parse(name).is_some(), "{name}");
            let numbers = name.split(':').nth(2).unwrap();
            numbers.split('.').next().unwrap().parse::<u64>().unwrap() < attempt.0
        };
        let orphans: Vec<_> = prepared.iter().filter(is_orphan).collect();
        assert!(orphans.is_empty(), "attempt {attempt} runs beside {orphans:?}");
        if self.kind() == DatabaseKind::Postgres {
            let query = "SELECT application_name FROM pg_stat_activity \
                         WHERE datname = current_database() AND application_name LIKE 'tidelock:%'";
            for row in self.query(query).await {
                let number: u64 = row[0].text().rsplit(':').next().unwrap().parse().unwrap();
                assert!(number >= attempt.0, "attempt {attempt} runs beside {:?}", row[0]);
            }
        }
    }

    /// The job has ended: nothing is prepared, and nobody holds a row or the table.
    pub(crate) async fn assert_nothing_is_left(&self) {
        assert_eq!(self.prepared().await, Vec::<String>::new());
        let mut holding = 0;
        for _ in 0..LOOKS {
            holding = self.connections_that_hold().await;
            if holding == 0 {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        assert_eq!(holding, 0, "connections are left");
        let gone = tokio::time::timeout(Duration::from_secs(20), self.run("DROP TABLE copied")).await;
        gone.expect("nobody has it");
    }
}
