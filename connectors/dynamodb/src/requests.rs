//! Requests of a sink to its table: as many at once as the table takes, and again while that may help.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ConsumedCapacity;
use tidelock::{Patience, Result};
use tidelock_aws::{Limit, is_throttled};

use crate::table::CALLS_AGAIN;

/// DynamoDB gives the partitions of a server that is gone to others within seconds. What takes longer is for the attempt's restart.
pub(crate) const AGAIN_FOR: Duration = Duration::from_secs(120);

/// How requests go to a table.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    pub(crate) client: Client,
    /// Its name or its ARN.
    pub(crate) table: Arc<str>,
    /// Shared by all writers of the sink in this process.
    pub(crate) limit: Limit,
    tally: Arc<Tally>,
}

/// What became of a request that went well.
#[derive(Debug)]
pub(crate) enum Went<T> {
    Whole(T),
    /// The table took a part of it, because it takes no more now.
    InPart(T),
}

/// What was counted and is not told yet: metrics are by table, and too dear for each item.
#[derive(Debug, Default)]
struct Tally {
    written: AtomicU64,
    newer: AtomicU64,
    units: AtomicU64,
}

impl Requests {
    pub(crate) fn new(client: Client, table: &str, limit: Limit) -> Self {
        Self { client, table: table.into(), limit, tally: Arc::default() }
    }

    /// Makes a request, again and again while that may help.
    ///
    /// # Errors
    /// The last one, where it does not, or did not for long enough.
    pub(crate) async fn again<T, F, Fut>(&self, mut request: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Went<T>>>,
    {
        let mut patience = Patience::new(CALLS_AGAIN, AGAIN_FOR);
        loop {
            let place = self.limit.place().await;
            let error = match request().await {
                Ok(Went::Whole(done)) => {
                    place.went_well();
                    return Ok(done);
                }
                Ok(Went::InPart(done)) => {
                    place.throttled();
                    return Ok(done);
                }
                Err(error) => error,
            };
            if is_throttled(&error) {
                self.count("tidelock_dynamodb_throttled_total", 1);
                place.throttled();
            } else {
                drop(place);
            }
            // The place is free while nothing is under way.
            patience.after(error, &self.table).await?;
        }
    }

    /// Items were written.
    pub(crate) fn written(&self, items: usize) {
        self.tally.written.fetch_add(items as u64, Ordering::Relaxed);
    }

    /// A change was passed over, because something newer is there.
    pub(crate) fn passed(&self) {
        self.tally.newer.fetch_add(1, Ordering::Relaxed);
    }

    /// So much was consumed of what is paid for. Of writes these are whole numbers.
    pub(crate) fn consumed<'c>(&self, capacity: impl IntoIterator<Item = &'c ConsumedCapacity>) {
        let units: f64 = capacity.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        self.tally.units.fetch_add(units.ceil() as u64, Ordering::Relaxed);
    }

    /// Tells what was counted.
    pub(crate) fn tell(&self) {
        let Tally { written, newer, units } = &*self.tally;
        for (name, counted) in [
            ("tidelock_dynamodb_items_total", written),
            ("tidelock_dynamodb_newer_total", newer),
            ("tidelock_dynamodb_write_units_total", units),
        ] {
            match counted.swap(0, Ordering::Relaxed) {
                0 => {}
                more => self.count(name, more),
            }
        }
    }

    /// Counts something of the table.
    pub(crate) fn count(&self, name: &'static str, more: u64) {
        metrics::counter!(name, "table" => self.table.to_string()).increment(more);
    }
}
