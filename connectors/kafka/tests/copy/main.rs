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
mod reader;
mod records;
mod restored;
mod secured;
mod stand;
mod told;
mod traces;
mod wire;
mod world;
