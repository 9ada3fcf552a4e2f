//! What a source does with the records of a batch before they are handed over: filter, event time, and a bound for it.

use std::fmt;
use std::time::Duration;

use tidelock::{Error, ErrorKind, Result};

use crate::batch::Millis;
use crate::counters::Counter;
use crate::records::Records;

/// What becomes of a record whose event time is further ahead of the clock than it may be: see
/// [`SourceBuilder::event_time_ahead_max`](crate::SourceBuilder::event_time_ahead_max).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ahead {
    /// It ends the job, with an error that names its split and its time: a person must look.
    Fail,
    /// It is left out, and counted with the source's [late records](crate::Handle::records_late). It is in the second
    /// stream of [`SourceBuilder::stream_or`](crate::SourceBuilder::stream_or), where somebody takes that.
    Drop,
    /// It goes on with its time, but event time goes to the bound and no further. Records before the bound are late
    /// from then on.
    Hold,
}

/// Which records are read.
type Filter<R> = Box<dyn FnMut(&R) -> bool>;
/// The event time of a record.
type Timer<R> = Box<dyn Fn(&R) -> Millis>;
/// The bytes that records take, where their reader says what they hold on the heap; 0 where it does not know.
type Scale<R> = Box<dyn Fn(&[R], u64) -> u64>;

/// Why a record is in the second stream of a source.
pub(super) const TOO_FAR_AHEAD: &str =
    "the event time of a record is further ahead of the clock than event_time_ahead_max";

/// How far ahead of the clock event time may be.
#[derive(Debug, Clone, Copy)]
struct AheadMax {
    by: Millis,
    then: Ahead,
    clock: fn() -> Millis,
}

pub(super) struct Intake<R> {
    filter: Option<Filter<R>>,
    timer: Option<Timer<R>>,
    ahead_max: Option<AheadMax>,
    scale: Scale<R>,
    left_out: Counter,
    /// The first record that is left out is told of, the others are only counted.
    has_told: bool,
}

impl<R> fmt::Debug for Intake<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("ahead_max", &self.ahead_max).finish_non_exhaustive()
    }
}

/// What is handed over of a batch.
#[derive(Debug)]
pub(super) struct Taken<R> {
    pub(super) records: Records<R>,
    /// Those that are left out because they are too far ahead of the clock.
    pub(super) ahead: Records<R>,
    /// The greatest event time that counts for the watermark.
    pub(super) latest: Option<Millis>,
    /// What all of them take.
    pub(super) bytes: u64,
}

impl<R> Intake<R> {
    pub(super) fn new(scale: Scale<R>) -> Self {
        let left_out = Counter::default();
        Self { filter: None, timer: None, ahead_max: None, scale, left_out, has_told: false }
    }

    pub(super) fn set_scale(&mut self, scale: Scale<R>) {
        self.scale = scale;
    }

    pub(super) fn set_filter(&mut self, filter: Filter<R>) {
        self.filter = Some(filter);
    }

    pub(super) fn set_timer(&mut self, timer: Timer<R>) {
        self.timer = Some(timer);
    }

    pub(super) fn set_ahead_max(&mut self, by: Duration, then: Ahead) {
        let by = Millis::try_from(by.as_millis()).unwrap_or(Millis::MAX);
        let clock = || jiff::Timestamp::now().as_millisecond();
        self.ahead_max = Some(AheadMax { by, then, clock });
    }

    /// Where records are counted that are left out.
    pub(super) fn count_left_out(&mut self, counter: Counter) {
        self.left_out = counter;
    }

    pub(super) fn has_event_time(&self) -> bool {
        self.timer.is_some()
    }

    /// Takes the records of a batch. Their reader says that they hold so much on the heap.
    pub(super) fn take(&mut self, mut records: Vec<R>, mut heap_bytes: u64) -> Result<Taken<R>> {
        if let Some(filter) = &mut self.filter {
            let of_each = heap_bytes / (records.len() as u64).max(1);
            records.retain(filter);
            heap_bytes = of_each * records.len() as u64;
        }
        let times: Vec<Millis> = match &self.timer {
            Some(timer) => records.iter().map(timer).collect(),
            None => Vec::new(),
        };
        let latest = times.iter().max().copied();
        let bytes = (self.scale)(&records, heap_bytes);
        let taken = Taken { records: Records::new(records, times), ahead: Records::default(), latest, bytes };
        match (self.ahead_max, latest) {
            (Some(ahead_max), Some(latest)) => self.bound(taken, latest, ahead_max),
            _ => Ok(taken),
        }
    }

