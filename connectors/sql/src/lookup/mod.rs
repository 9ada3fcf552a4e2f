//! Enrichment from a table or a view.
//!
//! ```text
//!   keys ──1──> values of columns ──2──> one statement ──3──> rows ──4──> each to the key that it has
//!                     │ no row can have it                          │ no row
//!                     └──────────────────> a miss <─────────────────┘
//! ```
//!
//! 1. A key with a missing part, or with one that its column cannot hold, is in no row, and nobody is asked.
//! 2. All keys in one statement: as one list on PostgreSQL, elsewhere in a list that is padded to one of a few sizes.
//! 3. On a connection of a bounded pool. One that failed is closed; the host tries again, for errors that may pass.
//! 4. A row has its key with it: databases leave missing keys out, and give rows in any order.
//!
//! Caching, order, merging of equal keys and patience are the host's. Loaded whole, the same table is a
//! [`LookupTable`], where it is small enough.

mod config;
mod key;
mod plan;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::marker::PhantomData;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidelock::{Error, ErrorKind, Lookup, LookupTable, Result, Retry};
use tokio::task::yield_now;

pub use config::SqlLookupConfig;
use key::{Form, Wanted, form_of};
use plan::Plan;

use crate::client::{Access, Pool, Rows};
use crate::error::Fault;
use crate::row::{fields_of, from_row, from_values};
use crate::value::{Shown, SqlValue};

const SEVERAL_ROWS: &str = "several rows have this key: which of them counts, nobody knows";

/// How many rows of a table are read before somebody else has a turn.
const ROWS_PER_TURN: usize = 4_096;

/// Rows of a table or a view, by a key: for lookups, and for tables that are loaded whole.
///
/// `K` is the key: a value for a column, a tuple for several, or a struct of their names. `V` is a struct; its fields are
/// columns, and no others are asked for.
///
/// ```no_run
/// # use tidelock_sql::{SqlConfig, SqlLookup, SqlLookupConfig};
/// #[derive(Clone, serde::Deserialize)]
/// struct Plane {
///     model: String,
///     seats: Option<u32>,
/// }
///
/// # async fn open() -> tidelock::Result<()> {
/// let database = SqlConfig::from_url("postgres://reader:s3cret@db.example/fleet")?;
/// let planes = SqlLookup::<String, Plane>::open(SqlLookupConfig::new(database, "planes", ["tailnum"])).await?;
/// # Ok(()) }
/// ```
pub struct SqlLookup<K, V> {
    config: SqlLookupConfig,
    pool: Pool,
    plan: Plan,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> fmt::Debug for SqlLookup<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlLookup").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<K, V: DeserializeOwned> SqlLookup<K, V> {
    /// Looks at the table: what is missing is told now, and not when the first record comes.
    ///
    /// # Errors
    /// Where a setting cannot work, the database cannot be reached, or table or columns are not there.
    pub async fn open(config: SqlLookupConfig) -> Result<Self> {
        config.validate()?;
        let pool = Pool::new(config.database.clone(), Access::Read);
        let mut client = pool.get().await?;
        let fields = fields_of::<V>();
        let plan = Plan::make(&mut client, config.database.kind, &config.table, &config.key, fields).await?;
        client.give_back();
        Ok(Self { config, pool, plan, types: PhantomData })
    }

    async fn query(&self, statement: &str, values: Vec<SqlValue>) -> Result<Result<Rows, Fault>> {
        let mut client = self.pool.get().await?;
        let found = client.query(statement, values).await;
        if found.is_ok() {
            client.give_back();
        }
        Ok(found)
    }

    /// Whether it is the key that the database cannot read, and not something in a row of a view.
    async fn is_no_value(&self, mut key: Vec<Vec<SqlValue>>) -> Result<bool> {
        let (statement, values) = self.plan.ask_of_no_row(key.pop().unwrap_or_default());
        let asked = self.query(statement, values).await?;
        Ok(asked.is_err_and(|fault| fault.is_no_value()))
    }

    fn failed(&self, fault: Fault) -> Error {
        fault.during("look up").with("table", &self.config.table)
    }

    /// The rows of these keys. Of a type that the database reads from a text, a key may be no value at all: no row has it.
    async fn rows_of(&self, keys: Vec<Vec<SqlValue>>) -> Result<Vec<Vec<SqlValue>>> {
        let mut rows = Vec::new();
        let mut left = vec![keys];
        while let Some(mut keys) = left.pop() {
            let rest = keys.split_off(keys.len().min(self.plan.keys_max()));
            if !rest.is_empty() {
                left.push(rest);
            }
            let (statement, values) = self.plan.ask(keys.clone());
            match self.query(statement, values).await? {
                Ok(found) => rows.extend(found.rows),
                Err(fault) if fault.is_no_value() && keys.len() > 1 => {
                    let second = keys.split_off(keys.len() / 2);
                    left.extend([second, keys]);
                }
                Err(fault) => {
                    let is_no_value = fault.is_no_value() && self.is_no_value(keys).await?;
                    if !is_no_value {
                        return Err(self.failed(fault));
                    }
                }
            }
        }
        Ok(rows)
    }

