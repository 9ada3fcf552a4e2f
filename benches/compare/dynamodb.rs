//! A connection to a server of DynamoDB by its bare client.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_dynamodb::{Client, operation};
use aws_smithy_http_client::Builder as HttpClient;
use tokio::runtime::{Builder, Runtime};

use crate::Failure;
use crate::reader::Stamp;
use crate::tables::Rows;

/// How a place is written: `dynamodb://HOST:PORT`.
const SCHEME: &str = "dynamodb://";

/// Who asks. A server on this machine takes anybody.
const REGION: &str = "eu-central-1";
const ACCESS_KEY_ID: &str = "compare";
const SECRET_ACCESS_KEY: &str = "compare";

/// The same for processes that look for it in their environment.
pub(crate) const CREDENTIALS: [(&str, &str); 3] = [
    ("AWS_REGION", REGION),
    ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
    ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
];

/// All items are in one partition, and sorted in it by their numbers: what is new is read by one query.
const PARTITION: &str = "part";
const ALL: &str = "all";
const NUMBER: &str = "number";
const DUE: &str = "due";
const FILLER: &str = "filler";

/// A table is there or gone after this time, or the server is ill.
const TABLE_MAX: Duration = Duration::from_secs(60);

/// Items of one answer, and of one look. An answer has 1 MB of items at most, whatever is projected, and goes on behind the last of them; a server
/// on this machine that is told no number reads all there are before it cuts them off.
const ANSWER_ITEMS: usize = 1_000;
const LOOK_ITEMS: usize = 50_000;

/// The place of a server.
pub(crate) fn place(address: SocketAddr) -> String {
    format!("{SCHEME}{address}")
}

/// A client with the SDK's own settings.
pub(crate) fn client(url: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(HttpClient::new().build_http())
        .region(Region::from_static(REGION))
        .credentials_provider(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "compare"))
        .endpoint_url(url.replacen(SCHEME, "http://", 1));
    Client::from_conf(config.build())
}

/// A record of the load as it is written: as an item of a table.
pub(crate) fn item(stamp: Stamp, filler: &[u8]) -> HashMap<String, AttributeValue> {
    // The load's filler is text.
    let filler = String::from_utf8_lossy(filler).into_owned();
    [
        (PARTITION, AttributeValue::S(ALL.to_owned())),
        (NUMBER, AttributeValue::N(stamp.number.to_string())),
        (DUE, AttributeValue::N(stamp.due.to_string())),
        (FILLER, AttributeValue::S(filler)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The stamp of an item that was read.
fn stamp(item: &HashMap<String, AttributeValue>) -> Option<Stamp> {
    let number = |name| item.get(name)?.as_n().ok()?.parse().ok();
    Some(Stamp { number: number(NUMBER)?, due: number(DUE)? })
}

/// With all that the SDK says of it.
pub(crate) fn failed(operation: &str, error: impl std::error::Error) -> Failure {
    Failure::new(operation, DisplayErrorContext(error))
}

/// Its own thread drives the connection, while it waits for an answer and no longer.
pub(crate) struct Dynamo {
    runtime: Runtime,
    client: Client,
}

impl Dynamo {
    pub(crate) fn connect(url: &str) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new("connect to the server", error))?;
        Ok(Self { runtime, client: client(url) })
    }

    /// The first items of a table from a number on, or the last ones.
    fn query(
        &self,
        table: &str,
        from: u64,
        is_forward: bool,
        items_max: usize,
    ) -> Result<Vec<Stamp>, Failure> {
        const READ: &str = "read what is visible";
        let answer_items = i32::try_from(items_max.min(ANSWER_ITEMS)).unwrap_or(i32::MAX);
        let query = self.client.query().table_name(table).consistent_read(true).limit(answer_items);
        let query = query
            .scan_index_forward(is_forward)
            .key_condition_expression("#part = :all AND #number >= :from")
            .projection_expression("#number, #due")
            .expression_attribute_names("#part", PARTITION)
            .expression_attribute_names("#number", NUMBER)
            .expression_attribute_names("#due", DUE)
            .expression_attribute_values(":all", AttributeValue::S(ALL.to_owned()))
            .expression_attribute_values(":from", AttributeValue::N(from.to_string()));
        let (mut stamps, mut behind) = (Vec::new(), None);
        loop {
            let asked = query.clone().set_exclusive_start_key(behind).send();
            let answer = self.runtime.block_on(asked).map_err(|error| failed(READ, error))?;
            let more: Option<Vec<Stamp>> = answer.items().iter().map(stamp).collect();
            stamps.extend(more.ok_or_else(|| Failure::new(READ, "an item is no stamp"))?);
            behind = answer.last_evaluated_key;
            if behind.is_none() || stamps.len() >= items_max {
                return Ok(stamps);
            }
        }
    }
}

impl Rows for Dynamo {
    /// An item is visible by itself, and requests that are under way together end in any order.
    fn are_in_order(&self) -> bool {
        false
    }

    fn make(&mut self, table: &str) -> Result<(), Failure> {
        const MAKE: &str = "make a table";
        let mut make = self.client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
        for (name, role, kind) in [
            (PARTITION, KeyType::Hash, ScalarAttributeType::S),
            (NUMBER, KeyType::Range, ScalarAttributeType::N),
        ] {
            let element = KeySchemaElement::builder().attribute_name(name).key_type(role).build();
            let defined = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
            make = make
                .key_schema(element.map_err(|error| failed(MAKE, error))?)
                .attribute_definitions(defined.map_err(|error| failed(MAKE, error))?);
        }
        let there = self.client.wait_until_table_exists().table_name(table);
        self.runtime.block_on(async {
            make.send().await.map_err(|error| failed(MAKE, error))?;
            there.wait(TABLE_MAX).await.map_err(|error| failed(MAKE, error)).map(drop)
        })
    }

    fn remove(&mut self, table: &str) -> Result<(), Failure> {
        const REMOVE: &str = "remove a table";
        let remove = self.client.delete_table().table_name(table);
        let gone = self.client.wait_until_table_not_exists().table_name(table);
        self.runtime.block_on(async {
            match remove.send().await {
                Ok(_) => gone.wait(TABLE_MAX).await.map_err(|error| failed(REMOVE, error)).map(drop),
                Err(error) if is_missing(&error) => Ok(()),
                Err(error) => Err(failed(REMOVE, error)),
            }
        })
    }

    fn since(&mut self, table: &str, number: u64) -> Result<Vec<Stamp>, Failure> {
        self.query(table, number, true, LOOK_ITEMS)
    }

    fn newest(&mut self, table: &str) -> Result<Option<u64>, Failure> {
        let newest = self.query(table, 0, false, 1)?;
        Ok(newest.first().map(|stamp| stamp.number))
    }
}

type DeleteError = aws_sdk_dynamodb::error::SdkError<operation::delete_table::DeleteTableError>;

fn is_missing(error: &DeleteError) -> bool {
    error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_read_as_it_was_written() {
        let written = Stamp { number: 255, due: u64::MAX };
        let mut item = item(written, b"xx");
        assert_eq!(item[FILLER], AttributeValue::S("xx".into()));
        assert_eq!(stamp(&item), Some(written));
        item.remove(DUE);
        assert_eq!(stamp(&item), None);
    }
}
