//! What is looked at of a table before anything is read or written.

#[cfg(test)]
mod on_server;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{BillingMode, KeyType, ScalarAttributeType, TableDescription, TableStatus};
use tidelock::{Error, ErrorKind, Patience, Result, Retry};
use tidelock_aws::{failed, says_nothing};

use crate::error::setting;
use crate::key::{IndexKey, KeyAttribute, KeyKind, KeySchema};

const LOOK: &str = "look at the table";

/// Calls that are made again, by table.
pub(crate) const CALLS_AGAIN: &str = "tidelock_dynamodb_calls_again_total";

/// A table is made in less, and DynamoDB is not away for longer without being down.
const AGAIN_FOR: Duration = Duration::from_secs(60);

/// A table that is there and may be read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// Its name or its ARN, as it was configured.
    pub(crate) name: String,
    /// What DynamoDB calls it, and none that was made before or is made after under its name. Some servers have none.
    pub(crate) id: Option<String>,
    pub(crate) key: KeySchema,
    /// What its indexes want of the attributes that are their keys.
    pub(crate) index_keys: Vec<IndexKey>,
    /// Where its changes can be read.
    pub(crate) stream_arn: Option<String>,
    /// Whether it takes as many requests as it is paid for, and not as it was provisioned for.
    pub(crate) is_on_demand: bool,
    /// The other regions that have a replica of it.
    pub(crate) replicas: Vec<String>,
}

impl Table {
    /// Looks at the table. One that is being made is waited for.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with what to do where there is none.
    pub(crate) async fn look(client: &Client, name: &str) -> Result<Self> {
        check_name("table", name)?;
        let mut patience = Patience::new(CALLS_AGAIN, AGAIN_FOR);
        loop {
            match Self::ask(client, name).await {
                Ok(table) => return Ok(table),
                Err(error) => patience.after(error, name).await?,
            }
        }
    }

    async fn ask(client: &Client, name: &str) -> Result<Self> {
        let answer = client.describe_table().table_name(name).send().await.map_err(|error| {
            let error = failed(LOOK, error);
            if error.kind() == ErrorKind::NotFound {
                is_missing(name).because(error)
            } else {
                error.with("table", name)
            }
        })?;
        let description = answer.table.ok_or_else(|| says_nothing(LOOK).with("table", name))?;
        match description.table_status() {
            // Some servers say nothing of it.
            None | Some(TableStatus::Active | TableStatus::Updating) => Self::of(name, description),
            Some(TableStatus::Creating) => {
                let why = "the table is still being made";
                Err(Error::new(ErrorKind::Unavailable, LOOK, why)
                    .with_retry(Retry::Retry)
                    .with("table", name))
            }
            Some(other) => {
                let why = "the table can be neither read nor written as it is";
                let error = Error::new(ErrorKind::Conflict, LOOK, why).with_retry(Retry::Halt);
                Err(error.with("table", name).with("status", other.as_str()))
            }
        }
    }

    fn of(name: &str, description: TableDescription) -> Result<Self> {
        let kind_of = |wanted: &str| {
            let mut all = description.attribute_definitions().iter();
            let found = all.find(|attribute| attribute.attribute_name() == wanted)?;
            match found.attribute_type() {
                ScalarAttributeType::S => Some(KeyKind::S),
                ScalarAttributeType::N => Some(KeyKind::N),
                ScalarAttributeType::B => Some(KeyKind::B),
                _ => None,
            }
        };
        let attribute = |role: KeyType| {
            let element = description.key_schema().iter().find(|element| element.key_type() == &role)?;
            let name = element.attribute_name().to_owned();
            Some(kind_of(&name).map(|kind| KeyAttribute { name, kind }))
        };
        let unknown = || strange(name, "an attribute of its key is of a kind that this build does not know");
        let partition = attribute(KeyType::Hash).flatten().ok_or_else(unknown)?;
        let sort = attribute(KeyType::Range).map(|sort| sort.ok_or_else(unknown)).transpose()?;
        let index_keys = index_keys(&description, &kind_of);
        let billing = description.billing_mode_summary().and_then(|billing| billing.billing_mode());
        let replicas = description.replicas().iter().filter_map(|replica| replica.region_name());
        Ok(Self {
            name: name.to_owned(),
            id: description.table_id().map(str::to_owned),
            key: KeySchema { partition, sort },
            index_keys,
            is_on_demand: billing == Some(&BillingMode::PayPerRequest),
            replicas: replicas.map(str::to_owned).collect(),
            stream_arn: description
                .latest_stream_arn()
                .filter(|_| has_stream(&description))
                .map(str::to_owned),
        })
    }
}

