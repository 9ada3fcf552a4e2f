//! How a table of DynamoDB is named on the command line.

use std::fmt;
use std::str::FromStr;

use tidelock_dynamodb::{AwsConfig, DynamoSinkConfig};

/// How those names of AWS end that have the region in them.
const OF_AWS: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"];

/// A table and the service that has it: `https://dynamodb.REGION.amazonaws.com/TABLE`, or the address of another server and the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DynamoTable {
    endpoint: String,
    dynamodb: AwsConfig,
    name: String,
}

impl DynamoTable {
    pub(super) fn dynamodb(&self) -> &AwsConfig {
        &self.dynamodb
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, as the name of a folder.
    pub(crate) fn folder(&self) -> String {
        let legal = |one: char| if one.is_alphanumeric() || matches!(one, '.' | '_') { one } else { '-' };
        let whole = self.to_string();
        whole.split("://").last().unwrap_or_default().chars().map(legal).collect()
    }
}

/// The region, where AWS's own name of the service has it: `dynamodb.eu-central-1.amazonaws.com`. For every other server it comes from where AWS's tools
/// look for it.
fn region_of(endpoint: &str) -> Option<String> {
    let host = endpoint.split("://").nth(1)?.split([':', '/']).next()?;
    let mut labels =
        host.split('.').skip_while(|label| !matches!(*label, "dynamodb" | "dynamodb-fips" | "ddb"));
    // The oldest names have no region, and what stands there then has no hyphen.
    let region = labels.nth(1).filter(|label| label.contains('-'))?;
    OF_AWS.iter().any(|end| host.ends_with(end)).then(|| region.to_owned())
}

impl FromStr for DynamoTable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('/') {
            Some((endpoint, name)) if endpoint.contains("://") && !name.is_empty() => {
                let mut dynamodb = AwsConfig::new();
                (dynamodb.region, dynamodb.endpoint) = (region_of(endpoint), Some(endpoint.to_owned()));
                let checked = DynamoSinkConfig::new(dynamodb.clone(), name).validate();
                checked.map_err(|error| error.to_string())?;
                Ok(Self { endpoint: endpoint.to_owned(), dynamodb, name: name.to_owned() })
            }
            _ => Err("expected URL/TABLE: https://dynamodb.REGION.amazonaws.com/TABLE, or another server's \
                      http://HOST:PORT/TABLE"
                .to_owned()),
        }
    }
}

impl fmt::Display for DynamoTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.endpoint, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> DynamoTable {
        text.parse().unwrap()
    }

    #[test]
    fn the_service_and_the_table_are_told_apart() {
        let mine = table("http://127.0.0.1:8000/flights_by_hour");
        assert_eq!(mine.dynamodb().endpoint.as_deref(), Some("http://127.0.0.1:8000"));
        assert_eq!(
            (mine.name(), mine.folder()),
            ("flights_by_hour", "127.0.0.1-8000-flights_by_hour".into())
        );
        assert_eq!(mine.to_string(), "http://127.0.0.1:8000/flights_by_hour");
        for wrong in [
            "hours",
            "http://127.0.0.1:8000",
            "http://127.0.0.1:8000/",
            "/hours",
            "",
            "ftp://a/hours",
            "http://a/b c",
        ] {
            assert!(wrong.parse::<DynamoTable>().is_err(), "{wrong}");
        }
        assert!(!"http://me:s3cret@a/hours".parse::<DynamoTable>().unwrap_err().contains("s3cret"));
    }

    #[test]
    fn the_region_is_that_of_the_url_where_it_has_one() {
        for (endpoint, region) in [
            ("https://dynamodb.eu-central-1.amazonaws.com", Some("eu-central-1")),
            ("https://dynamodb-fips.us-east-1.amazonaws.com", Some("us-east-1")),
            ("https://123456789012.ddb.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("https://dynamodb.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("https://dynamodb.eu-central-1.api.aws", Some("eu-central-1")),
            ("https://vpce-1.dynamodb.eu-central-1.vpce.amazonaws.com", Some("eu-central-1")),
            ("https://dynamodb.amazonaws.com", None),
            ("http://127.0.0.1:8000", None),
            ("http://dynamodb.of-mine.example", None),
        ] {
            let region = region.map(str::to_owned);
            assert_eq!(table(&format!("{endpoint}/hours")).dynamodb().region, region, "{endpoint}");
        }
    }
}
