//! What the systems write to.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tidelock_containers::Database;

use crate::systems::System;

#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    /// Another topic of the broker.
    #[default]
    Kafka,
    /// A table of PostgreSQL.
    Postgres,
    /// A table of MySQL.
    Mysql,
    /// A table of HBase.
    Hbase,
}

impl Target {
    /// The database with SQL, where it is one.
    pub(crate) fn database(self) -> Option<Database> {
        match self {
            Self::Kafka | Self::Hbase => None,
            Self::Postgres => Some(Database::Postgres),
            Self::Mysql => Some(Database::Mysql),
        }
    }

    /// Whether there is something to measure.
    pub(crate) fn is_written_by(self, system: System) -> bool {
        match self {
            Self::Kafka => {
                !matches!(system, System::TidelockPrepared | System::TidelockLedger | System::Native)
            }
            Self::Postgres | Self::Mysql => {
                matches!(system, System::Raw | System::Tidelock | System::TidelockPrepared | System::Flink)
            }
            Self::Hbase => matches!(
                system,
                System::Raw | System::Tidelock | System::TidelockLedger | System::Native | System::Flink
            ),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka => "Kafka",
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL",
            Self::Hbase => "HBase",
        })
    }
}
