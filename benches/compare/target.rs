//! What the systems write to.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

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
    /// A table of DynamoDB, which dynoxide serves: a process, and no container.
    Dynamodb,
}

/// Systems in Java that are built together: connectors that are of another Flink, or that bring libraries at odds with those of the others, are
/// built by themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peers {
    /// What they are built by, in the workspace.
    pub(crate) pom: &'static str,
    /// Where they are, in the build folder.
    pub(crate) folder: &'static str,
}

impl Target {
    /// What a URL leads to. Without one it is a topic.
    pub(crate) fn of(url: Option<&str>) -> Self {
        let Some(url) = url else { return Self::Kafka };
        match url.split(':').next() {
            Some("hbase") => Self::Hbase,
            Some("dynamodb") => Self::Dynamodb,
            Some("mysql") => Self::Mysql,
            _ => Self::Postgres,
        }
    }

    /// The systems in Java that write to it.
    pub(crate) fn peers(self) -> Peers {
        match self {
            Self::Hbase => Peers { pom: "benches/peers/hbase/pom.xml", folder: "peers-hbase" },
            Self::Dynamodb => Peers { pom: "benches/peers/dynamodb/pom.xml", folder: "peers-dynamodb" },
            Self::Kafka | Self::Postgres | Self::Mysql => {
                Peers { pom: "benches/peers/pom.xml", folder: "peers" }
            }
        }
    }

    /// Whether there is something to measure.
    pub(crate) fn is_written_by(self, system: System) -> bool {
        match self {
            Self::Kafka => !matches!(
                system,
                System::TidelockPrepared | System::TidelockLedger | System::Native | System::RawConditional
            ),
            Self::Postgres | Self::Mysql => {
                matches!(system, System::Raw | System::Tidelock | System::TidelockPrepared | System::Flink)
            }
            Self::Hbase => matches!(
                system,
                System::Raw | System::Tidelock | System::TidelockLedger | System::Native | System::Flink
            ),
            Self::Dynamodb => matches!(
                system,
                System::Raw
                    | System::RawConditional
                    | System::Tidelock
                    | System::TidelockAlo
                    | System::TidelockLedger
                    | System::Flink
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
            Self::Dynamodb => "DynamoDB",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_what_its_scheme_says() {
        for (url, target) in [
            (None, Target::Kafka),
            (Some("postgres://postgres:secret@127.0.0.1:1/copied"), Target::Postgres),
            (Some("mysql://root:secret@127.0.0.1:1/copied"), Target::Mysql),
            (Some("hbase://127.0.0.1:1?zookeeper=127.0.0.1:2"), Target::Hbase),
            (Some("dynamodb://127.0.0.1:1"), Target::Dynamodb),
        ] {
            assert_eq!(Target::of(url), target);
        }
    }
}
