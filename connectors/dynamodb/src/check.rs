//! What is known of a record alone: whether it can be written.
//!
//! DynamoDB says of a batch that something in it cannot be, and not what, and it says so when others are under way: so nothing is sent that was not
//! looked at.

use tidelock::{Error, ErrorKind, Result};

use crate::change::{Change, ItemChange, ItemUpdate};
use crate::item::{Item, item_bytes};
use crate::key::{IndexKey, Key, KeySchema};
use crate::sink_config::{DynamoSinkConfig, Mode, Versions};
use crate::table::Table;
use crate::value::{Value, is_name};

const OPERATION: &str = "write an item";

/// The most bytes of an item.
pub(crate) const ITEM_BYTES_MAX: usize = 400 * 1_024;

/// What an update is written with may have 4 KB, which these fit into whatever they are called.
pub(crate) const UPDATE_ATTRIBUTES_MAX: usize = 300;

/// What an update costs of the 400 KB beside its names and values, and each attribute that it gives a value.
const UPDATE_BYTES: usize = 3;
const SET_BYTES: usize = 19;

/// What DynamoDB counts of an update alone, whatever the item has: it is held to the 400 KB of an item.
pub(crate) fn update_bytes(update: &ItemUpdate) -> usize {
    let values = [&update.set, &update.add].map(|values| item_bytes(values) + SET_BYTES * values.len());
    let removed: usize = update.remove.iter().map(|name| name.len() + 1).sum();
    UPDATE_BYTES + values.iter().sum::<usize>() + removed
}

/// The most bytes of a version, as text.
const VERSION_BYTES: usize = 64;

/// What a table and the settings allow.
#[derive(Debug)]
pub(crate) struct Checks {
    table: String,
    schema: KeySchema,
    index_keys: Vec<IndexKey>,
    mode: Mode,
    /// Whether the version of a record counts.
    by_record: bool,
    /// Attributes that are the sink's own.
    own: Vec<String>,
    /// What comes to an item by the sink.
    own_bytes: usize,
}

impl Checks {
    pub(crate) fn new(config: &DynamoSinkConfig, table: &Table) -> Self {
        let is_versioned = config.mode == Mode::Versioned;
        let own = [&config.version_attribute, &config.deleted_attribute];
        Self {
            table: table.name.clone(),
            schema: table.key.clone(),
            index_keys: table.index_keys.clone(),
            mode: config.mode,
            by_record: is_versioned && config.versions == Versions::Record,
            own: own.into_iter().filter(|_| is_versioned).cloned().collect(),
            own_bytes: if is_versioned { config.version_attribute.len() + VERSION_BYTES } else { 0 },
        }
    }

    /// Whether the record can be written. Gives the key of its item.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] where it cannot be, now or ever.
    pub(crate) fn check(&self, record: &ItemChange) -> Result<Key> {
        let key = self.schema.key_of_change(record).map_err(|error| error.with("table", &self.table))?;
        let refuse = |why: &str| Err(self.refused(&key, why));
        if self.by_record && record.version.is_none() {
            return refuse("the record has no version, and versions are those of the records");
        }
        match &record.change {
            Change::Put(item) => self.check_attributes(&key, item)?,
            Change::Update(_) if self.mode == Mode::Batched => {
                let why = "in the mode `batched` items are put and deleted, and not updated: it is done in the modes `versioned` and `ledger`";
                return Err(self.refused(&key, why).with("setting", "mode"));
            }
            Change::Update(update) => self.check_update(&key, update)?,
            Change::Delete(_) => {}
        }
        Ok(key)
    }

    fn check_update(&self, key: &Key, update: &ItemUpdate) -> Result<()> {
        let ItemUpdate { key: of_key, set, remove, add } = update;
        if self.mode != Mode::Ledger && !add.is_empty() {
            let why = "who sends an addition again after a lost answer counts twice: it is done in the mode `ledger`";
            return Err(self.refused(key, why).with("setting", "mode"));
        }
        let is_number_or_set =
            |value: &Value| matches!(value, Value::N(_) | Value::Ss(_) | Value::Ns(_) | Value::Bs(_));
        if let Some((name, _)) = add.iter().find(|(_, value)| !is_number_or_set(value)) {
            return Err(self.refused(key, "only numbers and sets can be added").with("attribute", name));
        }
        let attributes = set.len() + remove.len() + add.len();
        if attributes > UPDATE_ATTRIBUTES_MAX {
            let why = "an update changes too many attributes: put the item";
            let error = self.refused(key, why).with("attributes", attributes);
            return Err(error.with("attributes_max", UPDATE_ATTRIBUTES_MAX));
        }
        for name in remove {
            self.check_name(key, name)?;
        }
        let mut whole = of_key.clone();
        whole.extend(set.iter().chain(add).map(|(name, value)| (name.clone(), value.clone())));
        self.check_attributes(key, &whole)?;
        match self.mode {
            Mode::Versioned => self.check_bytes(key, update_bytes(update) + SET_BYTES + self.own_bytes),
            Mode::Batched | Mode::Ledger => Ok(()),
        }
    }

    fn check_attributes(&self, key: &Key, item: &Item) -> Result<()> {
        for (name, value) in item {
            self.check_name(key, name)?;
            if let Some(why) = value.refused() {
                return Err(self.refused(key, why).with("attribute", name));
            }
        }
        for index_key in &self.index_keys {
            if let Some(why) = index_key.refused(item) {
                return Err(self.refused(key, &why).with("attribute", &index_key.attribute.name));
            }
        }
        self.check_bytes(key, item_bytes(item) + self.own_bytes)
    }

