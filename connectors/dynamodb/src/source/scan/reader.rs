//! Reads the items of one segment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use tidelock::{Batch, Error, Patience, Result, SplitReader};
use tidelock_aws::{failed, says_nothing};

use super::reading::Reading;
use super::segment::{DynamoSegment, Place, SCAN};
use crate::item::Item;
use crate::source::size::heap_bytes;
use crate::table::CALLS_AGAIN;
use crate::wire::{of_wire, to_wire};

/// Reads the items of one segment.
pub struct DynamoScanReader {
    split: DynamoSegment,
    reading: Arc<Reading>,
    /// What the last items take.
    bytes: u64,
}

impl fmt::Debug for DynamoScanReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoScanReader").field("split", &self.split).finish_non_exhaustive()
    }
}

impl DynamoScanReader {
    pub(super) fn new(split: DynamoSegment, reading: Arc<Reading>) -> Self {
        Self { split, reading, bytes: 0 }
    }

    /// The page after this key, asked for until there is an answer or an error that does not pass: what comes after a key is decided by nothing else.
    async fn page(&self, after: Option<Item>) -> Result<ScanOutput> {
        let Reading { config, .. } = &*self.reading;
        let mut patience = Patience::new(CALLS_AGAIN, Duration::from_millis(config.retry_for_ms));
        loop {
            match self.page_once(after.clone()).await {
                Ok(page) => return Ok(page),
                Err(error) => patience.after(error, &config.table).await?,
            }
        }
    }

    async fn page_once(&self, after: Option<Item>) -> Result<ScanOutput> {
        let Reading { config, client, projection, read_units, .. } = &*self.reading;
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let projection = projection.as_ref();
        let request = client
            .scan()
            .table_name(&config.table)
            .segment(number(self.split.segment))
            .total_segments(number(self.split.segments))
            .limit(number(config.batch_items))
            .consistent_read(config.consistent)
            .set_projection_expression(projection.map(|one| one.expression.clone()))
            .set_expression_attribute_names(projection.map(|one| one.names.clone()))
            .set_exclusive_start_key(after.map(to_wire))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let named = |error: Error| error.with("table", &config.table).with("segment", self.split.segment);
        let page = request.send().await.map_err(|error| named(failed(SCAN, error)))?;
        read_units.consumed(&config.table, page.consumed_capacity());
        // Taken for a page it would be the end of the segment.
        if page.items.is_none() {
            return Err(named(says_nothing(SCAN)));
        }
        Ok(page)
    }

    /// At the end: whether all pages were of the table that the segment was cut of.
    async fn check_whole(&self) -> Result<()> {
        if self.split.table_id.is_none() {
            return Ok(());
        }
        self.split.check(&self.reading.look().await?)
    }
}

#[async_trait]
impl SplitReader for DynamoScanReader {
    type Record = Item;
    type Split = DynamoSegment;

    async fn next(&mut self) -> Result<Option<Batch<Item, DynamoSegment>>> {
        let after = match &self.split.place {
            Place::End => return Ok(None),
            Place::Start => None,
            Place::After(key) => Some(key.clone()),
        };
        let page = self.page(after).await?;
        // Of an empty key there is none, whatever a server writes for it.
        self.split.place = match page.last_evaluated_key.filter(|key| !key.is_empty()) {
            Some(key) => Place::After(of_wire(key)?),
            None => {
                self.check_whole().await?;
                Place::End
            }
        };
        let items = page.items.unwrap_or_default().into_iter().map(of_wire);
        let mut records = items.collect::<Result<Vec<Item>>>()?;
        records.retain(|item| !self.reading.deleted.is(item));
        if let Some(projection) = &self.reading.projection {
            records.iter_mut().for_each(|item| projection.strip(item));
        }
        if records.is_empty() && self.split.place == Place::End {
            return Ok(None);
        }
        self.bytes = records.iter().map(heap_bytes).sum();
        Ok(Some(Batch { records, resume: self.split.clone() }))
    }

    fn heap_bytes(&self) -> u64 {
        self.bytes
    }
}
