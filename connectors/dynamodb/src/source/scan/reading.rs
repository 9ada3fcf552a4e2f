//! What a scan and its readers share.

use aws_sdk_dynamodb::Client;

use super::config::DynamoScanConfig;
use crate::projection::Projection;

pub(super) struct Reading {
    pub(super) config: DynamoScanConfig,
    pub(super) client: Client,
    pub(super) projection: Option<Projection>,
}
