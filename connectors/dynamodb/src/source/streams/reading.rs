//! What a stream and its readers share.

use super::api::Api;
use super::config::DynamoStreamConfig;
use super::loss::Losses;
use crate::deleted::Deleted;

#[derive(Debug)]
pub(super) struct Reading {
    pub(super) config: DynamoStreamConfig,
    pub(super) api: Api,
    pub(super) losses: Losses,
    pub(super) deleted: Deleted,
}

/// The time in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
