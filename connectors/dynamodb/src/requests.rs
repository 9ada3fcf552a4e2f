//! Requests of a sink to its table: as many at once as the table takes, and again while that may help.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::RequestId;
use aws_sdk_dynamodb::types::ConsumedCapacity;
use tidelock::{Patience, Result};
use tidelock_aws::{Limit, is_throttled, says_nothing};

use crate::read_units::ReadUnits;
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

/// Whether the service gave an answer that says that all is well: it has a number of the request, or what was consumed, which was asked for. An
/// answer with neither is somebody else's, and nothing is known to be done.
pub(crate) fn check_heard(operation: &'static str, answer: &impl RequestId, is_counted: bool) -> Result<()> {
    if answer.request_id().is_none() && !is_counted {
        return Err(says_nothing(operation));
    }
    Ok(())
}

/// What became of a request that went well.
#[derive(Debug)]
pub(crate) enum Went<T> {
    Whole(T),
    /// The table took a part of it, because it takes no more now.
    InPart(T),
}

/// What was counted and is not told yet: metrics are by table, and too dear for each item. At the latest it is told when nobody counts any more.
#[derive(Debug)]
struct Tally {
    table: Arc<str>,
    written: AtomicU64,
    newer: AtomicU64,
    units: AtomicU64,
    read: ReadUnits,
}

impl Tally {
    fn new(table: Arc<str>) -> Self {
        let nothing = AtomicU64::default;
        Self { table, written: nothing(), newer: nothing(), units: nothing(), read: ReadUnits::default() }
    }

    fn tell(&self) {
        for (name, counted) in [
            ("tidelock_dynamodb_items_total", &self.written),
            ("tidelock_dynamodb_newer_total", &self.newer),
            ("tidelock_dynamodb_write_units_total", &self.units),
        ] {
            match counted.swap(0, Ordering::Relaxed) {
                0 => {}
                more => metrics::counter!(name, "table" => self.table.to_string()).increment(more),
            }
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.tell();
    }
}

/// A table is called by its name or by its ARN, in a request and in an answer alike.
fn is_one_table(one: &str, other: &str) -> bool {
    one.rsplit('/').next() == other.rsplit('/').next()
}

impl Requests {
    pub(crate) fn new(client: Client, table: &str, limit: Limit) -> Self {
        let table: Arc<str> = table.into();
        let tally = Arc::new(Tally::new(Arc::clone(&table)));
        Self { client, table, limit, tally }
    }

    /// Makes a request, again and again while that may help. A table that is throttled takes what it takes, and whoever is left out for long waits on
    /// while it takes others of ours: the attempt that would begin anew would have to write them all once more.
    ///
    /// # Errors
    /// The last one, where it does not, or did not for long enough.
    pub(crate) async fn again<T, F, Fut>(&self, mut request: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Went<T>>>,
    {
        let mut place = self.limit.place().await;
        let mut patience = Patience::new(CALLS_AGAIN, AGAIN_FOR);
        let mut done = self.limit.done();
        loop {
            let error = match request().await {
                Ok(Went::Whole(done)) => {
                    place.went_well();
                    return Ok(done);
                }
                Ok(Went::InPart(done)) => {
                    place.went_in_part();
                    return Ok(done);
                }
                Err(error) => error,
            };
            if is_throttled(&error) {
                self.count("tidelock_dynamodb_throttled_total", 1);
                place.throttled();
                let now = self.limit.done();
                if now != done {
                    patience.count_anew();
                }
                done = now;
            } else {
                drop(place);
            }
            // The place is free while nothing is under way.
            patience.after(error, &self.table).await?;
            place = self.limit.place().await;
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

    /// Writing consumed so much of what is paid for, as far as it is of this table. Of writes these are whole numbers.
    pub(crate) fn consumed<'c>(&self, capacity: impl IntoIterator<Item = &'c ConsumedCapacity>) {
        let is_ours =
            |one: &&ConsumedCapacity| one.table_name().is_none_or(|name| is_one_table(name, &self.table));
        let capacity = capacity.into_iter().filter(is_ours);
        let units: f64 = capacity.filter_map(ConsumedCapacity::capacity_units).sum();
        self.tally.units.fetch_add(units.ceil() as u64, Ordering::Relaxed);
    }

    /// Reading consumed so much.
    pub(crate) fn consumed_reading(&self, capacity: Option<&ConsumedCapacity>) {
        self.tally.read.consumed(&self.table, capacity);
    }

    /// Tells what was counted.
    pub(crate) fn tell(&self) {
        self.tally.tell();
    }

    /// Counts something of the table.
    pub(crate) fn count(&self, name: &'static str, more: u64) {
        metrics::counter!(name, "table" => self.table.to_string()).increment(more);
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Mutex;

    use futures::future::join_all;
    use tidelock::{Error, ErrorKind, Retry};
    use tidelock_aws::AwsConfig;
    use tokio::time::Instant;

    use super::*;

    async fn requests(at_once: u32) -> Requests {
        let mut config = AwsConfig::new().with_credentials("test", "s3cret");
        (config.region, config.endpoint) = (Some("eu-central-1".into()), Some("http://127.0.0.1:1".into()));
        let client = crate::client::client(&config).await.expect("a client");
        Requests::new(client, "orders", Limit::new(at_once))
    }

    fn throttled() -> Error {
        Error::new(ErrorKind::RateLimited, "write an item", "no").with_retry(Retry::Retry)
    }

    /// One write in a second is all that is paid for.
    #[tokio::test(start_paused = true)]
    async fn a_table_that_takes_little_is_waited_for_as_long_as_it_takes_something() {
        let requests = requests(64).await;
        let next = Mutex::new(Instant::now());
        let ask = || {
            let (now, mut next) = (Instant::now(), next.lock().expect("no panic"));
            if now < *next {
                return ready(Err(throttled()));
            }
            *next = now + Duration::from_secs(1);
            ready(Ok(Went::Whole(())))
        };
        let written = join_all((0..400).map(|_| requests.again(ask))).await;
        let gave_up = written.iter().filter(|done| done.is_err()).count();
        assert_eq!(gave_up, 0, "of {}", written.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_takes_nothing_is_given_up() {
        let (requests, began) = (requests(64).await, Instant::now());
        let ask = || ready(Err::<Went<()>, _>(throttled()));
        for gave_up in join_all((0..100).map(|_| requests.again(ask))).await {
            assert_eq!(gave_up.expect_err("throttled for ever").retry(), Retry::Restart);
        }
        assert!(began.elapsed() <= 2 * AGAIN_FOR, "{:?}", began.elapsed());
    }
}
