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
//! Some checks need a *facet*, what only some systems can do. Facets that the harness lacks are left out by name:
//!
//! ```
//! # type Harness = tidelock_testkit::doubles::MemorySinkHarness;
//! # async fn boot() -> tidelock::Result<Option<Harness>> { Ok(None) }
//! tidelock_testkit::conformance::sink!(boot, without [expiry, leftovers]);
//! ```
//!
//! No test is made of their checks, so that none says `ok` which checked nothing. One more test demands that each
//! check that is left out really does not apply, and a check that does not apply and is not left out fails. The
//! facets are, by suite:
//!
//! | suite | facets |
//! |---|---|
//! | `sink` | `order`, `expiry`, `leftovers` |
//! | `source` | `growth`, `newcomers`, `endings`, `latest`, `retention` |
//! | `idempotent` | `delete` |
//! | `rejecting` | none |
//! | `values` | `floats`, `integers`, `texts`, `bytes`, `missing_values`, `timestamps` |
//!
//! A name that is no facet does not compile:
//!
//! ```compile_fail
//! # type Harness = tidelock_testkit::doubles::MemorySinkHarness;
//! # async fn boot() -> tidelock::Result<Option<Harness>> { Ok(None) }
//! tidelock_testkit::conformance::sink!(boot, without [expiry, leftover]);
//! ```
//!
//! Checks return [`Checked`](crate::check::Checked), so that they can be run and judged without a test
//! runner too: see [`sink::check`] and [`source::check`]. They are asked of one connector at a time; what
//! happens to a whole job is for the simulation and for tests with processes.

/// What each suite gives to those who run its checks without a test runner, made of its list of checks.
macro_rules! by_name {
    ($harness:ident; $($check:ident $(($facet:ident))?)*) => {
        /// The names of all checks.
        pub const CHECKS: &[&str] = &[$(stringify!($check)),*];

        /// The checks that need a facet, each with the facet's name.
        pub const FACETS: &[(&str, &str)] = &[$($((stringify!($check), stringify!($facet)),)?)*];

        /// Runs one check by its name; `None` where there is no such check.
        pub async fn check<H: $harness>(name: &str, harness: &H) -> Option<$crate::check::Checked> {
            match name {
                $(stringify!($check) => Some($check(harness).await),)*
                _ => None,
            }
        }
    };
}

pub mod sink;
pub mod source;
pub mod values;

pub use sink::{idempotent, rejecting};

pub use crate::{
    idempotent_conformance as idempotent, rejecting_conformance as rejecting, sink_conformance as sink,
    source_conformance as source, values_conformance as values,
};

