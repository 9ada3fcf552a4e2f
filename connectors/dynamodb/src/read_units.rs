//! What reading consumes of what is paid for.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::ConsumedCapacity;

/// The read units of a table. DynamoDB counts them by halves and a counter has whole ones: a half is told with the next.
#[derive(Debug, Default)]
pub(crate) struct ReadUnits {
    halves: AtomicU64,
}

impl ReadUnits {
    /// So much was consumed.
    pub(crate) fn consumed<'c>(&self, table: &str, capacity: impl IntoIterator<Item = &'c ConsumedCapacity>) {
        match self.whole(capacity) {
            0 => {}
            units => metrics::counter!("tidelock_dynamodb_read_units_total", "table" => table.to_owned())
                .increment(units),
        }
    }

    fn whole<'c>(&self, capacity: impl IntoIterator<Item = &'c ConsumedCapacity>) -> u64 {
        let units: f64 = capacity.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        let more = (units * 2.0).ceil() as u64;
        let before = self.halves.fetch_add(more, Ordering::Relaxed);
        (before + more) / 2 - before / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_half_is_lost_and_none_is_counted_twice() {
        let units = ReadUnits::default();
        let consumed = |units: f64| ConsumedCapacity::builder().capacity_units(units).build();
        let told = [0.5, 0.5, 1.5, 0.0, 2.5, 0.5].map(|one| units.whole([&consumed(one)]));
        assert_eq!(told, [0, 1, 1, 0, 3, 0]);
        assert_eq!(units.whole([&consumed(0.5), &consumed(1.0), &ConsumedCapacity::builder().build()]), 2);
    }
}
