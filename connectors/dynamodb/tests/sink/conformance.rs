//! The promises of the contract.

use tidelock::Result;
use tidelock_dynamodb::Mode;
use tidelock_testkit::conformance;

use super::place::Place;

/// Each change by itself, with a version.
mod versioned {
    use super::*;

    async fn boot() -> Result<Option<Place>> {
        Ok(Some(Place::new(Mode::Versioned).await))
    }

    conformance::idempotent!(boot);
    conformance::rejecting!(boot);
}

/// Many in a request, at least once. What the suite promises of older attempts that write late this mode does not: it says so.
mod batched {
    use tidelock_testkit::check;

    use super::*;

    async fn boot() -> Result<Option<Place>> {
        Ok(Some(Place::new(Mode::Batched).await))
    }

    conformance::rejecting!(boot);

    macro_rules! promised {
        ($($check:ident)*) => {
            $(
                #[test]
                fn $check() {
                    check::run("idempotent", stringify!($check), boot, conformance::idempotent::$check);
                }
            )*
        };
    }

    promised! {
        prepared_data_has_arrived
        the_last_write_of_a_key_wins
        commit_and_recovery_change_nothing
        a_replay_ends_in_the_same_state
    }
}
