//! A job that many tests run: it counts, so that a record which is lost, doubled or late shows.

use std::time::Duration;

use crate::exchange::Exchanged;
use crate::{Key, KeyedStream, Stream, Tumbling, Window, fold};

/// Key, start of the window, how many records.
pub(crate) type Count<K> = (K, i64, u64);

/// Counts the records of each key in windows of so many milliseconds; and those that came too late for it.
pub(crate) fn count_in<'s, K: Key, R: Exchanged>(
    keyed: KeyedStream<'s, K, R>,
    uid: &str,
    window_ms: u64,
) -> (Stream<'s, Count<K>>, Stream<'s, R>) {
    keyed.window(
        uid,
        Tumbling::of(Duration::from_millis(window_ms)),
        fold(
            |count: &mut u64, _: &R| *count += 1,
            |key: &K, window: Window, count: &u64| (key.clone(), window.start, *count),
        ),
    )
}