/// The attributes that are keys of indexes and not of the table. What this build does not know of is left to the server.
fn index_keys(description: &TableDescription, kind_of: &dyn Fn(&str) -> Option<KeyKind>) -> Vec<IndexKey> {
    let global = description.global_secondary_indexes().iter();
    let global = global.map(|index| (index.index_name(), index.key_schema()));
    let local = description.local_secondary_indexes().iter();
    let local = local.map(|index| (index.index_name(), index.key_schema()));
    let is_of_table =
        |name: &str| description.key_schema().iter().any(|element| element.attribute_name() == name);
    let mut all = Vec::new();
    for (index, elements) in global.chain(local) {
        for element in elements.iter().filter(|element| !is_of_table(element.attribute_name())) {
            let name = element.attribute_name();
            let Some(kind) = kind_of(name) else { continue };
            all.push(IndexKey {
                index: index.unwrap_or("without a name").to_owned(),
                attribute: KeyAttribute { name: name.to_owned(), kind },
                is_sort: element.key_type() == &KeyType::Range,
            });
        }
    }
    all
}

/// A stream that was switched off can be read for a day, and nothing new comes.
fn has_stream(description: &TableDescription) -> bool {
    description.stream_specification().is_some_and(|stream| stream.stream_enabled())
}

fn is_missing(name: &str) -> Error {
    let why = "there is no such table in this region and account: make it, or look at the settings `table`, `region` and `endpoint`";
    Error::new(ErrorKind::NotFound, LOOK, why).with("table", name)
}

fn strange(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Data, LOOK, format!("the table is not what this build knows: {why}"))
        .with("table", name)
}

/// The name of a table that is called by it or by its ARN.
pub(crate) fn name_in(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A name that a table can have, or its ARN.
///
/// # Errors
/// [`ErrorKind::Config`] naming the setting.
pub(crate) fn check_name(name_of_setting: &str, name: &str) -> Result<()> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_name = |name: &str| (3..=255).contains(&name.len()) && name.chars().all(is_letter);
    let is_arn = || {
        name.strip_prefix("arn:")
            .and_then(|arn| arn.split_once(":table/"))
            .is_some_and(|(_, name)| is_name(name))
    };
    if is_name(name) || is_arn() {
        return Ok(());
    }
    let why = "a table's name has 3 to 255 letters, digits, `_`, `-` and `.`; or it is given by its ARN";
    Err(setting(name_of_setting, why).with("table", name))
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingModeSummary, KeySchemaElement, ReplicaDescription, StreamSpecification,
    };

    use super::*;

    #[test]
    fn a_name_that_no_table_can_have_is_refused() {
        for name in ["abc", "a.b-c_1", "arn:aws:dynamodb:eu-central-1:123456789012:table/orders"] {
            check_name("table", name).expect(name);
        }
        for name in [
            "",
            "ab",
            "a/b",
            "ä.b",
            "arn:aws:dynamodb:eu-central-1:1:table/",
            "arn:aws:s3:::orders",
            &"a".repeat(256),
        ] {
            let error = check_name("ledger_table", name).expect_err(name);
            assert!(error.to_string().contains("setting=ledger_table"), "{error}");
        }
    }

    fn described(sort: Option<&str>) -> TableDescription {
        let element = |name: &str, role| {
            KeySchemaElement::builder().attribute_name(name).key_type(role).build().expect("whole")
        };
        let define = |name: &str, kind: &str| {
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(kind.into())
                .build()
                .expect("whole")
        };
        let mut table = TableDescription::builder()
            .key_schema(element("pk", KeyType::Hash))
            .attribute_definitions(define("other", "S"))
            .attribute_definitions(define("pk", "B"))
            .latest_stream_arn("arn:stream");
        if let Some(kind) = sort {
            table = table.key_schema(element("sk", KeyType::Range)).attribute_definitions(define("sk", kind));
        }
        table.build()
    }

    #[test]
    fn what_matters_of_a_description_is_kept() {
        let table = Table::of("t", described(None)).expect("a table");
        let key = |sort| KeySchema { partition: KeyAttribute { name: "pk".into(), kind: KeyKind::B }, sort };
        assert_eq!((&table.key, table.is_on_demand, table.replicas.len()), (&key(None), false, 0));
        assert_eq!(table.stream_arn, None, "its stream is switched off");
        let mut rich = described(Some("N"));
        rich.billing_mode_summary =
            Some(BillingModeSummary::builder().billing_mode(BillingMode::PayPerRequest).build());
        rich.replicas = Some(vec![ReplicaDescription::builder().region_name("eu-west-1").build()]);
        let stream = StreamSpecification::builder().stream_enabled(true).build().expect("whole");
        rich.stream_specification = Some(stream);
        let table = Table::of("t", rich).expect("a table");
        assert_eq!(table.key, key(Some(KeyAttribute { name: "sk".into(), kind: KeyKind::N })));
        assert!(table.is_on_demand && table.replicas == ["eu-west-1"]);
        assert_eq!(table.stream_arn.as_deref(), Some("arn:stream"));
        let error = Table::of("t", described(Some("GEO"))).expect_err("a kind of the future");
        assert_eq!(error.kind(), ErrorKind::Data);
    }
}
