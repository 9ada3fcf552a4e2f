//! Chance that can be repeated.

/// The seed of a random test: that of `TIDELOCK_SEED`, or a new one. It is printed, and shown where the
/// test fails.
pub fn seed() -> u64 {
    let seed = given().unwrap_or_else(rand::random);
    println!("TIDELOCK_SEED={seed}");
    seed
}

fn given() -> Option<u64> {
    std::env::var("TIDELOCK_SEED").ok().and_then(|seed| seed.parse().ok())
}

/// How often a random test is repeated, each time with a seed of its own: once, and twenty times in a soak.
const ROUNDS_OF_A_SOAK: usize = 20;

/// Runs a random test with a seed, and in a soak with many, one after another.
pub fn with_seeds(test: impl Fn(u64)) {
    let is_soak = std::env::var_os("TIDELOCK_SOAK").is_some() && given().is_none();
    for _ in 0..if is_soak { ROUNDS_OF_A_SOAK } else { 1 } {
        test(seed());
    }
}
