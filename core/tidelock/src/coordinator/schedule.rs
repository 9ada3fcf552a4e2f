//! When the next barrier is due, and which checkpoints take too long.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::Epoch;
use crate::job::Settings;
use crate::patience::later;

/// Timers of the running job.
#[derive(Debug)]
pub(super) struct Schedule {
    settings: Settings,
    last_barrier: Instant,
    last_completed: Option<Instant>,
    /// A checkpoint was asked for: do not wait for the interval.
    forced: bool,
    open: BTreeMap<Epoch, Instant>,
}

impl Schedule {
    pub(super) fn new(settings: Settings, now: Instant) -> Self {
        Self { settings, last_barrier: now, last_completed: None, forced: false, open: BTreeMap::new() }
    }

    /// The host is open: the first interval begins. Whoever asked for a checkpoint before that does not wait for it.
    pub(super) fn open(&mut self, now: Instant) {
        *self = Self { forced: self.forced, ..Self::new(self.settings.clone(), now) };
    }

    pub(super) fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn force(&mut self) {
        self.forced = true;
    }

    /// When the next barrier is due.
    pub(super) fn barrier_due(&self) -> Instant {
        if self.forced {
            return self.last_barrier;
        }
        let paused = self.last_completed.map(|completed| later(completed, self.settings.pause_min));
        let by_interval = later(self.last_barrier, self.settings.interval);
        paused.map_or(by_interval, |paused| by_interval.max(paused))
    }

    /// The barrier that was due now is sent. The beat is kept where it can be, so that the interval is
    /// the mean distance of barriers and not a lower bound.
    pub(super) fn sent(&mut self, epoch: Epoch, now: Instant) {
        let beat = later(self.last_barrier, self.settings.interval);
        let late = now.saturating_duration_since(beat);
        let on_beat = !self.forced && now >= beat && late < self.settings.interval / 2;
        self.last_barrier = if on_beat { beat } else { now };
        self.forced = false;
        self.open.insert(epoch, now);
    }

    /// Everything up to `epoch` is durable.
    pub(super) fn completed(&mut self, epoch: Epoch, now: Instant) {
        self.last_completed = Some(now);
        self.open = self.open.split_off(&epoch.next());
    }

    pub(super) fn given_up(&mut self, epoch: Epoch) {
        self.open.remove(&epoch);
    }

    /// The oldest checkpoint under way and when it is given up.
    pub(super) fn timeout(&self) -> Option<(Epoch, Instant)> {
        self.open.iter().next().map(|(epoch, sent)| (*epoch, later(*sent, self.settings.timeout)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(interval_ms: u64, pause_ms: u64) -> Settings {
        Settings {
            interval: Duration::from_millis(interval_ms),
            pause_min: Duration::from_millis(pause_ms),
            ..Settings::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slightly_late_barrier_keeps_the_beat() {
        let start = Instant::now();
        let mut schedule = Schedule::new(settings(10, 0), start);
        schedule.sent(Epoch(1), start + Duration::from_millis(12));
        assert_eq!(schedule.barrier_due(), start + Duration::from_millis(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_very_late_barrier_begins_a_new_beat() {
        let start = Instant::now();
        let mut schedule = Schedule::new(settings(10, 0), start);
        schedule.sent(Epoch(1), start + Duration::from_millis(47));
        assert_eq!(schedule.barrier_due(), start + Duration::from_millis(57));
    }

    #[tokio::test(start_paused = true)]
    async fn the_minimum_pause_counts_from_completion() {
        let start = Instant::now();
        let mut schedule = Schedule::new(settings(10, 30), start);
        schedule.sent(Epoch(1), start + Duration::from_millis(10));
        schedule.completed(Epoch(1), start + Duration::from_millis(15));
        assert_eq!(schedule.barrier_due(), start + Duration::from_millis(45));
    }

    #[tokio::test(start_paused = true)]
    async fn a_forced_barrier_is_due_at_once() {
        let start = Instant::now();
        let mut schedule = Schedule::new(settings(10_000, 0), start);
        schedule.force();
        assert!(schedule.barrier_due() <= start);
        // Also where it was asked for before the host was open.
        schedule.open(start);
        assert!(schedule.barrier_due() <= start);
        schedule.sent(Epoch(1), start + Duration::from_millis(1));
        assert_eq!(schedule.barrier_due(), start + Duration::from_millis(10_001));
    }
}
