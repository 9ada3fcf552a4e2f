//! Makes a table of leases where it is not there.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription,
    TableStatus,
};
use tidelock::{Error, ErrorKind, Patience, Result, Retry};
use tidelock_aws::{failed, says_nothing};

use super::lease::name;
use super::table::CALLS_AGAIN;

const LOOK: &str = "look at the table of leases";
const MAKE: &str = "make a table of leases";

/// A table that was made is shown within this time.
const MADE_WITHIN: Duration = Duration::from_secs(60);

/// Makes the table where there is none. Another process may be making it in this moment, an answer may be lost, and a table that was just made may not be shown
/// yet: what counts is that it is there then.
///
/// # Errors
/// [`ErrorKind::Config`] where a table of its name has another key.
pub(super) async fn there_or_made(client: &Client, table: &str) -> Result<()> {
    let mut patience = Patience::new(CALLS_AGAIN, MADE_WITHIN);
    let mut is_made = false;
    loop {
        let error = match look(client, table).await {
            Err(error) if error.kind() == ErrorKind::NotFound && is_made => error.with_retry(Retry::Retry),
            Err(error) if error.kind() == ErrorKind::NotFound => match make(client, table).await {
                Ok(()) => {
                    is_made = true;
                    continue;
                }
                Err(error) => error,
            },
            Err(error) => error,
            Ok(()) => return Ok(()),
        };
        patience.after(error, table).await?;
    }
}

async fn look(client: &Client, table: &str) -> Result<()> {
    let answer = client.describe_table().table_name(table).send().await;
    let answer = answer.map_err(|answer| failed(LOOK, answer).with("table", table))?;
    let description = answer.table.ok_or_else(|| says_nothing(LOOK).with("table", table))?;
    if !has_the_key(&description) {
        let why =
            "the table is none of leases: its partition key is not leaseKey, a text, or it has a sort key";
        return Err(Error::new(ErrorKind::Config, LOOK, why).with("table", table));
    }
    match description.table_status() {
        // Some servers say nothing of it.
        None | Some(TableStatus::Active | TableStatus::Updating) => Ok(()),
        Some(status) => {
            let retry = if *status == TableStatus::Creating { Retry::Retry } else { Retry::Halt };
            let error = Error::new(ErrorKind::Unavailable, LOOK, "the table cannot be written as it is");
            Err(error.with_retry(retry).with("table", table).with("status", status.as_str()))
        }
    }
}

fn has_the_key(table: &TableDescription) -> bool {
    let [key] = table.key_schema() else { return false };
    let is_text = |attribute: &AttributeDefinition| {
        attribute.attribute_name() == name::KEY && *attribute.attribute_type() == ScalarAttributeType::S
    };
    key.attribute_name() == name::KEY
        && *key.key_type() == KeyType::Hash
        && table.attribute_definitions().iter().any(is_text)
}

async fn make(client: &Client, table: &str) -> Result<()> {
    let incomplete = |error| Error::new(ErrorKind::Bug, MAKE, "a request is not whole").because(error);
    let key = KeySchemaElement::builder().attribute_name(name::KEY).key_type(KeyType::Hash);
    let attribute =
        AttributeDefinition::builder().attribute_name(name::KEY).attribute_type(ScalarAttributeType::S);
    let make = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    let make = make.key_schema(key.build().map_err(incomplete)?);
    match make.attribute_definitions(attribute.build().map_err(incomplete)?).send().await {
        Ok(_) => Ok(()),
        Err(error)
            if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) =>
        {
            Ok(())
        }
        Err(error) => {
            let remedy = "make it by hand, with the partition key leaseKey of the kind S, or give the right dynamodb:CreateTable";
            Err(failed(MAKE, error).with("table", table).with("remedy", remedy))
        }
    }
}
