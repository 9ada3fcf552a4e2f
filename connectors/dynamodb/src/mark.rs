//! What a table is told from another one by.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidelock::Result;
use tidelock_aws::{failed, says_nothing};

use crate::requests::{Requests, Went};
use crate::table::Table;

/// A table as it was when something was prepared for it, or a part of it was read.
///
/// DynamoDB gives each table an id when it makes it: one that is made anew under the same name, or restored from a backup, has another one; and a name
/// may be short or an ARN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
}

impl Mark {
    /// That of a table that was looked at.
    pub(crate) fn of(table: &Table) -> Self {
        Self { name: table.name.clone(), id: table.id.clone() }
    }

    /// Looks at a table that is there.
    pub(crate) async fn look(requests: &Requests) -> Result<Self> {
        const LOOK: &str = "look at the table";
        let name = &*requests.table;
        let table = requests.again(async || {
            let answer = requests.client.describe_table().table_name(name).send().await;
            let answer = answer.map_err(|error| failed(LOOK, error).with("table", name))?;
            answer.table.map(Went::Whole).ok_or_else(|| says_nothing(LOOK).with("table", name))
        });
        Ok(Self { name: name.to_owned(), id: table.await?.table_id })
    }

    /// Whether both are of the same table. A server that gives no ids knows tables by their names alone.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.id, &other.id) {
            (Some(one), Some(other)) => one == other,
            _ => self.name == other.name,
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{} ({id})", self.name),
            None => f.write_str(&self.name),
        }
    }
}
