//! The example `copy` as a process, on real brokers, tried to death: killed at random moments and at exact
//! ones, with its brokers killed, stopped and paused, rescaled, rolled back, forked, started twice, and with
//! transactions that somebody else ended.
//!
//! ```text
//!   feeder ──> topic ──> copy (killed, started again, ...) ──> topic ──> reader, all the time
//!   numbered records                                                     each once, in order, and whole
//! ```
//!
//! Every test ends with the same comparison: the reader that looked all the time, a fresh reader of the
//! target and one of the input. Seeds are printed; with `TIDELOCK_SOAK` there is more of everything.
#![allow(clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod bounced;
mod double;
mod evidence;
mod exact;
mod held;
mod killed;
mod lost;
mod owned;
mod process;
mod proxy;
mod reader;
mod records;
mod restored;
mod secured;
mod stand;
mod told;
mod traces;
mod world;

use std::time::Duration;

/// How long anything may take: far more than it needs, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Whether there is time for more of everything.
fn is_soak() -> bool {
    std::env::var_os("TIDELOCK_SOAK").is_some()
}

/// So many in the usual run, and so many where there is time.
fn count(usual: usize, soak: usize) -> usize {
    if is_soak() { soak } else { usual }
}

/// The seed of a random test: that of `TIDELOCK_SEED`, or a new one.
fn seed(test: &str) -> u64 {
    let given = std::env::var("TIDELOCK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("{test}: TIDELOCK_SEED={seed}");
    seed
}
