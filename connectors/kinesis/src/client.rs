//! The client of the service.

use aws_sdk_kinesis::Client;
use tidelock::Result;
use tidelock_aws::{AwsConfig, load};

/// Counts the calls that are made again.
pub(crate) const CALLS_AGAIN: &str = "tidelock_kinesis_calls_again_total";

/// # Errors
/// Where a setting cannot work, or there is no region or no credentials.
pub(crate) async fn client(config: &AwsConfig) -> Result<Client> {
    Ok(Client::new(&load(config).await?))
}
