//! The planes and airlines that flights are enriched with: small tables, in memory as a whole.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tidelock::{Error, ErrorKind, LookupTable, Result};

#[derive(Debug, Deserialize)]
struct Plane {
    tailnum: String,
    #[serde(deserialize_with = "known")]
    seats: Option<u64>,
}

/// A number, or `NA` where it is missing.
fn known<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "NA" { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
}

#[derive(Debug, Deserialize)]
struct Airline {
    carrier: String,
    name: String,
}

/// A table, wherever it comes from.
pub(crate) struct Table<V>(Box<dyn LookupTable<Key = String, Value = V>>);

impl<V> Table<V> {
    pub(crate) fn new(table: impl LookupTable<Key = String, Value = V>) -> Self {
        Self(Box::new(table))
    }
}

#[async_trait]
impl<V: Send + Sync + 'static> LookupTable for Table<V> {
    type Key = String;
    type Value = V;

    async fn load(&self) -> Result<Vec<(String, V)>> {
        self.0.load().await
    }
}

/// A table that was read from a file.
struct Read<V>(HashMap<String, V>);

/// Seats by tail number.
pub(crate) fn planes(data: &str) -> Result<Table<u64>> {
    read(data, "planes.csv", |plane: Plane| Some((plane.tailnum, plane.seats?)))
}

/// Names by carrier.
pub(crate) fn airlines(data: &str) -> Result<Table<Arc<str>>> {
    read(data, "airlines.csv", |airline: Airline| Some((airline.carrier, airline.name.into())))
}

fn read<T: DeserializeOwned, V: Clone + Send + Sync + 'static>(
    data: &str,
    name: &str,
    entry: impl Fn(T) -> Option<(String, V)>,
) -> Result<Table<V>> {
    let path = Path::new(data).join(name);
    let failed = |error: csv::Error| {
        let kind = match error.kind() {
            csv::ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            csv::ErrorKind::Io(_) => ErrorKind::Other,
            _ => ErrorKind::Data,
        };
        Error::new(kind, "read a table", error.to_string()).with("path", path.display())
    };
    let mut reader = csv::Reader::from_path(&path).map_err(failed)?;
    let mut table = HashMap::new();
    for line in reader.deserialize::<T>() {
        let Some((key, value)) = entry(line.map_err(failed)?) else { continue };
        if table.insert(key.clone(), value).is_some() {
            return Err(Error::new(ErrorKind::Data, "read a table", "a key is there twice")
                .with("path", path.display())
                .with("key", key));
        }
    }
    Ok(Table::new(Read(table)))
}

#[async_trait]
impl<V: Clone + Send + Sync + 'static> LookupTable for Read<V> {
    type Key = String;
    type Value = V;

    async fn load(&self) -> Result<Vec<(String, V)>> {
        Ok(self.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data");

    #[tokio::test]
    async fn tables_have_their_keys_and_no_plane_of_unknown_seats() {
        let planes: HashMap<_, _> = planes(DATA).unwrap().load().await.unwrap().into_iter().collect();
        let seats = ["N14228", "nobody", "N24211"].map(|tailnum| planes.get(tailnum).copied());
        assert_eq!(seats, [Some(149), None, Some(149)]);
        let airlines: HashMap<_, _> = airlines(DATA).unwrap().load().await.unwrap().into_iter().collect();
        assert_eq!(airlines.get("UA"), Some(&Arc::from("United Air Lines Inc.")));
    }

    #[test]
    fn a_missing_table_and_a_missing_column_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let error = airlines(data).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("airlines.csv"), "{error}");
        std::fs::write(folder.path().join("airlines.csv"), "carrier,title\nUA,United\n").unwrap();
        let error = airlines(data).err().unwrap().to_string();
        assert!(error.contains("airlines.csv") && error.contains("`name`"), "{error}");
    }
}
