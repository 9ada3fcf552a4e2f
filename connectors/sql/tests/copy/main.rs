//! A job that copies the rows of a table into another one, as a process, on real servers, tried to death: killed at random
//! moments and at exact ones, with its server killed, stopped, paused, full and without connections, started twice, put to sleep
//! and woken late, rolled back, forked, and with transactions that somebody else ended. In the modes `ledger` and `prepared`.
//!
//! ```text
//!   feeder ──> table of a SQLite file ──> copy (killed, started again, ...) ──> table ──> reader, all the time
//!   numbered rows                                                            each once, and never a part of an epoch
//! ```
//!
//! Every test ends with the same comparison of the whole table, and looks whether anything is prepared or locked. Seeds are
//! printed; with `TIDELOCK_SOAK` there is more of everything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;

mod bounced;
mod by_hand;
mod checker;
mod double;
mod exact;
mod full;
mod held;
mod input;
mod job;
mod killed;
mod locks;
mod memory;
mod owned;
mod reader;
mod restored;
mod wire;
mod world;

use tidelock_containers::Database;
use tidelock_processes::is_soak;
use tidelock_sql::Mode;

/// The allocator of the job that is measured in `memory`: with the one of glibc each thread keeps what its busiest moment took.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const MODES: [Mode; 2] = [Mode::Ledger, Mode::Prepared];

/// The databases of the usual run, and all of a soak; of them those that `TIDELOCK_DATABASES` has, with commas.
fn databases() -> Vec<Database> {
    let wanted = std::env::var("TIDELOCK_DATABASES").map(|names| names.to_lowercase());
    let is_wanted = |database: &Database| {
        let name = format!("{database:?}").to_lowercase();
        wanted.as_ref().map_or(is_soak() || name != "mysql", |names| names.split(',').any(|one| one == name))
    };
    Database::there().into_iter().filter(is_wanted).collect()
}

/// What takes long: each database in one mode, PostgreSQL in this one, and in a soak each in both.
fn pairs(first: Mode) -> Vec<(Database, Mode)> {
    let is_chosen =
        |database: Database, mode: Mode| is_soak() || (mode == first) == (database == Database::Postgres);
    let in_modes = |database| MODES.map(|mode| (database, mode));
    databases()
        .into_iter()
        .flat_map(in_modes)
        .filter(|(database, mode)| is_chosen(*database, *mode))
        .collect()
}
