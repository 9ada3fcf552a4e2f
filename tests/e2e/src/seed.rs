//! Chance that can be repeated.

/// The seed of a random test: that of `TIDELOCK_SEED`, or a new one. It is printed, and shown where the
/// test fails.
pub fn seed() -> u64 {
    let given = std::env::var("TIDELOCK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("TIDELOCK_SEED={seed}");
    seed
}
