//! Which of a job's workers one is.

use std::ops::Range;

use crate::batch::Lane;
use crate::key::KEY_GROUPS;

/// A worker among all that run the graph. Which keys and which lanes of watermarks are its own follows from the two
/// numbers, which are useless apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    /// The worker's number, from 0.
    pub(crate) worker: u32,
    /// How many there are.
    pub(crate) workers: u32,
}

impl Seat {
    /// Those of all workers.
    pub(crate) fn all(workers: u32) -> impl Iterator<Item = Self> + Clone {
        (0..workers).map(move |worker| Self { worker, workers })
    }

    /// Those of all workers of the same job.
    pub(crate) fn with_all_others(self) -> impl Iterator<Item = Self> + Clone {
        Self::all(self.workers)
    }

    /// The worker's key groups: contiguous, so that a part of the stored state is a range of groups.
    pub(crate) fn groups(self) -> Range<u16> {
        let first = |worker: u32| (worker * u32::from(KEY_GROUPS)).div_ceil(self.workers);
        let bound = |group| u16::try_from(group).unwrap_or(KEY_GROUPS);
        bound(first(self.worker))..bound(first(self.worker + 1))
    }

    /// The lane of an origin of watermarks on this worker.
    pub(crate) fn lane(self, origin: u32) -> Lane {
        Lane(origin * self.workers + self.worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::worker_of;

    #[test]
    fn every_group_belongs_to_exactly_one_worker() {
        for workers in 1..=u32::from(KEY_GROUPS) {
            let mut next = 0;
            for seat in Seat::all(workers) {
                let groups = seat.groups();
                assert_eq!(groups.start, next);
                assert!(groups.clone().all(|group| worker_of(group, workers) == seat.worker));
                next = groups.end;
            }
            assert_eq!(next, KEY_GROUPS);
        }
    }
}
