//! How much is done, and chance that can be repeated.

use std::time::Duration;

/// How long anything may take: far more than it needs, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Whether there is time for more of everything.
#[must_use]
pub fn is_soak() -> bool {
    std::env::var_os("TIDELOCK_SOAK").is_some()
}

/// So many in the usual run, and so many where there is time.
#[must_use]
pub fn count(usual: usize, soak: usize) -> usize {
    if is_soak() { soak } else { usual }
}

/// The seed of a random test: that of `TIDELOCK_SEED`, or a new one. It is printed.
#[must_use]
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("TIDELOCK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("{test}: TIDELOCK_SEED={seed}");
    seed
}
