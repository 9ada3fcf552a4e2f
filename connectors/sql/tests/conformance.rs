//! The promises of the contract, tried on SQLite; `servers.rs` tries the same on servers.

mod common;

use common::sources::{Followed, Scanned};
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

/// Rows that are there.
mod scans {
    use super::*;

    async fn boot() -> Result<Option<Scanned>> {
        Ok(Some(Scanned::new(Place::sqlite()).await))
    }

    conformance::source!(boot, without [growth, newcomers, latest, retention]);
}

/// Rows that come.
mod incremental {
    use super::*;

    async fn boot() -> Result<Option<Followed>> {
        Ok(Some(Followed::new(Place::sqlite())))
    }

    conformance::source!(boot, without [endings, retention]);
}

async fn boot() -> Result<Option<Values>> {
    Ok(Some(Values::new(Place::sqlite()).await))
}

conformance::values!(boot);
