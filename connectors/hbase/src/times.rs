//! The times that an attempt gives to cells: reserved first, and each given once.
//!
//! ```text
//!   of older attempts ──> floor │ given by this one ──> until │ free
//!                               └ now, or one after the last  └ raised in the control row, before a time above it is given
//! ```
//!
//! A writer that was paused for long gives no time above what it had reserved: at the next one it finds the claim of a newer attempt,
//! and ends (I5). What it sends meanwhile is older than everything of the newer attempt.
//!
//! Little is reserved at first, and then twice as much each time: a job that dies again and again does not run ahead of the clock. Where it
//! is ahead, because it makes more calls than there are milliseconds, it waits when it is minutes ahead.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tidelock::Result;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::clock::{ComparedClock, millis_since};
use crate::control::{Claim, Control, State};

/// What is reserved at first, and what at most: each costs three calls of a gateway.
const RESERVED_MIN: i64 = 1_000;
const RESERVED_MAX: i64 = 20_000;

/// An attempt begins so far ahead of the clocks: what a versions table that was lost or restored does not tell, and cells of others with the
/// time of a server whose clock is ahead of ours, are older all the same.
pub(crate) const AHEAD: i64 = 60_000;

/// So far ahead of where it began, and of the clock, a writer may be: cells of others, and times to live, are measured with the clock.
const AHEAD_MAX: i64 = 300_000;

const RESERVE: &str = "reserve times";

/// What one attempt of a sink may give to cells, in one process.
pub(crate) struct Times {
    control: Control,
    claim: Claim,
    clock: Arc<ComparedClock>,
    floor: i64,
    /// No time above this one is given.
    until: AtomicI64,
    /// What is reserved next time.
    next: Mutex<i64>,
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Times")
            .field("claim", &self.claim)
            .field("floor", &self.floor)
            .finish_non_exhaustive()
    }
}

impl Times {
    /// Those of the attempt that has this claim.
    pub(crate) fn new(control: Control, claim: Claim, floor: i64, clock: Arc<ComparedClock>) -> Self {
        Self { control, claim, clock, floor, until: AtomicI64::new(floor), next: Mutex::new(RESERVED_MIN) }
    }

    /// Makes sure that times up to this one may be given.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](tidelock::ErrorKind::Conflict) with the advice to halt, where a newer attempt has the claim, and where the
    /// row is not the one that this attempt left.
    async fn reserve(&self, last: i64) -> Result<()> {
        if last <= self.until.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut next = self.next.lock().await;
        if last <= self.until.load(Ordering::Acquire) {
            return Ok(());
        }
        let wanted = last.saturating_add(*next);
        let known = self.until.load(Ordering::Acquire);
        let seen = self.control.change(|seen| self.decide(seen.state.as_ref(), known, wanted)).await?;
        let until = seen.state.map_or(known, |state| state.until);
        self.until.fetch_max(until, Ordering::AcqRel);
        *next = (*next * 2).min(RESERVED_MAX);
        Ok(())
    }

    fn decide(&self, state: Option<&State>, known: i64, wanted: i64) -> Result<Option<State>> {
        let ours = self.claim;
        match state {
            Some(state) if state.claim() > ours => Err(self.control.fenced(RESERVE, ours, state.claim())),
            // What an attempt reserved stands there as long as it has the claim.
            Some(state) if state.claim() == ours && state.until >= known => {
                Ok((state.until < wanted).then(|| State { until: wanted, ..state.clone() }))
            }
            _ => Err(self.control.lost("this attempt cannot know whether a newer one has begun")),
        }
    }
}

/// The times that one writer gives, each greater than the one before.
#[derive(Debug)]
pub(crate) struct Stamps {
    times: Arc<Times>,
    last: i64,
    /// When that was: what has passed since says how far times may be.
    began: Instant,
}

impl Stamps {
    pub(crate) fn new(times: Arc<Times>) -> Self {
        let last = times.floor;
        Self { times, last, began: Instant::now() }
    }

    /// Where the claim stands, and ours.
    pub(crate) fn claim(&self) -> (&Control, Option<Claim>) {
        (&self.times.control, Some(self.times.claim))
    }

    /// The first of so many times in a row, that nobody has but the caller.
    pub(crate) async fn next(&mut self, count: i64) -> Result<i64> {
        let Times { clock, control, .. } = &*self.times;
        let now = clock.now(control).await?;
        let first = now.max(self.last.saturating_add(1));
        let last = first.saturating_add(count - 1);
        self.keep_pace(now, last).await;
        self.times.reserve(last).await?;
        self.last = last;
        Ok(first)
    }

    /// Waits where times run away from the clock.
    async fn keep_pace(&self, now: i64, last: i64) {
        let now = now.max(self.times.floor.saturating_add(millis_since(self.began)));
        let ahead = last.saturating_sub(now.saturating_add(AHEAD_MAX));
        if let Ok(ahead @ 1..) = u64::try_from(ahead) {
            tokio::time::sleep(Duration::from_millis(ahead)).await;
        }
    }
}
