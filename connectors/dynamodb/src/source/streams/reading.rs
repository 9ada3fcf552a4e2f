//! What a stream and its readers share.

use super::api::Api;
use super::config::DynamoStreamConfig;
use super::loss::Losses;

#[derive(Debug)]
pub(super) struct Reading {
    pub(super) config: DynamoStreamConfig,
    pub(super) api: Api,
    pub(super) losses: Losses,
}

/// The time in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
