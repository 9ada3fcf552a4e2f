//! What a table is told from another one by.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidelock::Result;
use tidelock_aws::failed;

use crate::requests::{Requests, Went};

/// A table as it was when something was prepared for it.
///
/// DynamoDB gives each table an id when it makes it: one that is made anew under the same name, or restored from a backup, has another one; and a name
/// may be short or an ARN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    pub(super) name: String,
    pub(super) id: Option<String>,
}

impl Mark {
    /// Looks at a table that is there.
    pub(super) async fn look(requests: &Requests) -> Result<Self> {
        let name = &*requests.table;
        let answer = requests.again(async || {
            let answer = requests.client.describe_table().table_name(name).send().await;
            answer.map(Went::Whole).map_err(|error| failed("look at the table", error).with("table", name))
        });
        let id = answer.await?.table().and_then(|table| table.table_id()).map(str::to_owned);
        Ok(Self { name: name.to_owned(), id })
    }

    /// Whether both are of the same table. A server that gives no ids knows tables by their names alone.
    pub(super) fn is(&self, other: &Self) -> bool {
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
