//! Makes streams where they are not there.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::create_stream::CreateStreamError;
use aws_sdk_kinesis::types::StreamStatus;
use tidelock::{Error, ErrorKind, Patience, Result, Retry};
use tidelock_aws::{AwsConfig, failed, says_nothing};

use crate::client::{CALLS_AGAIN, client};
use crate::error::setting;
use crate::source::check_stream;

const MAKE: &str = "make a stream";

/// A stream that was made can be written to within this time.
const MADE_WITHIN: Duration = Duration::from_secs(120);

/// Makes a stream with so many shards where there is none of its name, for examples and for tests, and waits until it can be written to; one that is there stays
/// as it is. What it keeps, and who may use it, is as the service has it by default.
///
/// ```no_run
/// # use tidelock_kinesis::{AwsConfig, make_stream};
/// # async fn make() -> tidelock::Result<()> {
/// make_stream(&AwsConfig::new(), "flights", 4).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Where a setting cannot work, Kinesis cannot be reached, or refuses.
pub async fn make_stream(kinesis: &AwsConfig, name: &str, shards: u32) -> Result<()> {
    check_stream("stream", name)?;
    let count = i32::try_from(shards).ok().filter(|count| *count > 0);
    let Some(count) = count else { return Err(setting("shards", "a stream has one shard at least")) };
    let client = client(kinesis).await?;
    let mut patience = Patience::new(CALLS_AGAIN, MADE_WITHIN);
    let mut is_made = false;
    loop {
        let error = match status(&client, name).await {
            Ok(Some(StreamStatus::Active | StreamStatus::Updating)) => return Ok(()),
            Ok(Some(status)) => {
                let error = Error::new(ErrorKind::Unavailable, MAKE, "the stream cannot be written to yet");
                error.with_retry(Retry::Retry).with("status", status)
            }
            Ok(None) if is_made => {
                let error =
                    Error::new(ErrorKind::Unavailable, MAKE, "the stream was made and is not shown yet");
                error.with_retry(Retry::Retry)
            }
            Ok(None) => match make(&client, name, count).await {
                Ok(()) => {
                    is_made = true;
                    continue;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        patience.after(error.with("stream", name), name).await?;
    }
}

/// `None`: there is no such stream.
async fn status(client: &Client, name: &str) -> Result<Option<StreamStatus>> {
    const LOOK: &str = "look at a stream";
    match client.describe_stream_summary().stream_name(name).send().await {
        Ok(answer) => {
            let summary = answer.stream_description_summary.filter(|summary| !summary.stream_name.is_empty());
            summary.map(|summary| Some(summary.stream_status)).ok_or_else(|| says_nothing(LOOK))
        }
        Err(error)
            if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed(LOOK, error)),
    }
}

/// An answer may be lost, and somebody else may be making it in this moment: what counts is that it is there then.
async fn make(client: &Client, name: &str, shards: i32) -> Result<()> {
    match client.create_stream().stream_name(name).shard_count(shards).send().await {
        Ok(_) => Ok(()),
        Err(error)
            if error.as_service_error().is_some_and(CreateStreamError::is_resource_in_use_exception) =>
        {
            Ok(())
        }
        Err(error) => Err(failed(MAKE, error)),
    }
}
