//! Enrichment from a table.
//!
//! ```text
//!   keys ──1──> keys of items ──2──> BatchGetItem ──3──> items ──4──> each to the keys that it has
//!                   │                   ^      │
//!                   │ no item           └──────┘ what was not processed, again after a pause
//!                   │ can have it
//!                   └───────────────────────> a miss
//! ```
//!
//! 1. By a function. No item has a key that is empty, too long or no number that DynamoDB knows, and nobody is asked for one.
//! 2. For up to a hundred keys, several such requests at once. Keys that are one item's are asked for once, in whatever form their numbers are
//!    written: DynamoDB refuses a request that names an item twice.
//! 3. An answer leaves keys out where it would have more than 16 MB, or the table is busy: they are asked for again. Where none was processed for ten
//!    seconds the lookup fails, and the host tries again, as it does for every error that may pass. An answer that says nothing is no answer: by it
//!    every key would be missing.
//! 4. An item has its key with it, and missing ones are left out. One that a sink deleted and left a mark of is missing, too.
//!
//! Caching, order, merging of equal keys and patience are the host's.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Lookup, Patience, Result, Retry};
use tidelock_aws::{AwsConfig, failed, says_nothing};

use crate::client::client;
use crate::deleted::{self, Deleted, default_deleted_attribute};
use crate::error::setting;
use crate::item::Item;
use crate::key::{Key, KeyKind, KeySchema};
use crate::projection::{self, Projection};
use crate::read_units::ReadUnits;
use crate::table::{CALLS_AGAIN, Table, check_name};
use crate::value::Value;
use crate::wire::{of_wire, to_wire};

const LOOK_UP: &str = "look up";

/// How many keys one request has at most: DynamoDB takes no more.
const KEYS_MAX: usize = 100;

/// How many requests of one lookup are under way: the host has several lookups under way itself.
const REQUESTS_MAX: usize = 4;

/// For so long keys that are not processed are asked for again while none is processed at all. What takes longer is for the host to judge.
const WITHOUT_A_KEY_MAX: Duration = Duration::from_secs(10);

/// How a lookup asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DynamoLookupConfig {
    /// The service.
    #[serde(default)]
    pub dynamodb: AwsConfig,
    /// The table. Required.
    pub table: String,
    /// The attributes that are asked for, by their names; those of the key come along. Default: all.
    #[serde(default)]
    pub attributes: Vec<String>,
    /// Whether every write that was answered before is seen. It costs twice as much to read. Default: no, and what was written within the last moment
    /// may be missing.
    #[serde(default)]
    pub consistent: bool,
    /// The attribute, `true`, of items that a sink in the mode `versioned` deleted: they are misses. Empty: they are
    /// given like any other. Default `tidelock_deleted`, as the sink's.
    #[serde(default = "default_deleted_attribute")]
    pub deleted_attribute: String,
}

impl DynamoLookupConfig {
    /// Whole items of `table`.
    pub fn new(dynamodb: AwsConfig, table: impl Into<String>) -> Self {
        let deleted_attribute = default_deleted_attribute();
        Self { dynamodb, table: table.into(), attributes: Vec::new(), consistent: false, deleted_attribute }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.dynamodb.validate()?;
        check_name("table", &self.table)?;
        projection::check(&self.attributes)?;
        deleted::check(&self.deleted_attribute)
    }
}

/// Makes the key of an item of a key.
type ItemKey<K> = Box<dyn Fn(&K) -> Item + Send + Sync>;

/// Items of a table, by a key.
///
/// `K` is the key, of any type: a function makes the attributes of an item's key of it. What is found is an [`Item`], which
/// [`record_of`](crate::record_of) makes a user's own type of.
///
/// ```no_run
/// # use tidelock_dynamodb::{AwsConfig, DynamoLookup, DynamoLookupConfig, key};
/// # async fn open() -> tidelock::Result<()> {
/// let mut planes = DynamoLookupConfig::new(AwsConfig::new(), "planes");
/// planes.attributes = vec!["model".into(), "seats".into()];
/// // What can be a value is the partition key of a table that has no other.
/// let by_tail: DynamoLookup<String> = DynamoLookup::open_by_value(planes.clone()).await?;
/// // Everything else becomes a key.
/// let by_leg = DynamoLookup::open(planes, |(tail, leg): &(String, u64)| {
///     key([("tail", tail.as_str().into()), ("leg", (*leg).into())])
/// });
/// let by_leg = by_leg.await?;
/// # Ok(()) }
/// ```
pub struct DynamoLookup<K> {
    config: DynamoLookupConfig,
    client: Client,
    table: Table,
    projection: Option<Projection>,
    deleted: Deleted,
    item_key: ItemKey<K>,
    read_units: ReadUnits,
}

