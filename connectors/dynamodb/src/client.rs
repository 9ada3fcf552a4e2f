//! The clients of both services: one for tables, and one for their streams.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodbstreams::Client as StreamsClient;
use tidelock::Result;
use tidelock_aws::{AwsConfig, load};

/// For tables.
pub(crate) async fn client(config: &AwsConfig) -> Result<Client> {
    Ok(Client::new(&load(config).await?))
}

/// For tables and their streams.
pub(crate) async fn clients(config: &AwsConfig) -> Result<(Client, StreamsClient)> {
    let loaded = load(config).await?;
    Ok((Client::new(&loaded), StreamsClient::new(&loaded)))
}

#[cfg(test)]
mod tests {
    use tidelock::{ErrorKind, Retry};
    use tidelock_aws::failed;

    use super::*;

    #[tokio::test]
    async fn a_service_that_is_not_reached_is_named_by_its_host_and_port() {
        let mut config = AwsConfig::new().with_credentials("test", "s3cret");
        // Nobody serves there.
        (config.region, config.endpoint) =
            (Some("eu-central-1".into()), Some("http://127.0.0.1:1/path".into()));
        let (tables, streams) = clients(&config).await.expect("clients");
        let tables = tables.describe_table().table_name("orders").send().await.expect_err("nobody");
        let streams = streams.describe_stream().stream_arn("a").send().await.expect_err("nobody");
        for error in [failed("look", tables), failed("look", streams)] {
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry));
            let said = error.to_string();
            assert!(said.contains(" 127.0.0.1:1:") && said.contains("refused"), "{said}");
            assert!(!said.contains("s3cret") && !said.contains("path"), "{said}");
        }
    }
}
