//! Makes tables where they are not there.

#[cfg(test)]
mod on_server;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use tidelock::{Error, ErrorKind, Patience, Result, Retry};
use tidelock_aws::{AwsConfig, failed};

use crate::client::client;
use crate::key::{KeyAttribute, KeyKind, KeySchema};
use crate::table::{CALLS_AGAIN, Table, check_name};

const MAKE: &str = "make a table";

/// A table that was made is shown within this time.
const MADE_WITHIN: Duration = Duration::from_secs(60);

/// Makes a table with this partition key, and this sort key, where there is none of its name, for examples and for tests; one that is there stays as it is. It is
/// billed by request, and has no stream, index or time to live.
///
/// ```no_run
/// # use tidelock_dynamodb::{AwsConfig, KeyKind, make_table};
/// # async fn make() -> tidelock::Result<()> {
/// make_table(&AwsConfig::new(), "flights_by_hour", ("origin", KeyKind::S), Some(("window_start", KeyKind::S))).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Where a setting cannot work, DynamoDB cannot be reached, or refuses.
pub async fn make_table(
    dynamodb: &AwsConfig,
    name: &str,
    partition: (&str, KeyKind),
    sort: Option<(&str, KeyKind)>,
) -> Result<()> {
    check_name("table", name)?;
    let client = client(dynamodb).await?;
    let attribute = |(name, kind): (&str, KeyKind)| KeyAttribute { name: name.to_owned(), kind };
    let key = KeySchema { partition: attribute(partition), sort: sort.map(attribute) };
    there_or_made(&client, name, &key).await.map(drop)
}

/// Makes a table where there is none. Another process may be making it in this moment, an answer may be lost, and a table that was just made may not be shown
/// yet: what counts is that it is there then.
pub(crate) async fn there_or_made(client: &Client, name: &str, key: &KeySchema) -> Result<Table> {
    let mut patience = Patience::new(CALLS_AGAIN, MADE_WITHIN);
    let mut is_made = false;
    loop {
        let missing = match Table::look(client, name).await {
            Err(error) if error.kind() == ErrorKind::NotFound => error,
            looked => return looked,
        };
        let error = if is_made {
            missing.with_retry(Retry::Retry)
        } else {
            match make(client, name, key).await {
                Ok(()) => {
                    is_made = true;
                    continue;
                }
                Err(error) => error,
            }
        };
        patience.after(error, name).await?;
    }
}

async fn make(client: &Client, name: &str, key: &KeySchema) -> Result<()> {
    let incomplete = |error| Error::new(ErrorKind::Bug, MAKE, "a request is not whole").because(error);
    let mut make = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (attribute, role) in key.attributes().zip([KeyType::Hash, KeyType::Range]) {
        let element = KeySchemaElement::builder().attribute_name(&attribute.name).key_type(role).build();
        let kind = match attribute.kind {
            KeyKind::S => ScalarAttributeType::S,
            KeyKind::N => ScalarAttributeType::N,
            KeyKind::B => ScalarAttributeType::B,
        };
        let defined = AttributeDefinition::builder().attribute_name(&attribute.name).attribute_type(kind);
        make = make.key_schema(element.map_err(incomplete)?);
        make = make.attribute_definitions(defined.build().map_err(incomplete)?);
    }
    match make.send().await {
        Ok(_) => Ok(()),
        Err(error)
            if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) =>
        {
            Ok(())
        }
        Err(error) => {
            let remedy = format!("make it by hand, with {key}, or give the right dynamodb:CreateTable");
            Err(failed(MAKE, error).with("table", name).with("remedy", remedy))
        }
    }
}
