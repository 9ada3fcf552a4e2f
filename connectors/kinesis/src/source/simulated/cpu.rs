//! What the processor had to do.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment of this thread, on a clock that runs while it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cpu(Duration);

impl Cpu {
    pub(super) fn now() -> Self {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Self(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("nanoseconds")))
    }

    /// How long it ran since then.
    pub(super) fn since(self) -> Duration {
        Self::now().0 - self.0
    }
}