    fn check_bytes(&self, key: &Key, bytes: usize) -> Result<()> {
        if bytes > ITEM_BYTES_MAX {
            let error = self.refused(key, "the item is larger than DynamoDB allows, which is 400 KB");
            return Err(error.with("bytes", bytes).with("bytes_max", ITEM_BYTES_MAX));
        }
        Ok(())
    }

    fn check_name(&self, key: &Key, name: &String) -> Result<()> {
        let refuse = |why: &str| Err(self.refused(key, why).with("attribute", shown(name)));
        if !is_name(name) {
            return refuse("the name of an attribute has 1 to 65,535 bytes");
        }
        if self.own.contains(name) {
            return refuse(
                "this attribute is the sink's own: name another one by version_attribute or deleted_attribute",
            );
        }
        Ok(())
    }

    fn refused(&self, key: &Key, why: &str) -> Error {
        Error::new(ErrorKind::Data, OPERATION, why).with("table", &self.table).with("key", key)
    }
}

/// How much of a name an error shows.
const SHOWN_MAX: usize = 64;

fn shown(name: &str) -> String {
    name.chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use tidelock_aws::AwsConfig;

    use super::*;
    use crate::key::{KeyAttribute, KeyKind};

    fn checks(change: impl FnOnce(&mut DynamoSinkConfig)) -> Checks {
        let mut config = DynamoSinkConfig::new(AwsConfig::new(), "orders");
        change(&mut config);
        let partition = KeyAttribute { name: "pk".into(), kind: KeyKind::S };
        let table = Table {
            name: "orders".into(),
            id: None,
            key: KeySchema { partition, sort: None },
            index_keys: Vec::new(),
            stream_arn: None,
            is_on_demand: true,
            replicas: Vec::new(),
        };
        Checks::new(&config, &table)
    }

    fn item(values: &[(&str, Value)]) -> Item {
        values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn update() -> ItemUpdate {
        ItemUpdate::of(item(&[("pk", "a".into())]))
    }

    fn put(name: &str, value: Value) -> ItemChange {
        ItemChange::put(item(&[("pk", "a".into()), (name, value)]))
    }

    #[test]
    fn what_dynamodb_would_not_take_is_refused_before_it_is_sent_and_named_by_its_key() {
        let checks = checks(|_| ());
        let room =
            ITEM_BYTES_MAX - "pk".len() - "a".len() - "b".len() - "tidelock_version".len() - VERSION_BYTES;
        for good in [
            put("b", "x".repeat(room).into()),
            put("b", "".into()),
            ItemChange::update(update().set("b", Value::Null).remove("c")),
            ItemChange::update(update()),
            ItemChange::delete(item(&[("pk", "a".into())])),
        ] {
            checks.check(&good).unwrap_or_else(|error| panic!("{error}"));
        }
        let many = (0..=UPDATE_ATTRIBUTES_MAX).fold(update(), |update, at| update.set(format!("a{at}"), 1));
        for (record, why) in [
            (put("b", "x".repeat(room + 1).into()), "400 KB"),
            (ItemChange::update(update().set("b", "x".repeat(ITEM_BYTES_MAX))), "400 KB"),
            (put("b", Value::Ss([].into())), "empty set"),
            (put("b", Value::N("one".into())), "number"),
            (put("", Value::Null), "name of an attribute"),
            (ItemChange::update(update().remove("n".repeat(65_536))), "name of an attribute"),
            (put("tidelock_version", 1.into()), "own"),
            (ItemChange::update(update().remove("tidelock_deleted")), "own"),
            (ItemChange::update(many), "too many attributes"),
            (ItemChange::update(update().add("n", 1)), "mode `ledger`"),
            (ItemChange::delete(item(&[("sk", "a".into())])), "missing"),
        ] {
            let error = checks.check(&record).expect_err(why);
            assert_eq!(error.kind(), ErrorKind::Data);
            let said = error.to_string();
            assert!(said.contains(why) && said.contains("table=orders") && said.len() < 400, "{said}");
            assert!(said.contains("key=a") || why == "missing", "{said}");
        }
    }

    #[test]
    fn what_a_mode_cannot_do_is_refused_by_its_name() {
        let batched = checks(|config| config.mode = Mode::Batched);
        batched.check(&put("tidelock_version", 1.into())).expect("nobody's own here");
        let error =
            batched.check(&ItemChange::update(update().set("b", 1))).expect_err("refused").to_string();
        assert!(error.contains("setting=mode") && error.contains("`batched`"), "{error}");
        let ledger = checks(|config| config.mode = Mode::Ledger);
        ledger.check(&ItemChange::update(update().add("n", 1))).expect("it is done");
        let error =
            ledger.check(&ItemChange::update(update().add("n", "1"))).expect_err("refused").to_string();
        assert!(error.contains("only numbers and sets") && error.contains("attribute=n"), "{error}");
        let by_record = checks(|config| config.versions = Versions::Record);
        by_record.check(&put("b", 1.into()).with_version(u64::MAX)).expect("it has one");
        let error = by_record.check(&put("b", 1.into())).expect_err("refused").to_string();
        assert!(error.contains("no version"), "{error}");
    }

    #[test]
    fn the_attribute_by_which_deleted_items_go_may_be_of_the_records_too() {
        let checks = checks(|config| config.tombstone_ttl_attribute = Some("expires".into()));
        checks.check(&put("expires", 1_800_000_000.into())).expect("items may go by it as well");
    }
}
