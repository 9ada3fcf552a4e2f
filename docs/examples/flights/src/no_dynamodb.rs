//! What stands in the place of `dynamodb` in a build without it: no table of it can be named.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use tidelock::Result;

use crate::ends::Rows;

/// There is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DynamoTable(Infallible);

impl FromStr for DynamoTable {
    type Err = String;

    fn from_str(_: &str) -> std::result::Result<Self, String> {
        Err("this program was built without DynamoDB. With it: cargo run --release -p flights --features dynamodb"
            .to_owned())
    }
}

impl fmt::Display for DynamoTable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl DynamoTable {
    pub(crate) fn folder(&self) -> String {
        match self.0 {}
    }
}

#[allow(clippy::unused_async, reason = "the other build waits")]
pub(crate) async fn rows(table: &DynamoTable) -> Result<Rows> {
    match table.0 {}
}