/// Makes one test of every check of [`conformance::sink`](crate::conformance::sink); to be called as
/// `conformance::sink!(boot)`, or `conformance::sink!(boot, without [facet])`.
#[doc(hidden)]
#[macro_export]
macro_rules! sink_conformance {
    ($(#[$attribute:meta])* $boot:path $(, without [$($facet:ident),* $(,)?])?) => {
        mod sink_conformance {
            #[allow(unused_imports)]
            use super::*;
            $($($crate::__facet!(sink $facet);)*)?
            $crate::__leave_out!(($) $($($facet)*)?);
            $crate::__sink_checks!($crate::__tests, sink [$(#[$attribute])*] ($boot));
            $crate::__left_out!(sink [$(#[$attribute])*] ($boot) $($($facet)*)?);
        }
    };
}

/// Makes one test of every check of [`conformance::source`](crate::conformance::source); to be called as
/// `conformance::source!(boot)`, or `conformance::source!(boot, without [facet])`.
#[doc(hidden)]
#[macro_export]
macro_rules! source_conformance {
    ($(#[$attribute:meta])* $boot:path $(, without [$($facet:ident),* $(,)?])?) => {
        mod source_conformance {
            #[allow(unused_imports)]
            use super::*;
            $($($crate::__facet!(source $facet);)*)?
            $crate::__leave_out!(($) $($($facet)*)?);
            $crate::__source_checks!($crate::__tests, source [$(#[$attribute])*] ($boot));
            $crate::__left_out!(source [$(#[$attribute])*] ($boot) $($($facet)*)?);
        }
    };
}

/// Makes one test of every check of [`conformance::idempotent`](crate::conformance::idempotent); to be
/// called as `conformance::idempotent!(boot)`, or `conformance::idempotent!(boot, without [facet])`.
#[doc(hidden)]
#[macro_export]
macro_rules! idempotent_conformance {
    ($(#[$attribute:meta])* $boot:path $(, without [$($facet:ident),* $(,)?])?) => {
        mod idempotent_conformance {
            #[allow(unused_imports)]
            use super::*;
            $($($crate::__facet!(idempotent $facet);)*)?
            $crate::__leave_out!(($) $($($facet)*)?);
            $crate::__idempotent_checks!($crate::__tests, idempotent [$(#[$attribute])*] ($boot));
            $crate::__left_out!(idempotent [$(#[$attribute])*] ($boot) $($($facet)*)?);
        }
    };
}

/// Makes one test of every check of [`conformance::rejecting`](crate::conformance::rejecting); to be called as
/// `conformance::rejecting!(boot)`, beside the suite of the sink.
#[doc(hidden)]
#[macro_export]
macro_rules! rejecting_conformance {
    ($(#[$attribute:meta])* $boot:path $(, without [$($facet:ident),* $(,)?])?) => {
        mod rejecting_conformance {
            #[allow(unused_imports)]
            use super::*;
            $($($crate::__facet!(rejecting $facet);)*)?
            $crate::__leave_out!(($) $($($facet)*)?);
            $crate::__rejecting_checks!($crate::__tests, rejecting [$(#[$attribute])*] ($boot));
            $crate::__left_out!(rejecting [$(#[$attribute])*] ($boot) $($($facet)*)?);
        }
    };
}

/// Makes one test of every check of [`conformance::values`](crate::conformance::values); to be called as
/// `conformance::values!(boot)` or `conformance::values!(boot, without [facet])`, and in a module of its own for
/// each format of a sink.
#[doc(hidden)]
#[macro_export]
macro_rules! values_conformance {
    ($(#[$attribute:meta])* $boot:path $(, without [$($facet:ident),* $(,)?])?) => {
        mod values_conformance {
            #[allow(unused_imports)]
            use super::*;
            $($($crate::__facet!(values $facet);)*)?
            $crate::__leave_out!(($) $($($facet)*)?);
            $crate::__values_checks!($crate::__tests, values [$(#[$attribute])*] ($boot));
            $crate::__left_out!(values [$(#[$attribute])*] ($boot) $($($facet)*)?);
        }
    };
}

/// Nothing for a facet that a suite knows, and otherwise an error that names those that it does.
#[doc(hidden)]
#[macro_export]
macro_rules! __facet {
    (sink order) => {};
    (sink expiry) => {};
    (sink leftovers) => {};
    (sink $other:ident) => {
        $crate::__facet!("sink" knows "order, expiry, leftovers", and not $other);
    };
    (source growth) => {};
    (source newcomers) => {};
    (source endings) => {};
    (source latest) => {};
    (source retention) => {};
    (source $other:ident) => {
        $crate::__facet!("source" knows "growth, newcomers, endings, latest, retention", and not $other);
    };
    (idempotent delete) => {};
    (idempotent $other:ident) => {
        $crate::__facet!("idempotent" knows "delete", and not $other);
    };
    (rejecting $other:ident) => {
        $crate::__facet!("rejecting" knows "none", and not $other);
    };
    (values floats) => {};
    (values integers) => {};
    (values texts) => {};
    (values bytes) => {};
    (values missing_values) => {};
    (values timestamps) => {};
    (values $other:ident) => {
        $crate::__facet!("values" knows "floats, integers, texts, bytes, missing_values, timestamps", and not $other);
    };
    ($suite:literal knows $facets:literal, and not $other:ident) => {
        compile_error!(concat!(
            "`", stringify!($other), "` is no facet of the suite `", $suite, "`; its facets: ", $facets
        ));
    };
}

/// Makes the macro `unless_left_out`, which drops the test of a check whose facet is left out. It is a macro for
/// each call, because only a macro that has the facets among its own patterns can compare names.
#[doc(hidden)]
#[macro_export]
macro_rules! __leave_out {
    (($dollar:tt) $($left_out:ident)*) => {
        #[allow(unused_macros)]
        macro_rules! unless_left_out {
            $(($left_out $dollar($dollar test:tt)*) => {};)*
            ($dollar facet:ident $dollar($dollar test:tt)*) => { $dollar($dollar test)* };
        }
    };
}

/// One test for each check of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ($suite:ident $attributes:tt ($boot:path); $($check:ident $(($facet:ident))?)*) => {
        $($crate::__test!($suite $attributes ($boot) $check $($facet)?);)*
    };
}

/// The test of one check.
#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    ($suite:ident $attributes:tt ($boot:path) $check:ident $facet:ident) => {
        unless_left_out! { $facet $crate::__test!($suite $attributes ($boot) $check); }
    };
    ($suite:ident [$($attribute:tt)*] ($boot:path) $check:ident) => {
        $($attribute)*
        #[test]
        fn $check() {
            let suite = stringify!($suite);
            $crate::check::run(suite, stringify!($check), $boot, $crate::conformance::$suite::$check);
        }
    };
}

/// The test that what is left out does not apply; none where nothing is left out.
#[doc(hidden)]
#[macro_export]
macro_rules! __left_out {
    ($suite:ident $attributes:tt ($boot:path)) => {};
    ($suite:ident [$($attribute:tt)*] ($boot:path) $($facet:ident)+) => {
        $($attribute)*
        #[test]
        fn what_is_left_out_does_not_apply() {
            let left_out = &[$(stringify!($facet)),+];
            $crate::check::left_out($boot, left_out, $crate::conformance::$suite::FACETS, async |check, harness| {
                // Boxed: it is as large as the largest of all checks.
                Box::pin($crate::conformance::$suite::check(check, harness)).await
            });
        }
    };
}
