//! What a scan and its readers share.

use aws_sdk_dynamodb::Client;
use tidelock::Result;

use super::config::DynamoScanConfig;
use crate::deleted::Deleted;
use crate::mark::Mark;
use crate::projection::Projection;
use crate::read_units::ReadUnits;
use crate::table::Table;

pub(super) struct Reading {
    pub(super) config: DynamoScanConfig,
    pub(super) client: Client,
    pub(super) projection: Option<Projection>,
    pub(super) deleted: Deleted,
    pub(super) read_units: ReadUnits,
}

impl Reading {
    /// The table that there is now.
    pub(super) async fn look(&self) -> Result<Mark> {
        Ok(Mark::of(&Table::look(&self.client, &self.config.table).await?))
    }
}
