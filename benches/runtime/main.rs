//! What the runtime costs. Each part prints a table; the command line chooses among them:
//!
//! ```text
//! cargo bench -p tidelock-benches --bench runtime -- record     CPU time and allocations for a record
//! cargo bench -p tidelock-benches --bench runtime -- barrier    the way of a barrier to all sinks
//! cargo bench -p tidelock-benches --bench runtime -- state      the bytes of a checkpoint of keyed state
//! cargo bench -p tidelock-benches --bench runtime -- memory 10  the memory of a keyed job, minute by minute
//! ```

mod barrier;
mod memory;
mod numbers;
mod record;
mod state;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// The system's allocator, counted.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How long `memory` runs where nobody says it.
const MINUTES: u64 = 10;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> tidelock::Result<()> {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
    match words.next().as_deref() {
        Some("record") => record::run().await,
        Some("barrier") => barrier::run().await,
        Some("state") => state::run().await,
        Some("memory") => {
            let minutes = words.next().and_then(|word| word.parse().ok()).unwrap_or(MINUTES);
            memory::run(minutes).await
        }
        _ => {
            println!("say which part: record, barrier, state, or memory MINUTES");
            Ok(())
        }
    }
}