    /// The value of a row without its key's columns, and these.
    fn read(&self, mut row: Vec<SqlValue>) -> Result<(V, Vec<SqlValue>)> {
        let key = row.split_off(self.plan.columns.len().min(row.len()));
        let value = from_row(&self.plan.columns, row).map_err(|why| self.data(why, &key))?;
        Ok((value, key))
    }

    /// An error of a row: with its key, and never with the rest of it.
    fn data(&self, why: impl Into<String>, key: &[SqlValue]) -> Error {
        let mut error = Error::new(ErrorKind::Data, "look up", why).with_retry(Retry::Halt);
        error = error.with("table", &self.config.table);
        for (name, value) in self.plan.key_names().iter().zip(key) {
            error = error.with("key", format!("{name}={}", Shown(value)));
        }
        error
    }
}

#[async_trait]
impl<K, V> Lookup for SqlLookup<K, V>
where
    K: Serialize + Clone + Eq + Hash + Send + Sync + 'static,
    V: DeserializeOwned + Clone + Send + Sync + 'static,
{
    type Key = K;
    type Value = V;

    async fn lookup(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        let mut answers: Vec<Option<V>> = vec![None; keys.len()];
        // Several keys of a type may be one in the table: 1 and 1.0.
        let mut asked: HashMap<Form, Vec<usize>> = HashMap::new();
        let mut values = Vec::with_capacity(keys.len());
        for (place, key) in keys.iter().enumerate() {
            let wanted = key::wanted(key, &self.plan.key, self.plan.dialect).map_err(|why| {
                let error = Error::new(ErrorKind::Config, "look up", why).with_retry(Retry::Halt);
                error.with("table", &self.config.table)
            })?;
            let Wanted::Row(parts, form) = wanted else { continue };
            let places = asked.entry(form).or_default();
            if places.is_empty() {
                values.push(parts);
            }
            places.push(place);
        }
        if values.is_empty() {
            return Ok(answers);
        }
        for row in self.rows_of(values).await? {
            let (value, key) = self.read(row)?;
            // A row that was found by rules of the database's own is nobody's answer.
            let Some(places) = form_of(&self.plan.key, &key).and_then(|form| asked.get(&form)) else {
                continue;
            };
            for place in places {
                if answers[*place].replace(value.clone()).is_some() {
                    return Err(self.data(SEVERAL_ROWS, &key));
                }
            }
        }
        Ok(answers)
    }
}

#[async_trait]
impl<K, V> LookupTable for SqlLookup<K, V>
where
    K: DeserializeOwned + Eq + Hash + Send + Sync + 'static,
    V: DeserializeOwned + Send + Sync + 'static,
{
    type Key = K;
    type Value = V;

    async fn load(&self) -> Result<Vec<(K, V)>> {
        let found = self.query(&self.plan.everything(self.config.rows_max), Vec::new()).await?;
        let rows = found.map_err(|fault| self.failed(fault))?;
        if rows.rows.len() > self.config.rows_max {
            let why =
                "the table has too many rows to be loaded whole: look keys up instead, or raise rows_max";
            let error = Error::new(ErrorKind::Config, "load a table", why).with_retry(Retry::Halt);
            return Err(error.with("table", &self.config.table).with("rows_max", self.config.rows_max));
        }
        let mut entries: Vec<(K, V)> = Vec::with_capacity(rows.rows.len());
        let (hashes, mut places) = (RandomState::new(), HashMap::with_capacity(rows.rows.len()));
        for (at, row) in rows.rows.into_iter().enumerate() {
            if at % ROWS_PER_TURN == 0 {
                yield_now().await;
            }
            let (value, mut key) = self.read(row)?;
            key::without_padding(&self.plan.key, &mut key);
            // No record asks for such a row.
            if key.contains(&SqlValue::Null) {
                continue;
            }
            let read: K =
                from_values(self.plan.key_names(), key.clone()).map_err(|why| self.data(why, &key))?;
            // The host would see it too, and could not say which key it is.
            let other = places.insert(hashes.hash_one(&read), entries.len());
            if other.is_some_and(|other: usize| entries[other].0 == read) {
                return Err(self.data(SEVERAL_ROWS, &key));
            }
            entries.push((read, value));
        }
        Ok(entries)
    }
}