    fn bound(&mut self, taken: Taken<R>, latest: Millis, ahead_max: AheadMax) -> Result<Taken<R>> {
        let AheadMax { by, then, clock } = ahead_max;
        let now = clock();
        let bound = now.saturating_add(by);
        if latest <= bound {
            return Ok(taken);
        }
        let Taken { records, bytes, .. } = taken;
        match then {
            Ahead::Fail => {
                let error = Error::new(ErrorKind::Data, "take event time", TOO_FAR_AHEAD);
                Err(error.with("event_time", latest).with("clock", now).with("ahead_max_ms", by))
            }
            Ahead::Drop => {
                let (mut taken, mut ahead) = (Records::with_capacity(records.len()), Records::default());
                for (record, time) in records {
                    let place = if time.is_some_and(|time| time > bound) { &mut ahead } else { &mut taken };
                    place.push(record, time);
                }
                self.left_out.add(ahead.len());
                if !std::mem::replace(&mut self.has_told, true) {
                    let why = "records are left out: their event time is too far ahead of the clock";
                    tracing::warn!(event_time = latest, clock = now, ahead_max_ms = by, "{why}");
                }
                let latest = taken.parts().1.iter().max().copied();
                Ok(Taken { records: taken, ahead, latest, bytes })
            }
            Ahead::Hold => Ok(Taken { records, ahead: Records::default(), latest: Some(bound), bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Heard;

    /// Records are their own times; the clock stands at 1,000, and 50 more are allowed.
    fn intake(then: Ahead) -> Intake<Millis> {
        let mut intake = Intake::new(Box::new(|records: &[Millis], _| records.len() as u64));
        intake.set_timer(Box::new(|time| *time));
        intake.ahead_max = Some(AheadMax { by: 50, then, clock: || 1_000 });
        intake
    }

    #[test]
    fn times_up_to_the_bound_are_taken() {
        for then in [Ahead::Fail, Ahead::Drop, Ahead::Hold] {
            let taken = intake(then).take(vec![1, 1_050, 7], 0).unwrap();
            assert_eq!((taken.records.len(), taken.latest, taken.bytes), (3, Some(1_050), 3));
        }
    }

    #[test]
    fn a_time_beyond_the_bound_does_what_was_chosen() {
        let beyond = vec![1, 1_051, 7, Millis::MAX];
        let error = intake(Ahead::Fail).take(beyond.clone(), 0).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, tidelock::Retry::Halt));
        assert!(error.to_string().contains("clock=1000"), "{error}");

        let (heard, mut dropping) = (Heard::here(), intake(Ahead::Drop));
        let counter = Counter::default();
        dropping.count_left_out(counter.clone());
        let taken = dropping.take(beyond.clone(), 0).unwrap();
        assert_eq!((taken.records.parts(), taken.latest), ((&[1, 7][..], &[1, 7][..]), Some(7)));
        assert_eq!(taken.ahead.parts(), (&[1_051, Millis::MAX][..], &[1_051, Millis::MAX][..]));
        assert_eq!(counter.get(), 2);
        assert_eq!(dropping.take(vec![2_000], 0).unwrap().latest, None);
        assert_eq!((counter.get(), heard.lines().len()), (3, 1), "each is counted, and one is told");

        let taken = intake(Ahead::Hold).take(beyond.clone(), 0).unwrap();
        assert_eq!((taken.records.parts().1, taken.latest), (&beyond[..], Some(1_050)));
    }

    #[test]
    fn what_is_filtered_out_has_no_event_time() {
        let mut intake = intake(Ahead::Fail);
        intake.set_filter(Box::new(|time| *time < 1_000));
        let taken = intake.take(vec![1, Millis::MAX, 7], 0).unwrap();
        assert_eq!((taken.records.parts().0, taken.latest, taken.bytes), (&[1, 7][..], Some(7), 2));
    }
}
