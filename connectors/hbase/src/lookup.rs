//! Enrichment from a table.
//!
//! ```text
//!   keys ──1──> row keys ──2──> one call ──3──> rows ──4──> each to the keys that it has
//!                  │ no row can have it                       │ no row
//!                  └──────────────────> a miss <──────────────┘
//! ```
//!
//! 1. By a function, or the bytes of the key as they are. A table has no row whose key is empty or longer than 32,767 bytes, and
//!    nobody is asked for one.
//! 2. `getRows`, for up to a thousand keys and as many bytes as a request has. Where the answer would be too large, for half of them, and so on.
//! 3. On a connection of a bounded pool. One that failed is closed; the host tries again, for errors that may pass.
//! 4. A row has its key with it: a gateway leaves missing rows out.
//!
//! Caching, order, merging of equal keys and patience are the host's.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;

use async_trait::async_trait;
use bytes::Bytes;
use hbase_thrift::hbase::THbaseSyncClient;
use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Lookup, Result};

use crate::config::HbaseConfig;
use crate::gateway::{Gateways, is_answer_too_large};
use crate::row::HbaseRow;
use crate::table::{Table, check_name};
use crate::wanted::{self, Wanted};

const LOOK_UP: &str = "look up";

/// How many keys one call has: many enough that their number costs nothing, and few enough that a call is not long.
const KEYS_MAX: usize = 1_000;

/// The longest row key that a table can have.
const ROW_KEY_MAX: usize = 32_767;

/// What a request has beside its keys: the names of table and columns have their own share.
const REQUEST_REST: usize = 20_000;

/// How a lookup asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HbaseLookupConfig {
    /// The gateways.
    pub hbase: HbaseConfig,
    /// The table, perhaps with its namespace: `planes` or `fleet:planes`. Required.
    pub table: String,
    /// What is asked for of a row: columns, as `family:qualifier`, and whole families, as `family`. A row that has none of them is a miss.
    /// Default: all of it.
    #[serde(default)]
    pub columns: Vec<String>,
}

impl HbaseLookupConfig {
    /// Whole rows of `table`.
    pub fn new(hbase: HbaseConfig, table: impl Into<String>) -> Self {
        Self { hbase, table: table.into(), columns: Vec::new() }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.hbase.validate()?;
        check_name(&self.table)?;
        wanted::check(&self.columns)
    }
}

/// Makes the row key of a key.
type RowKey<K> = Box<dyn Fn(&K) -> Vec<u8> + Send + Sync>;

/// Rows of a table, by a key.
///
/// `K` is the key, of any type: a function makes the row key of it. What is found is an [`HbaseRow`].
///
/// ```no_run
/// # use tidelock_hbase::{HbaseConfig, HbaseLookup, HbaseLookupConfig};
/// # async fn open() -> tidelock::Result<()> {
/// let hbase = HbaseConfig::new(["gateway-1.example:9090", "gateway-2.example:9090"]);
/// let mut planes = HbaseLookupConfig::new(hbase, "planes");
/// planes.columns = vec!["info:model".into(), "info:seats".into()];
/// // Texts and bytes are row keys as they are.
/// let by_text: HbaseLookup<String> = HbaseLookup::open_by_bytes(planes.clone()).await?;
/// // Everything else becomes one.
/// let by_number = HbaseLookup::open(planes, |number: &u64| number.to_be_bytes().to_vec()).await?;
/// # Ok(()) }
/// ```
pub struct HbaseLookup<K> {
    config: HbaseLookupConfig,
    gateways: Gateways,
    columns: Vec<Vec<u8>>,
    row_key: RowKey<K>,
}

impl<K> fmt::Debug for HbaseLookup<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HbaseLookup").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<K: AsRef<[u8]>> HbaseLookup<K> {
    /// Keys that are row keys as they are. See [`HbaseLookup::open`].
    ///
    /// # Errors
    /// Those of [`HbaseLookup::open`].
    pub async fn open_by_bytes(config: HbaseLookupConfig) -> Result<Self> {
        Self::open(config, |key: &K| key.as_ref().to_vec()).await
    }
}