impl<K> fmt::Debug for DynamoLookup<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoLookup").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<K: Clone + Into<Value>> DynamoLookup<K> {
    /// Keys that are the partition key as they are, of a table that has no sort key. See [`DynamoLookup::open`].
    ///
    /// # Errors
    /// Those of [`DynamoLookup::open`], and where the table has a sort key.
    pub async fn open_by_value(config: DynamoLookupConfig) -> Result<Self> {
        Self::looked_at(config, |table| {
            if table.key.sort.is_some() {
                let why = "the table has a sort key, too, and a partition key alone is no item's key: open it with `DynamoLookup::open`, and a function that \
                           makes both of them";
                return Err(setting("table", why).with("table", &table.name).with("table_key", &table.key));
            }
            let name = table.key.partition.name.clone();
            let item_key = move |key: &K| Item::from([(name.clone(), key.clone().into())]);
            Ok(Box::new(item_key) as ItemKey<K>)
        })
        .await
    }
}

impl<K> DynamoLookup<K> {
    /// Looks at the table: what is missing is told now, and not when the first record comes.
    ///
    /// # Errors
    /// Where a setting cannot work, DynamoDB cannot be reached or refuses, or the table is not there.
    pub async fn open(
        config: DynamoLookupConfig,
        item_key: impl Fn(&K) -> Item + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::looked_at(config, |_| Ok(Box::new(item_key) as ItemKey<K>)).await
    }

    async fn looked_at(
        config: DynamoLookupConfig,
        item_key: impl FnOnce(&Table) -> Result<ItemKey<K>>,
    ) -> Result<Self> {
        config.validate()?;
        let client = client(&config.dynamodb).await?;
        let table = Table::look(&client, &config.table).await?;
        let deleted = Deleted::by(&config.deleted_attribute);
        let projection = Projection::of(&config.attributes, &table.key, &deleted);
        let item_key = item_key(&table)?;
        Ok(Self { config, client, table, projection, deleted, item_key, read_units: ReadUnits::default() })
    }

    /// The items that are there of these, in any order.
    async fn items_of(&self, keys: Vec<Key>) -> Result<Vec<Item>> {
        let requests: Vec<Vec<Key>> = keys.chunks(KEYS_MAX).map(<[Key]>::to_vec).collect();
        let asked: Vec<_> = requests.into_iter().map(|keys| self.ask(keys)).collect();
        let items: Vec<Vec<Item>> = stream::iter(asked).buffer_unordered(REQUESTS_MAX).try_collect().await?;
        Ok(items.into_iter().flatten().collect())
    }

    /// Asks for these until all of them are processed.
    async fn ask(&self, keys: Vec<Key>) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(keys.len());
        let mut left: Vec<_> = keys.into_iter().map(|key| to_wire(key.to_item(&self.table.key))).collect();
        let mut patience = Patience::new(CALLS_AGAIN, WITHOUT_A_KEY_MAX);
        loop {
            let asked = left.len();
            let (came, unprocessed) = self.ask_once(left).await?;
            // A key that no item has is processed, too.
            if unprocessed.len() < asked {
                patience = Patience::new(CALLS_AGAIN, WITHOUT_A_KEY_MAX);
            }
            items.extend(came);
            if unprocessed.is_empty() {
                return Ok(items);
            }
            let why = "keys are not processed: the table is busy";
            let error = Error::new(ErrorKind::RateLimited, LOOK_UP, why).with_retry(Retry::Retry);
            let error = error.with("table", &self.table.name).with("keys", unprocessed.len());
            let waited = patience.after(error, &self.table.name).await;
            // A lookup has changed nothing: its host may try again, for as long as it likes.
            waited.map_err(|error| error.with_retry(Retry::Retry))?;
            left = unprocessed;
        }
    }

    /// What came, and which keys were not processed.
    async fn ask_once(
        &self,
        keys: Vec<HashMap<String, AttributeValue>>,
    ) -> Result<(Vec<Item>, Vec<HashMap<String, AttributeValue>>)> {
        let projection = self.projection.as_ref();
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(self.config.consistent)
            .set_projection_expression(projection.map(|one| one.expression.clone()))
            .set_expression_attribute_names(projection.map(|one| one.names.clone()))
            .build()
            .map_err(|error| Error::new(ErrorKind::Bug, LOOK_UP, "a request has no keys").because(error))?;
        let request = self.client.batch_get_item().request_items(&self.table.name, wanted);
        let answer = request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
        let answer = answer.map_err(|error| failed(LOOK_UP, error).with("table", &self.table.name))?;
        self.read_units.consumed(&self.table.name, answer.consumed_capacity());
        let says_nothing = || says_nothing(LOOK_UP).with("table", &self.table.name);
        // Of one table: whatever it is called in the answer.
        let came = answer.responses.ok_or_else(says_nothing)?.into_values().flatten();
        let unprocessed = answer.unprocessed_keys.unwrap_or_default().into_values();
        Ok((came.map(of_wire).collect::<Result<_>>()?, unprocessed.flat_map(|keys| keys.keys).collect()))
    }
}

