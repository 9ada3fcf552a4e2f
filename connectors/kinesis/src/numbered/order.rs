//! Whether the service keeps the order of what is put apart.
//!
//! A floor says that what is before it was acknowledged a while before its record was sent. Whoever drops records by it relies on the service: within a shard, what is
//! sent after another record was acknowledged for that long has a greater sequence number. It promises that in words ("the longer the time between
//! requests, the larger"), and here it is looked at. A shard that breaks it halts the job: some record may have been dropped by a reader.
//!
//! Pure: times are milliseconds of a clock that never goes back.

use std::collections::{HashMap, VecDeque};

use tidelock::{Error, ErrorKind, Result, Retry};

use crate::source::compare;
use crate::trail::{LAG_MS, STEP_MS};

/// An answer that comes later than this after its request was made is not compared. It is longer than any request may take.
const KEPT_MS: u64 = 60_000;

/// What was acknowledged of each shard.
#[derive(Debug, Default)]
pub(super) struct PutOrder {
    shards: HashMap<String, Notes>,
}

/// The greatest number that was acknowledged in each step of time, ascending in both.
#[derive(Debug, Default)]
struct Notes(VecDeque<(u64, String)>);

impl PutOrder {
    /// A record of a request that was made then is acknowledged now, with this number.
    ///
    /// # Errors
    /// Where one that was acknowledged well before has a greater number.
    pub(super) fn put(&mut self, shard: &str, number: &str, (sent_ms, now_ms): (u64, u64)) -> Result<()> {
        let notes = match self.shards.get_mut(shard) {
            Some(notes) => notes,
            None => {
                // Shards that have ended, for one.
                self.shards
                    .retain(|_, notes| notes.0.back().is_some_and(|(at_ms, _)| now_ms < at_ms + KEPT_MS));
                self.shards.entry(shard.to_owned()).or_default()
            }
        };
        let is_before = |(at_ms, _): &&(u64, String)| at_ms + LAG_MS <= sent_ms;
        if let Some((at_ms, before)) = notes.0.iter().rev().find(is_before)
            && compare(number, before).is_lt()
        {
            let why = "the service put a record before one that was acknowledged long before it was sent: readers that drop repeats by what is over may have \
                       dropped a record that was none";
            return Err(Error::new(ErrorKind::Other, "put records", why)
                .with_retry(Retry::Halt)
                .with("shard", shard)
                .with("sequence_number", number)
                .with("acknowledged_before", before)
                .with("ms_before", sent_ms - at_ms));
        }
        notes.note(now_ms, number);
        Ok(())
    }
}

impl Notes {
    fn note(&mut self, now_ms: u64, number: &str) {
        while self.0.front().is_some_and(|(at_ms, _)| at_ms + KEPT_MS < now_ms) {
            self.0.pop_front();
        }
        match self.0.back_mut() {
            // A step counts from its end on, so that whatever is in it was acknowledged by then.
            Some((at_ms, greatest)) if now_ms < *at_ms => {
                if compare(number, greatest).is_gt() {
                    *greatest = number.to_owned();
                }
            }
            last => {
                let greatest = match last {
                    Some((_, before)) if compare(number, before).is_lt() => before.clone(),
                    _ => number.to_owned(),
                };
                self.0.push_back((now_ms + STEP_MS, greatest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_in_any_order_where_requests_are_close_and_not_where_they_are_apart() {
        let mut order = PutOrder::default();
        let mut put = |shard, number, times| order.put(shard, number, times);
        put("a", "100", (0, 10)).expect("the first");
        put("a", "90", (0, 20)).expect("sent together");
        put("a", "95", (10 + LAG_MS - 1, 5_000)).expect("sent not long after");
        put("b", "7", (10_000, 10_010)).expect("another shard");
        put("a", "101", (10_000, 10_010)).expect("greater");
        // A greater number is one with more digits, too.
        put("a", "1000", (20_000, 20_010)).expect("greater");
        let error = put("a", "999", (30_000, 30_010)).expect_err("put long after 1000");
        assert!(
            error.retry() == Retry::Halt && error.to_string().contains("acknowledged_before=1000"),
            "{error}"
        );
        put("b", "6", (10_500, 10_520)).expect("sent not long after");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut order = PutOrder::default();
        for at in 0..200_000_u64 {
            order.put("a", &at.to_string(), (at, at)).expect("ascending");
        }
        let notes = order.shards["a"].0.len() as u64;
        assert!(notes <= KEPT_MS / STEP_MS + 2, "{notes}");
        order.put("b", "1", (300_000, 300_000)).expect("the first");
        assert_eq!(order.shards.len(), 1);
    }
}
