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
