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

use tidelock::{Error, ErrorKind, Result, Retry};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::control::{Claim, Control, State};

/// The clock in milliseconds since 1970. Tests give another one.
pub(crate) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

pub(crate) fn clock() -> Clock {
    Arc::new(|| jiff::Timestamp::now().as_millisecond())
}

/// What is reserved at first, and what at most: each costs three calls of a gateway.
const RESERVED_MIN: i64 = 1_000;
const RESERVED_MAX: i64 = 20_000;

/// An attempt begins so far ahead of the clocks: what a versions table that was lost or restored does not tell, and cells of others with the
/// time of a server whose clock is ahead of ours, are older all the same.
pub(crate) const AHEAD: i64 = 60_000;

/// So far ahead of where it began, and of the clock, a writer may be: cells of others, and times to live, are measured with the clock.
const AHEAD_MAX: i64 = 300_000;

/// How far our clock may be ahead of the server's: further, and cells would be from the future for everybody else.
const CLOCKS_APART_MAX: i64 = 600_000;

const RESERVE: &str = "reserve times";

/// What one attempt of a sink may give to cells, in one process.
pub(crate) struct Times {
    control: Control,
    claim: Claim,
    clock: Clock,
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
    pub(crate) fn new(control: Control, claim: Claim, floor: i64, clock: Clock) -> Self {
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
        let wanted = last.max((self.clock)()).saturating_add(*next);
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
    /// A time, and when it was that: what has passed since says where the clock may be now.
    began: (i64, Instant),
}

impl Stamps {
    pub(crate) fn new(times: Arc<Times>) -> Self {
        let last = times.floor;
        Self { times, last, began: (last, Instant::now()) }
    }

    /// The first of so many times in a row, that nobody has but the caller.
    pub(crate) async fn next(&mut self, count: i64) -> Result<i64> {
        let first = self.now().await?.max(self.last.saturating_add(1));
        let last = first.saturating_add(count - 1);
        self.keep_pace(last).await;
        self.times.reserve(last).await?;
        self.last = last;
        Ok(first)
    }

    /// Where the clock can be by what has passed.
    fn expected(&self) -> i64 {
        let passed = i64::try_from(self.began.1.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.began.0.saturating_add(passed)
    }

    /// The clock. Where it jumped ahead, the server is asked: a machine that slept is right, and what a wrong clock says would be in the table,
    /// and in the way of everybody, until its time has come.
    async fn now(&mut self) -> Result<i64> {
        let now = (self.times.clock)();
        if now > self.expected().saturating_add(CLOCKS_APART_MAX) {
            let server = self.times.control.server_clock().await?;
            check_clock(now, server)?;
            self.began = (server.max(self.began.0), Instant::now());
        }
        Ok(now)
    }

    /// Waits where times run away from the clock.
    async fn keep_pace(&self, last: i64) {
        let now = (self.times.clock)().max(self.expected());
        let ahead = last.saturating_sub(now.saturating_add(AHEAD_MAX));
        if let Ok(ahead @ 1..) = u64::try_from(ahead) {
            tokio::time::sleep(Duration::from_millis(ahead)).await;
        }
    }
}

/// Whether our clock is one that others can live with.
pub(crate) fn check_clock(now: i64, server: i64) -> Result<()> {
    if now > server.saturating_add(CLOCKS_APART_MAX) {
        let why = "the clock of this machine is far ahead of the one of HBase: cells would be from the future for everybody else. Set the clocks";
        return Err(Error::new(ErrorKind::Config, "compare clocks", why)
            .with_retry(Retry::Halt)
            .with("ahead_by", format_args!("{:?}", Duration::from_millis(now.abs_diff(server)))));
    }
    if server > now.saturating_add(AHEAD) {
        tracing::warn!(behind_by = ?Duration::from_millis(now.abs_diff(server)), "the clock of this machine is behind the one of HBase");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_ahead_of_the_server_is_refused() {
        let server = 1_764_457_200_000;
        check_clock(server + CLOCKS_APART_MAX, server).expect("near enough");
        check_clock(server - 10 * CLOCKS_APART_MAX, server)
            .expect("behind: what it gives begins with the server's time");
        let error = check_clock(server + CLOCKS_APART_MAX + 1_000, server).expect_err("ahead");
        assert!(error.retry() == Retry::Halt && error.to_string().contains("ahead_by=601s"), "{error}");
    }
}
