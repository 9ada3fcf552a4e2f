//! Conformance: every promise of the contract, tried on a connector.
//!
//! A connector's `tests/conformance.rs` implements a [harness](crate::harness) and calls one macro for
//! each side, with a function that boots the harness on a fresh, isolated target. Every check becomes a
//! test that is named by its promise:
//!
//! ```text
//! tidelock_testkit::conformance::sink!(Files::boot);
//! ```
//!
//! `boot` is an async function that returns `Result<Option<Harness>>`, and `None` where the system is not
//! there. Attributes before it go to every test:
//!
//! ```text
//! tidelock_testkit::conformance::source!(#[ignore = "needs a container"] Broker::boot);
//! ```
//!
//! Checks return [`Checked`](crate::check::Checked), so that they can be run and judged without a test
//! runner too: see [`sink::check`] and [`source::check`]. They are asked of one connector at a time; what
//! happens to a whole job is for the simulation and for tests with processes.

pub mod sink;
pub mod source;
pub mod values;

pub use sink::{idempotent, rejecting};

pub use crate::{
    idempotent_conformance as idempotent, rejecting_conformance as rejecting, sink_conformance as sink,
    source_conformance as source, values_conformance as values,
};

/// Makes one test of every check of [`conformance::sink`](crate::conformance::sink); to be called as
/// `conformance::sink!(boot)`.
#[doc(hidden)]
#[macro_export]
macro_rules! sink_conformance {
    ($(#[$attribute:meta])* $boot:path) => {
        mod sink_conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__sink_checks!($crate::__tests, sink [$(#[$attribute])*] ($boot));
        }
    };
}

/// Makes one test of every check of [`conformance::source`](crate::conformance::source); to be called as
/// `conformance::source!(boot)`.
#[doc(hidden)]
#[macro_export]
macro_rules! source_conformance {
    ($(#[$attribute:meta])* $boot:path) => {
        mod source_conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__source_checks!($crate::__tests, source [$(#[$attribute])*] ($boot));
        }
    };
}

/// Makes one test of every check of [`conformance::idempotent`](crate::conformance::idempotent); to be
/// called as `conformance::idempotent!(boot)`.
#[doc(hidden)]
#[macro_export]
macro_rules! idempotent_conformance {
    ($(#[$attribute:meta])* $boot:path) => {
        mod idempotent_conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__idempotent_checks!($crate::__tests, idempotent [$(#[$attribute])*] ($boot));
        }
    };
}

/// Makes one test of every check of [`conformance::rejecting`](crate::conformance::rejecting); to be called as
/// `conformance::rejecting!(boot)`, beside the suite of the sink.
#[doc(hidden)]
#[macro_export]
macro_rules! rejecting_conformance {
    ($(#[$attribute:meta])* $boot:path) => {
        mod rejecting_conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__rejecting_checks!($crate::__tests, rejecting [$(#[$attribute])*] ($boot));
        }
    };
}

/// Makes one test of every check of [`conformance::values`](crate::conformance::values); to be called as
/// `conformance::values!(boot)`, and in a module of its own for each format of a sink.
#[doc(hidden)]
#[macro_export]
macro_rules! values_conformance {
    ($(#[$attribute:meta])* $boot:path) => {
        mod values_conformance {
            #[allow(unused_imports)]
            use super::*;
            $crate::__values_checks!($crate::__tests, values [$(#[$attribute])*] ($boot));
        }
    };
}

/// One test for each check of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ($suite:ident $attributes:tt ($boot:path); $($check:ident)*) => {
        $($crate::__test!($suite $attributes ($boot) $check);)*
    };
}

/// The test of one check.
#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    ($suite:ident [$($attribute:tt)*] ($boot:path) $check:ident) => {
        $($attribute)*
        #[test]
        fn $check() {
            $crate::check::run(stringify!($check), $boot, $crate::conformance::$suite::$check);
        }
    };
}
