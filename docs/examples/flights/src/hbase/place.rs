//! How a table of HBase is named on the command line.

use std::fmt;
use std::str::FromStr;

use tidelock_hbase::HbaseConfig;

/// A table and the gateways that reach it: `HOST:PORT/TABLE`, more gateways with commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HbaseTable {
    hbase: HbaseConfig,
    name: String,
}

impl HbaseTable {
    pub(super) fn hbase(&self) -> &HbaseConfig {
        &self.hbase
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its name, as that of a folder.
    pub(crate) fn folder(&self) -> String {
        let legal = |one: char| if one.is_alphanumeric() || one == '.' { one } else { '-' };
        self.name.chars().map(legal).collect()
    }
}

impl FromStr for HbaseTable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('/') {
            Some((gateways, name)) if !gateways.is_empty() && !name.is_empty() => {
                let hbase = HbaseConfig::new(gateways.split(','));
                hbase.validate().map_err(|error| error.to_string())?;
                Ok(Self { hbase, name: name.to_owned() })
            }
            _ => Err("expected HOST:PORT/TABLE, more gateways with commas".to_owned()),
        }
    }
}

impl fmt::Display for HbaseTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hbase.gateways.join(","), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_and_table_are_told_apart() {
        let table: HbaseTable = "g1:9090,g2:9090/air:hours".parse().unwrap();
        assert_eq!(table.hbase().gateways, ["g1:9090", "g2:9090"]);
        assert_eq!((table.name(), table.folder()), ("air:hours", "air-hours".into()));
        assert_eq!(table.to_string(), "g1:9090,g2:9090/air:hours");
        for wrong in ["hours", "/hours", "g1:9090/", "", ",/hours", "g1:x/hours"] {
            assert!(wrong.parse::<HbaseTable>().is_err(), "{wrong}");
        }
    }
}
