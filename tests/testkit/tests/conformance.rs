//! The suites as a connector runs them, on the doubles.

use tidelock::Result;
use tidelock_testkit::conformance;
use tidelock_testkit::doubles::{
    MemorySinkHarness, MemorySourceHarness, MemoryValuesHarness, PickyHarness, TableHarness,
};

async fn sink() -> Result<Option<MemorySinkHarness>> {
    Ok(Some(MemorySinkHarness::new(None)))
}

async fn source() -> Result<Option<MemorySourceHarness>> {
    Ok(Some(MemorySourceHarness::new(None)))
}

async fn table() -> Result<Option<TableHarness>> {
    Ok(Some(TableHarness::new(None)))
}

async fn picky() -> Result<Option<PickyHarness>> {
    Ok(Some(PickyHarness::new(None)))
}

async fn values() -> Result<Option<MemoryValuesHarness>> {
    Ok(Some(MemoryValuesHarness::new(None)))
}

conformance::sink!(sink);
conformance::values!(values);
conformance::rejecting!(picky);
conformance::idempotent!(table);
conformance::source!(
    #[cfg(not(miri))] // it cannot run two threads of a runtime
    source
);
