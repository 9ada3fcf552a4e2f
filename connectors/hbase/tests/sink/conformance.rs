//! The promises of the contract.

use tidelock::Result;
use tidelock_hbase::{Deletes, Mode};
use tidelock_testkit::conformance;

use super::place::{Place, tombstones};

/// Written at once; deletes are HBase's own.
mod markers {
    use super::*;

    async fn boot() -> Result<Option<Place>> {
        Ok(Some(Place::new(Mode::Upsert, Deletes::Markers).await))
    }

    conformance::idempotent!(
        #[ignore = "needs a container"]
        boot
    );
    conformance::rejecting!(
        #[ignore = "needs a container"]
        boot
    );
}

/// Written at once; what is deleted has a tombstone.
mod tombs {
    use super::*;

    async fn boot() -> Result<Option<Place>> {
        Ok(Some(Place::new(Mode::Upsert, tombstones()).await))
    }

    conformance::idempotent!(
        #[ignore = "needs a container"]
        boot
    );
}

/// Written with their epoch.
mod ledger {
    use super::*;

    async fn boot() -> Result<Option<Place>> {
        Ok(Some(Place::new(Mode::Ledger, Deletes::Markers).await))
    }

    conformance::sink!(#[ignore = "needs a container"] boot, without [expiry, leftovers]);
    conformance::rejecting!(
        #[ignore = "needs a container"]
        boot
    );
}