/// The key that these attributes are. `None`: they are of the right kinds, and no item can have them.
fn key_that_may_be(schema: &KeySchema, attributes: &Item) -> Result<Option<Key>> {
    if let Some(other) = attributes.keys().find(|name| !schema.has(name)) {
        let why = "this attribute does not belong to the key of the table: the function of a lookup makes the attributes of the key, and no others";
        return Err(Error::new(ErrorKind::Data, LOOK_UP, why)
            .with("attribute", other)
            .with("table_key", schema));
    }
    let error = match schema.key_of(attributes) {
        Ok(key) => return Ok(Some(key)),
        Err(error) => error,
    };
    let is_of_its_kind = schema.attributes().all(|attribute| match attributes.get(&attribute.name) {
        Some(Value::S(_)) => attribute.kind == KeyKind::S,
        Some(Value::N(_)) => attribute.kind == KeyKind::N,
        Some(Value::B(_)) => attribute.kind == KeyKind::B,
        _ => false,
    });
    if is_of_its_kind { Ok(None) } else { Err(error) }
}

#[async_trait]
impl<K> Lookup for DynamoLookup<K>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    type Key = K;
    type Value = Item;

    async fn lookup(&self, keys: &[K]) -> Result<Vec<Option<Item>>> {
        let mut answers: Vec<Option<Item>> = vec![None; keys.len()];
        // Several keys of a type may be one item's.
        let mut asked: HashMap<Key, Vec<usize>> = HashMap::with_capacity(keys.len());
        for (place, key) in keys.iter().enumerate() {
            if let Some(key) = key_that_may_be(&self.table.key, &(self.item_key)(key))? {
                asked.entry(key).or_default().push(place);
            }
        }
        if asked.is_empty() {
            return Ok(answers);
        }
        let mut answered = HashSet::with_capacity(asked.len());
        for mut item in self.items_of(asked.keys().cloned().collect()).await? {
            let key = self.table.key.key_of(&item)?;
            let Some(places) = asked.get(&key).filter(|_| answered.insert(key.clone())) else {
                let why = "DynamoDB answered with an item that nobody asked for, or twice with the same";
                return Err(Error::new(ErrorKind::Other, LOOK_UP, why).with("table", &self.table.name));
            };
            if self.deleted.is(&item) {
                continue;
            }
            if let Some(projection) = &self.projection {
                projection.strip(&mut item);
            }
            for place in places {
                answers[*place] = Some(item.clone());
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyAttribute;

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let config = || DynamoLookupConfig::new(AwsConfig::new(), "planes");
        let attributes = |names: &[&str]| {
            let attributes = names.iter().map(|&name| name.into()).collect();
            DynamoLookupConfig { attributes, ..config() }
        };
        assert!(config().validate().is_ok());
        assert!(attributes(&["last", "a.b"]).validate().is_ok());
        for (wrong, named) in [
            (DynamoLookupConfig { table: String::new(), ..config() }, "table"),
            (DynamoLookupConfig { table: "no space".into(), ..config() }, "table"),
            (attributes(&[""]), "attributes"),
            (attributes(&["a", "a"]), "attributes"),
            (DynamoLookupConfig { deleted_attribute: "x".repeat(65_536), ..config() }, "deleted_attribute"),
        ] {
            let error = wrong.validate().expect_err(named).to_string();
            assert!(error.contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn a_value_that_no_item_can_have_is_a_miss_and_a_key_of_another_table_is_an_error() {
        let attribute = |name: &str, kind| KeyAttribute { name: name.into(), kind };
        let schema =
            KeySchema { partition: attribute("pk", KeyKind::S), sort: Some(attribute("sk", KeyKind::N)) };
        let key = |pk: Value, sk: Value| Item::from([("pk".to_owned(), pk), ("sk".to_owned(), sk)]);
        let found = |item: Item| key_that_may_be(&schema, &item);
        assert!(found(key("a".into(), 1.into())).expect("a key").is_some());
        for no_item in [
            key("".into(), 1.into()),
            key("a".repeat(2_049).into(), 1.into()),
            key("a".into(), Value::N("9".repeat(39))),
        ] {
            assert_eq!(found(no_item).expect("a miss"), None);
        }
        let mut more = key("a".into(), 1.into());
        more.insert("other".into(), Value::Null);
        for wrong in [key(1.into(), 1.into()), key("a".into(), "1".into()), Item::new(), more] {
            assert_eq!(found(wrong).expect_err("no key of this table").kind(), ErrorKind::Data);
        }
    }
}
