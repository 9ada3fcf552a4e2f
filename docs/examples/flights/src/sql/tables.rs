//! Planes and airlines in a database.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidelock::{LookupTable, Result};
use tidelock_sql::{SqlLookup, SqlLookupConfig};

use super::Database;
use crate::tables::Table;

#[derive(Deserialize)]
struct Plane {
    seats: Option<u64>,
}

#[derive(Deserialize)]
struct Airline {
    name: String,
}

/// Seats by tail number.
pub(crate) async fn planes(database: &Database) -> Result<Table<u64>> {
    table(database, "planes", "tailnum", |plane: Plane| plane.seats).await
}

/// Names by carrier.
pub(crate) async fn airlines(database: &Database) -> Result<Table<Arc<str>>> {
    table(database, "airlines", "carrier", |airline: Airline| Some(airline.name.into())).await
}

async fn table<T, V>(
    database: &Database,
    name: &str,
    key: &str,
    value: fn(T) -> Option<V>,
) -> Result<Table<V>>
where
    T: DeserializeOwned + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let config = SqlLookupConfig::new((**database).clone(), name, [key]);
    Ok(Table::new(Column { rows: SqlLookup::open(config).await?, value }))
}

/// What is needed of the rows of a table.
struct Column<T, V> {
    rows: SqlLookup<String, T>,
    value: fn(T) -> Option<V>,
}

#[async_trait]
impl<T, V> LookupTable for Column<T, V>
where
    T: DeserializeOwned + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    type Key = String;
    type Value = V;

    async fn load(&self) -> Result<Vec<(String, V)>> {
        let rows = self.rows.load().await?;
        Ok(rows.into_iter().filter_map(|(key, row)| Some((key, (self.value)(row)?))).collect())
    }
}
