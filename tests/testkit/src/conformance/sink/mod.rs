//! The checks of a sink. Each is one promise of [`Sink`](tidelock::Sink) or
//! [`SinkWriter`](tidelock::SinkWriter), and its doc says how it is tried and when it passes.

mod attempts;
mod commit;
mod crash;
pub mod idempotent;
pub mod rejecting;
mod run;
mod write;

pub use attempts::*;
pub use commit::*;
pub use crash::*;
pub use write::*;

use crate::harness::SinkHarness;

/// Hands the name of every sink check to another macro: the one list from which tests and tables are
/// made.
#[doc(hidden)]
#[macro_export]
macro_rules! __sink_checks {
    ($then:path, $($with:tt)*) => {
        $then! {
            $($with)*;
            written_data_is_invisible
            prepared_data_is_invisible
            an_empty_epoch_needs_nothing
            prepared_data_lasts_as_long_as_the_sink_says
            a_writer_keeps_its_order(order)
            several_writers_work_side_by_side
            epochs_follow_each_other
            a_writer_without_a_free_place_gives_back
            commit_makes_all_visible_once
            committing_again_changes_nothing
            concurrent_commits_are_one
            committables_survive_storage
            a_fresh_process_can_commit
            a_commit_that_is_done_in_part_completes
            a_commit_takes_what_failed_checkpoints_prepared
            commit_makes_only_its_epoch_visible
            a_late_commit_changes_nothing
            the_last_epoch_is_committed_after_its_writers_ended
            commit_reports_data_that_is_gone(expiry)
            an_epoch_that_lost_its_beginning_is_not_committed(expiry)
            a_crash_before_prepare_leaves_nothing
            a_crash_inside_write_leaves_nothing
            a_crash_after_prepare_leaves_nothing
            a_crash_after_the_snapshot_loses_nothing
            a_crash_inside_commit_is_completed
            a_crash_after_commit_doubles_nothing
            fewer_writers_can_recover
            leftovers_of_older_attempts_are_aborted(leftovers)
            leftovers_that_come_late_are_aborted(leftovers)
            other_jobs_and_sinks_are_left_alone
            recovery_changes_nothing_that_is_pending
            recovery_again_leaves_own_data_alone
            an_older_attempt_that_starts_late_harms_nothing
            an_older_attempt_that_commits_late_changes_nothing
            recovery_reports_data_that_is_gone(expiry)
        }
    };
}

__sink_checks!(by_name, SinkHarness);
