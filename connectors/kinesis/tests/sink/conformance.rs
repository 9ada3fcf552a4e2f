//! The promises of the contract.

use tidelock::Result;
use tidelock_testkit::conformance;

use super::place::Place;

/// After the checkpoint, with a header: what our source hands over is what the suite promises of a log.
mod numbered {
    use super::*;

    async fn boot() -> Result<Option<Place>> {
        Ok(Some(Place::numbered(2).await))
    }

    conformance::sink!(boot, without [expiry, leftovers]);
    conformance::rejecting!(boot);
}

/// At once, and at least once. What the suite of idempotent sinks promises of older attempts that write late this mode does not: it says so.
mod direct {
    use tidelock_testkit::check;

    use super::*;

    async fn boot() -> Result<Option<Place>> {
        Ok(Some(Place::direct(2).await))
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