impl<K> HbaseLookup<K> {
    /// Looks at the gateways and the table: what is missing is told now, and not when the first record comes.
    ///
    /// # Errors
    /// Where a setting cannot work, no gateway can be reached, one of them is none of Thrift 1, or table or families are not there.
    pub async fn open(
        config: HbaseLookupConfig,
        row_key: impl Fn(&K) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Self> {
        config.validate()?;
        let gateways = Gateways::new(&config.hbase)?;
        let table = Table::look(&gateways, &config.table).await?;
        let wanted: Vec<Wanted> = config.columns.iter().filter_map(|text| Wanted::parse(text)).collect();
        for wanted in &wanted {
            table.family(wanted.family())?;
        }
        let columns = wanted.iter().map(Wanted::to_wire).collect();
        Ok(Self { config, gateways, columns, row_key: Box::new(row_key) })
    }

    /// The rows that are there of these, in any order.
    async fn rows_of(&self, keys: Vec<Bytes>) -> Result<Vec<HbaseRow>> {
        let mut rows = Vec::new();
        let mut left = vec![keys];
        while let Some(mut keys) = left.pop() {
            let rest = keys.split_off(self.fitting(&keys));
            if !rest.is_empty() {
                left.push(rest);
            }
            match self.ask(&keys).await {
                Ok(found) => rows.extend(found),
                // Fewer rows are a smaller answer. One row alone is told as it is.
                Err(error) if is_answer_too_large(&error) && keys.len() > 1 => {
                    let second = keys.split_off(keys.len() / 2);
                    left.extend([second, keys]);
                }
                Err(error) => return Err(error.with("table", &self.config.table)),
            }
        }
        Ok(rows)
    }

    /// How many of these fit into one call: at least one.
    fn fitting(&self, keys: &[Bytes]) -> usize {
        let columns: usize = self.columns.iter().map(|column| column.len() + 16).sum();
        let mut bytes_left = self.gateways.request_bytes_max().saturating_sub(REQUEST_REST + columns);
        let fits = |key: &&Bytes| {
            let fits = bytes_left.checked_sub(key.len() + 16);
            bytes_left = fits.unwrap_or(0);
            fits.is_some()
        };
        keys.iter().take(KEYS_MAX).take_while(fits).count().max(1).min(keys.len())
    }

    async fn ask(&self, keys: &[Bytes]) -> Result<Vec<HbaseRow>> {
        let table = self.config.table.as_bytes().to_vec();
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
        let columns = self.columns.clone();
        let call = self.gateways.call(LOOK_UP, move |client| {
            let attributes = BTreeMap::new();
            if columns.is_empty() {
                client.get_rows(table, keys, attributes)
            } else {
                client.get_rows_with_columns(table, keys, columns, attributes)
            }
        });
        call.await?.into_iter().map(HbaseRow::of_wire).collect()
    }
}

#[async_trait]
impl<K> Lookup for HbaseLookup<K>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    type Key = K;
    type Value = HbaseRow;

    async fn lookup(&self, keys: &[K]) -> Result<Vec<Option<HbaseRow>>> {
        let mut answers: Vec<Option<HbaseRow>> = vec![None; keys.len()];
        // Several keys of a type may be one row key.
        let mut asked: HashMap<Bytes, Vec<usize>> = HashMap::with_capacity(keys.len());
        let mut wanted = Vec::with_capacity(keys.len());
        for (place, key) in keys.iter().enumerate() {
            let row_key = Bytes::from((self.row_key)(key));
            if row_key.is_empty() || row_key.len() > ROW_KEY_MAX {
                continue;
            }
            let places = asked.entry(row_key.clone()).or_default();
            if places.is_empty() {
                wanted.push(row_key);
            }
            places.push(place);
        }
        if wanted.is_empty() {
            return Ok(answers);
        }
        for row in self.rows_of(wanted).await? {
            let Some(places) = asked.get(&row.row) else {
                let why = "a gateway answered with a row that nobody asked for";
                return Err(Error::new(ErrorKind::Other, LOOK_UP, why).with("table", &self.config.table));
            };
            // A row without any cell is one that is not there.
            if row.cells.is_empty() {
                continue;
            }
            for place in places {
                answers[*place] = Some(row.clone());
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let config = || HbaseLookupConfig::new(HbaseConfig::new(["a"]), "planes");
        let columns = |texts: &[&str]| {
            let columns = texts.iter().map(|&text| text.into()).collect();
            HbaseLookupConfig { columns, ..config() }
        };
        assert!(config().validate().is_ok());
        assert!(columns(&["info", "more:seats", r"more:\x00"]).validate().is_ok());
        for (wrong, named) in [
            (HbaseLookupConfig { table: String::new(), ..config() }, "table"),
            (HbaseLookupConfig { hbase: HbaseConfig::new([""]), ..config() }, "gateways"),
            (columns(&[""]), "columns"),
            (columns(&["info:"]), "columns"),
            (columns(&["info", "info"]), "columns"),
            (columns(&[r"info:\y"]), "columns"),
        ] {
            let error = wrong.validate().expect_err(named).to_string();
            assert!(error.contains(&format!("setting={named}")), "{error}");
        }
    }
}
