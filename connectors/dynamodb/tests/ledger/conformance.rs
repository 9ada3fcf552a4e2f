//! The promises of the contract.

use tidelock::Result;
use tidelock_testkit::conformance;

use super::place::Place;

async fn boot() -> Result<Option<Place>> {
    Ok(Some(Place::new().await))
}

conformance::sink!(boot, without [expiry, leftovers]);
conformance::rejecting!(boot);
