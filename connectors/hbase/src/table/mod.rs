//! What is looked at of a table before anything is read or written.

mod deletes;
mod make;
#[cfg(test)]
mod on_servers;
#[cfg(test)]
mod tests;
mod times;

use std::collections::BTreeMap;
use std::time::Duration;

use hbase_thrift::hbase::{ColumnDescriptor, THbaseSyncClient};
use tidelock::{Error, ErrorKind, Result, Retry};

use crate::error::setting;
use crate::gateway::Gateways;

pub(crate) use deletes::OWN_ROWS;
pub use make::make_table;
pub(crate) use make::there_or_made;

const LOOK: &str = "look at the table";

/// A table that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) families: BTreeMap<String, Family>,
}

/// What a gateway shows of a family. KEEP_DELETED_CELLS and NEW_VERSION_BEHAVIOR are not among it: see [`Table::try_deletes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Family {
    /// How many values of a cell are kept.
    pub(crate) max_versions: u32,
    /// How long a value is kept, by its timestamp. `None`: for ever.
    pub(crate) time_to_live: Option<Duration>,
}

/// What a family must have that deletes last in, as the shell says it.
pub(crate) const KEEPS_DELETED: &str = ", KEEP_DELETED_CELLS => 'TRUE'";

impl Table {
    /// Looks at the gateways and at the table.
    pub(crate) async fn look(gateways: &Gateways, name: &str) -> Result<Self> {
        Self::look_for(gateways, name, "").await
    }

    /// The same, and where there is no table it is said how one is made whose families have these attributes.
    pub(crate) async fn look_for(gateways: &Gateways, name: &str, attributes: &str) -> Result<Self> {
        check_name(name)?;
        gateways.check(LOOK).await?;
        let wanted = name.as_bytes().to_vec();
        let found = gateways.call(LOOK, move |client| client.get_column_descriptors(wanted)).await;
        let found = found.map_err(|error| match error.kind() {
            ErrorKind::NotFound => is_missing(name, attributes).because(error),
            _ => error.with("table", name),
        })?;
        // Of a table that is not there, some gateways know no families, and do not refuse.
        if found.is_empty() {
            return Err(is_missing(name, attributes));
        }
        let wanted = name.as_bytes().to_vec();
        let is_enabled = gateways.call(LOOK, move |client| client.is_table_enabled(wanted)).await;
        if !is_enabled.map_err(|error| error.with("table", name))? {
            let why = format!("the table is disabled: run `enable '{name}'` in the HBase shell");
            return Err(Error::new(ErrorKind::Conflict, LOOK, why)
                .with_retry(Retry::Halt)
                .with("table", name));
        }
        let mut families = BTreeMap::new();
        for (wire, family) in found {
            let text = std::str::from_utf8(&wire).unwrap_or_default().trim_end_matches(':').to_owned();
            if text.is_empty() {
                let why = "a family of this table has a name that is no text";
                return Err(Error::new(ErrorKind::Data, LOOK, why).with("table", name));
            }
            families.insert(text, Family::of_wire(&family));
        }
        Ok(Self { name: name.to_owned(), families })
    }

    /// The family of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with what to do.
    pub(crate) fn family(&self, name: &str) -> Result<&Family> {
        self.families.get(name).ok_or_else(|| {
            let why = format!(
                "the table has no such family: run `alter '{}', NAME => '{name}'` in the HBase shell, or take one that it has",
                self.name
            );
            let there = self.families.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let error = Error::new(ErrorKind::NotFound, LOOK, why).with("table", &self.name);
            error.with("family", name).with("there", there)
        })
    }
}

impl Family {
    fn of_wire(family: &ColumnDescriptor) -> Self {
        let time_to_live = match family.time_to_live {
            // Zero and less are what a gateway says of nothing.
            None | Some(i32::MAX | i32::MIN..=0) => None,
            Some(seconds) => Some(Duration::from_secs(u64::from(seconds.unsigned_abs()))),
        };
        let max_versions = family.max_versions.unwrap_or(1).max(1).unsigned_abs();
        Self { max_versions, time_to_live }
    }
}

fn is_missing(name: &str, attributes: &str) -> Error {
    let why = format!(
        "there is no such table: run `create '{name}', {{NAME => 'FAMILY'{attributes}}}` in the HBase shell"
    );
    Error::new(ErrorKind::NotFound, LOOK, why).with("table", name)
}

/// The one name of a table that has two: with the namespace in which it is without one, and without it.
pub(crate) fn without_default_namespace(name: &str) -> &str {
    name.strip_prefix("default:").unwrap_or(name)
}

/// A name that a table can have, perhaps with its namespace: `orders` or `shop:orders`.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    let parts: Vec<&str> = name.split(':').collect();
    if parts.len() > 2 || !parts.iter().all(|part| is_part(part)) {
        let why = "a table is `name` or `namespace:name`, of letters, digits, `_`, `-` and `.`";
        return Err(setting("table", why).with("table", name));
    }
    Ok(())
}
