//! What stands in the place of `sql` in a build without it: no database can be named.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tidelock::Result;

use crate::ends::Rows;
use crate::options::Options;
use crate::tables::Table;

/// There is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database(Infallible);

impl FromStr for Database {
    type Err = String;

    fn from_str(_: &str) -> std::result::Result<Self, String> {
        Err("this program was built without databases. With them: cargo run --release -p flights --features sql"
            .to_owned())
    }
}

impl fmt::Display for Database {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl Database {
    pub(crate) fn folder(&self) -> String {
        match self.0 {}
    }
}

#[allow(clippy::unused_async, reason = "the other build waits")]
pub(crate) async fn planes(database: &Database) -> Result<Table<u64>> {
    match database.0 {}
}

#[allow(clippy::unused_async, reason = "the other build waits")]
pub(crate) async fn airlines(database: &Database) -> Result<Table<Arc<str>>> {
    match database.0 {}
}

#[allow(clippy::unused_async, reason = "the other build waits")]
pub(crate) async fn rows(database: &Database) -> Result<Rows> {
    match database.0 {}
}

#[allow(clippy::unused_async, reason = "the other build waits")]
pub(crate) async fn load(_: &Options, database: &Database) -> Result<()> {
    match database.0 {}
}
