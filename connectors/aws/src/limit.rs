//! Keeps to how many requests may be under way.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::window::{Era, Window};

/// How many requests may be under way: fewer where the service throttles, and more again when it does not. Clones share one limit.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let limit = tidelock_aws::Limit::new(64);
/// let place = limit.place().await;
/// // A request is sent, and throttled.
/// place.throttled();
/// assert_eq!(limit.allowed(), 32);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Limit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    places: Mutex<Places>,
    freed: Notify,
}

#[derive(Debug)]
struct Places {
    window: Window,
    taken: u32,
    /// How many requests the service did, wholly or in part.
    done: u64,
}

/// The place of a request that is under way. It is free again when the place is dropped.
#[derive(Debug)]
#[must_use = "a place that is dropped lets another request go"]
pub struct Place {
    shared: Arc<Shared>,
    era: Era,
}

impl Limit {
    /// At most `max`, with which it begins, and always one.
    pub fn new(max: u32) -> Self {
        let places = Mutex::new(Places { window: Window::new(max), taken: 0, done: 0 });
        Self { shared: Arc::new(Shared { places, freed: Notify::new() }) }
    }

    /// Waits for a place.
    pub async fn place(&self) -> Place {
        loop {
            let mut freed = pin!(self.shared.freed.notified());
            // Before looking: a place that gets free in between is not missed.
            freed.as_mut().enable();
            if let Some(place) = self.try_place() {
                return place;
            }
            freed.await;
        }
    }

    /// A place, where one is free.
    pub fn try_place(&self) -> Option<Place> {
        let mut places = self.shared.lock();
        if places.taken >= places.window.allowed() {
            return None;
        }
        places.taken += 1;
        Some(Place { shared: Arc::clone(&self.shared), era: places.window.era() })
    }

    /// How many requests the service did so far, wholly or in part: one that is throttled again and again is not up against a service that is away,
    /// where this grows.
    pub fn done(&self) -> u64 {
        self.shared.lock().done
    }

    /// How many may be under way now.
    pub fn allowed(&self) -> u32 {
        self.shared.lock().window.allowed()
    }
}

impl Place {
    /// The request went well.
    pub fn went_well(self) {
        let mut places = self.shared.lock();
        places.done += 1;
        let grew = places.window.went_well(self.era);
        drop(places);
        // Dropping wakes one for this place; what was added is another one.
        if grew {
            self.shared.freed.notify_one();
        }
    }

    /// The service did a part of the request, and asked to slow down.
    pub fn went_in_part(self) {
        self.shared.lock().done += 1;
        self.throttled();
    }

    /// The service asked to slow down.
    pub fn throttled(self) {
        self.shared.lock().window.throttled(self.era);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().taken -= 1;
        self.shared.freed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn no_more_are_under_way_than_are_allowed_and_everybody_gets_a_place() {
        let (limit, under_way) = (Limit::new(5), Arc::new(AtomicU32::new(0)));
        let requests = (0..200_u32).map(|at| {
            let (limit, under_way) = (limit.clone(), Arc::clone(&under_way));
            tokio::spawn(async move {
                let place = limit.place().await;
                assert!(under_way.fetch_add(1, Ordering::Relaxed) < 5);
                tokio::task::yield_now().await;
                under_way.fetch_sub(1, Ordering::Relaxed);
                match at % 3 {
                    0 => place.throttled(),
                    1 => place.went_well(),
                    _ => drop(place),
                }
            })
        });
        for request in requests.collect::<Vec<_>>() {
            request.await.expect("no panic");
        }
        assert!((1..=5).contains(&limit.allowed()));
    }

    #[tokio::test]
    async fn places_that_are_taken_beyond_a_lower_limit_are_not_given_again() {
        let limit = Limit::new(4);
        let mut places = Vec::new();
        for _ in 0..4 {
            places.push(limit.place().await);
        }
        places.pop().expect("one").throttled();
        assert_eq!((limit.allowed(), limit.done()), (2, 0));
        assert!(limit.try_place().is_none(), "three are under way");
        places.truncate(1);
        let place = limit.try_place().expect("one is under way, and two may be");
        assert!(limit.try_place().is_none());
        // Whoever waits for a place and gives up does not take it along.
        let mut waiting = Box::pin(limit.place());
        assert!(is_pending(&mut waiting).await);
        drop(place);
        drop(waiting);
        let place = limit.try_place().expect("one is free again");
        places.clear();
        assert_eq!(limit.done(), 0, "what is only dropped was not done");
        place.went_in_part();
        assert_eq!((limit.allowed(), limit.done()), (1, 1));
        limit.place().await.went_well();
        assert_eq!(limit.done(), 2);
    }

    async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        tokio::select! {
            biased;
            _ = future => false,
            () = tokio::task::yield_now() => true,
        }
    }
}
