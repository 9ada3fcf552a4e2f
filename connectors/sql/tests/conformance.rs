//! The promises of the contract, tried on SQLite; `servers.rs` tries the same on servers.

mod common;

use common::{Place, Rows, Values};
use tidelock::Result;
use tidelock_testkit::conformance;

/// Rows that are added.
mod inserts {
    use super::*;

    async fn boot() -> Result<Option<Rows>> {
        Ok(Some(Rows::log(Place::sqlite()).await))
    }

    conformance::sink!(boot, without [expiry, leftovers]);
    conformance::rejecting!(boot);
}

/// Rows that are changed.
mod upserts {
    use super::*;

    async fn boot() -> Result<Option<Rows>> {
        Ok(Some(Rows::table(Place::sqlite()).await))
    }

    conformance::sink!(boot, without [expiry, leftovers]);
}

async fn boot() -> Result<Option<Values>> {
    Ok(Some(Values::new(Place::sqlite()).await))
}

conformance::values!(boot);
