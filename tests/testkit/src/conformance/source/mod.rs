//! The checks of a source. Each is one promise of [`Source`](tidelock::Source) or
//! [`SplitReader`](tidelock::SplitReader), and its doc says how it is tried and when it passes.

mod discover;
mod feed;
mod read;

pub use discover::*;
pub use read::*;

use crate::harness::SourceHarness;

/// Hands the name of every source check to another macro: the one list from which tests and tables are
/// made.
#[doc(hidden)]
#[macro_export]
macro_rules! __source_checks {
    ($then:path, $($with:tt)*) => {
        $then! {
            $($with)*;
            every_record_is_read_once
            the_order_of_a_split_is_kept
            resuming_after_any_batch_gives_the_rest
            splits_survive_storage
            reading_changes_nothing_outside
            batches_are_bounded
            splits_move_between_readers
            a_reader_waits_for_what_comes_later(growth)
            a_position_that_is_gone_is_an_error(retention)
            discovery_remembers_nothing
            active_splits_are_not_found_again
            a_split_that_appears_later_is_read_from_its_beginning(newcomers)
            a_finished_split_is_not_read_again(endings)
            the_start_position_applies_to_the_first_run_only(latest)
            latest_is_decided_by_discovery(latest)
            acknowledging_moves_no_position
        }
    };
}

__source_checks!(by_name, SourceHarness);
