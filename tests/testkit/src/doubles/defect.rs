//! The ways in which a double can be broken, and the checks that must find out.

/// The checks that a defect fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fails {
    /// The check that is there for this defect.
    pub check: &'static str,
    /// Checks that cannot be told apart from it for this defect.
    pub also: &'static [&'static str],
    /// Why they cannot; empty where there are none.
    pub because: &'static str,
}

/// A row of the table of defects.
macro_rules! defects {
    (
        $(#[$doc:meta])* $type:ident;
        $($(#[$meaning:meta])* $defect:ident => $check:literal $(, also $also:tt because $because:literal)?;)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $type {
            $($(#[$meaning])* $defect,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$defect),*];

            /// The checks that it fails; it passes all others.
            pub fn fails(self) -> Fails {
                match self {
                    $(Self::$defect => Fails {
                        check: $check,
                        also: defects!(@also $($also)?),
                        because: concat!($($because)?),
                    },)*
                }
            }
        }
    };
    (@also) => { &[] };
    (@also $also:tt) => { &$also };
}

defects! {
    /// One way in which a sink is broken.
    SinkDefect;

    /// Readers see what is written.
    ShowsWritten => "written_data_is_invisible",
        also ["commit_makes_only_its_epoch_visible", "an_older_attempt_that_starts_late_harms_nothing"]
        because "they look while something is written and not prepared";
    /// Readers see what is prepared.
    ShowsPrepared => "prepared_data_is_invisible",
        also [
            "commit_makes_only_its_epoch_visible",
            "recovery_changes_nothing_that_is_pending",
            "an_older_attempt_that_commits_late_changes_nothing"
        ]
        because "they look while something is prepared and not committed";
    /// Prepare returns a committable for an empty epoch.
    PreparesNothing => "an_empty_epoch_needs_nothing";
    /// Commit refuses to be called with nothing.
    RefusesEmptyCommit => "an_empty_epoch_needs_nothing";
    /// The sink says that prepared data is kept for ever, and its committables have a deadline.
    HidesItsDeadline => "prepared_data_lasts_as_long_as_the_sink_says";
    /// The sink says that prepared data is kept for an hour, and its committables have no deadline.
    ForgetsItsDeadline => "prepared_data_lasts_as_long_as_the_sink_says";
    /// The sink says that prepared data is kept for an hour, and its committables have half of it.
    PromisesTooLong => "prepared_data_lasts_as_long_as_the_sink_says";
    /// A later batch comes before an earlier one.
    ReversesBatches => "a_writer_keeps_its_order";
    /// Two writers have one identity in the target.
    SharesIdentity => "several_writers_work_side_by_side";
    /// What was prepared is prepared again with the next epoch.
    KeepsPreparedRows => "epochs_follow_each_other";
    /// Records are dropped where there is no free place.
    DropsWhenFull => "a_writer_without_a_free_place_gives_back";
    /// Write waits until something is settled.
    WaitsWhenFull => "a_writer_without_a_free_place_gives_back";
    /// Commit takes the first page only.
    CommitsShortPages => "commit_makes_all_visible_once";
    /// A commit that this process repeats is applied again.
    DoublesInOneProcess => "committing_again_changes_nothing",
        also ["a_commit_that_is_done_in_part_completes"]
        because "its second commit repeats the first epoch";
    /// Commit looks whether it is done, and only later does it.
    ChecksThenCommits => "concurrent_commits_are_one";
    /// The committable has a handle that is not stored.
    KeepsLiveHandle => "committables_survive_storage",
        also [
            "a_fresh_process_can_commit",
            "a_crash_after_the_snapshot_loses_nothing",
            "a_crash_inside_commit_is_completed",
            "fewer_writers_can_recover",
            "an_older_attempt_that_commits_late_changes_nothing"
        ]
        because "a fresh process has nothing but what was stored";
    /// Commit passes over what this process did not prepare.
    CommitsFromMemory => "a_fresh_process_can_commit",
        also [
            "a_crash_after_the_snapshot_loses_nothing",
            "a_crash_inside_commit_is_completed",
            "fewer_writers_can_recover",
            "recovery_changes_nothing_that_is_pending"
        ]
        because "every recovery commits in a fresh process";
    /// Where one committable is committed, commit takes the others for committed.
    TakesAPartForAll => "a_commit_that_is_done_in_part_completes";
    /// Commit passes over committables of earlier epochs.
    CommitsOwnEpochOnly => "a_commit_takes_what_failed_checkpoints_prepared",
        also ["a_writer_without_a_free_place_gives_back", "a_crash_after_the_snapshot_loses_nothing"]
        because "they commit several epochs with one permit";
    /// Commit shows what the writer has written since.
    CommitsWhatIsOpen => "commit_makes_only_its_epoch_visible";
    /// Commit shows everything that the writer has prepared.
    CommitsAllPrepared => "commit_makes_only_its_epoch_visible";
    /// Only the newest commit is remembered as done.
    DoublesLateCommits => "a_late_commit_changes_nothing";
    /// A writer that ends aborts what it has prepared.
    DropAborts => "the_last_epoch_is_committed_after_its_writers_ended",
        also [
            "a_fresh_process_can_commit",
            "a_crash_after_the_snapshot_loses_nothing",
            "a_crash_inside_commit_is_completed",
            "fewer_writers_can_recover",
            "recovery_changes_nothing_that_is_pending"
        ]
        because "a crash ends the writers too";
    /// Commit passes over data that is gone.
    SkipsExpired => "commit_reports_data_that_is_gone";
    /// Commit asks for a restart where data is gone: an endless loop.
    RestartsWhenExpired => "commit_reports_data_that_is_gone";
    /// A writer begins again where its transaction was aborted, and prepares the rest of the epoch.
    WritesOnInATornEpoch => "an_epoch_that_lost_its_beginning_is_not_committed";
    /// A writer that ends shows what it has not prepared.
    DropShows => "a_crash_before_prepare_leaves_nothing",
        also ["a_crash_inside_write_leaves_nothing"]
        because "a crash inside write is before prepare";
    /// A write that is cut short shows its first half.
    TornWriteShows => "a_crash_inside_write_leaves_nothing";
    /// Recovery commits what is prepared and not listed.
    RecoveryCommitsLeftovers => "a_crash_after_prepare_leaves_nothing";
    /// Recovery looks at the first pending committable and aborts the others.
    KeepsFirstPendingOnly => "a_crash_after_the_snapshot_loses_nothing";
    /// Commit applies a half before it remembers anything.
    TearsCommit => "a_crash_inside_commit_is_completed",
        also ["concurrent_commits_are_one"]
        because "the other commit sees the half as the next process does";
    /// Recovery takes what is committed for gone.
    MissesWhatIsCommitted => "a_crash_after_commit_doubles_nothing";
    /// A fresh process commits again what is committed.
    DoublesInFreshProcess => "a_crash_after_commit_doubles_nothing";
    /// Recovery removes what is visible and not listed.
    RecoveryUndoesUnlisted => "a_crash_after_commit_doubles_nothing";
    /// Commit passes over writers that this process does not have.
    CommitsKnownWritersOnly => "fewer_writers_can_recover";
    /// Recovery aborts nothing.
    NeverSweeps => "leftovers_of_older_attempts_are_aborted",
        also ["leftovers_that_come_late_are_aborted"]
        because "what is never aborted is not aborted late";
    /// Recovery aborts leftovers of the writers that it has itself.
    SweepsOwnWritersOnly => "leftovers_of_older_attempts_are_aborted";
    /// Recovery aborts nothing when it is repeated.
    SweepsOnce => "leftovers_that_come_late_are_aborted";
    /// Recovery takes every name for ours that begins like ours.
    ComparesPrefixes => "other_jobs_and_sinks_are_left_alone";
    /// Recovery commits what is pending by itself.
    RecoveryCommits => "recovery_changes_nothing_that_is_pending";
    /// Recovery aborts the attempt's own data.
    SweepsOwn => "recovery_again_leaves_own_data_alone";
    /// Recovery aborts what newer attempts made.
    SweepsNewer => "an_older_attempt_that_starts_late_harms_nothing";
    /// A writer that opens aborts what other attempts made under its number.
    OpenAbortsOthers => "an_older_attempt_that_starts_late_harms_nothing";
    /// A committable names a writer and not a transaction.
    CommitsByName => "an_older_attempt_that_commits_late_changes_nothing";
    /// Recovery does not look whether pending data is gone.
    RecoverySkipsExpired => "recovery_reports_data_that_is_gone";
}

defects! {
    /// One way in which a source is broken.
    SourceDefect;

    /// A record is left out.
    LosesARecord => "every_record_is_read_once";
    /// Two records change places.
    SwapsRecords => "the_order_of_a_split_is_kept";
    /// `resume` is one record ahead of what was handed over.
    ResumesTooFar => "resuming_after_any_batch_gives_the_rest";
    /// `resume` is one record behind what was handed over.
    ResumesTooEarly => "resuming_after_any_batch_gives_the_rest";
    /// The position is not stored.
    ForgetsPosition => "splits_survive_storage";
    /// The system remembers how far anybody read, and that counts.
    ContinuesWhereReadingEnded => "reading_changes_nothing_outside",
        also ["acknowledging_moves_no_position"]
        because "what is acknowledged was read before";
    /// A batch has everything that waits.
    ReturnsAllAtOnce => "batches_are_bounded";
    /// Readers of one process share a subscription.
    MixesSplits => "splits_move_between_readers";
    /// A reader ends where there is nothing yet.
    EndsWhenDry => "a_reader_waits_for_what_comes_later";
    /// A position that is gone is moved forward.
    SkipsWhatIsGone => "a_position_that_is_gone_is_an_error";
    /// Discovery returns a split once and then remembers it.
    RemembersDiscovery => "discovery_remembers_nothing";
    /// A split that has moved counts as new.
    ReturnsActive => "active_splits_are_not_found_again";
    /// Splits are listed once in the life of a process.
    ListsOnce => "a_split_that_appears_later_is_read_from_its_beginning",
        also ["the_start_position_applies_to_the_first_run_only"]
        because "it needs a split that appears later";
    /// A split that appears later starts at its end.
    NewSplitsStartAtEnd => "a_split_that_appears_later_is_read_from_its_beginning",
        also ["the_start_position_applies_to_the_first_run_only"]
        because "it needs a split that appears later";
    /// Finished splits are returned.
    ReturnsFinished => "a_finished_split_is_not_read_again";
    /// A finished split is forgotten while it can be found again.
    ForgetsTooEarly => "a_finished_split_is_not_read_again";
    /// The configured start position applies to every new split.
    AlwaysStartsAtLatest => "the_start_position_applies_to_the_first_run_only";
    /// "Latest" is decided by open.
    DecidesLatestAtOpen => "latest_is_decided_by_discovery";
    /// Open moves on to what was acknowledged.
    ResumesFromAcknowledged => "acknowledging_moves_no_position";
    /// Discovery starts at what was acknowledged.
    DiscoversAcknowledged => "acknowledging_moves_no_position";
    /// An acknowledgement that comes late is an error.
    RefusesOldAcknowledgement => "acknowledging_moves_no_position";
}

defects! {
    /// One way in which a sink in idempotent mode is broken.
    TableDefect;

    /// Prepare returns before everything has arrived.
    PreparesBeforeArrival => "prepared_data_has_arrived";
    /// A row that is there is not changed.
    FirstWriteWins => "the_last_write_of_a_key_wins",
        also [
            "a_replay_ends_in_the_same_state",
            "an_older_attempt_that_writes_late_never_wins",
            "a_rolled_back_run_never_wins",
            "a_deleted_row_stays_deleted"
        ]
        because "they change a row too";
    /// Recovery clears the target where nothing is pending.
    RecoveryClears => "commit_and_recovery_change_nothing";
    /// A version that is there already is an error.
    RefusesRepetition => "a_replay_ends_in_the_same_state";
    /// Whatever arrives last is written.
    LastRequestWins => "an_older_attempt_that_writes_late_never_wins",
        also ["a_rolled_back_run_never_wins", "a_deleted_row_stays_deleted"]
        because "a late write is the last one to arrive";
    /// The generation is no part of the version.
    ComparesValuesOnly => "a_rolled_back_run_never_wins";
    /// A delete removes the version with the row.
    DeletesWithoutTrace => "a_deleted_row_stays_deleted";
}

defects! {
    /// One way in which a sink that sets records aside is broken.
    RejectingDefect;

    /// A bad record is dropped without a word.
    LosesRejects => "a_rejected_record_is_handed_back_once",
        also ["rejects_are_told_before_their_epoch_is_prepared", "a_replay_rejects_again"]
        because "they look for what was rejected";
    /// A bad record is handed back twice.
    DoublesRejects => "a_rejected_record_is_handed_back_once",
        also ["rejects_are_told_before_their_epoch_is_prepared", "a_replay_rejects_again"]
        because "they look for what was rejected";
    /// Bad records are handed back at the end of the batch, the last one first.
    ReversesRejects => "a_rejected_record_is_handed_back_once",
        also ["a_replay_rejects_again"]
        because "it has several bad records in one batch too";
    /// A bad record is written as well.
    WritesRejects => "what_stands_beside_a_rejected_record_is_written",
        also ["a_replay_rejects_again"]
        because "it looks at what is visible";
    /// The record behind a bad one goes with it.
    DropsTheNext => "what_stands_beside_a_rejected_record_is_written",
        also ["a_rejected_record_is_handed_back_once", "a_replay_rejects_again"]
        because "the record behind may be a bad one";
    /// A bad record is handed back with the next epoch.
    TellsLate => "rejects_are_told_before_their_epoch_is_prepared",
        also ["a_rejected_record_is_handed_back_once", "a_replay_rejects_again"]
        because "they look after prepare";
    /// A bad record is dropped where nobody wants it.
    SkipsWithoutAPlace => "without_a_place_a_bad_record_is_an_error";
    /// A bad record asks for a restart, which brings it again.
    AsksForARestart => "without_a_place_a_bad_record_is_an_error";
    /// What was rejected once is not rejected again.
    RemembersRejects => "a_replay_rejects_again";
}

defects! {
    /// One kind of value that a sink changes without a word.
    ValuesDefect;

    /// Minus zero becomes zero.
    LosesTheSignOfZero => "floats_are_what_was_written";
    /// Every float is refused, also 0.1.
    RefusesFloats => "floats_are_what_was_written";
    /// Integers go through a float.
    CountsInFloats => "integers_are_what_was_written";
    /// A text ends at its first NUL.
    EndsTextsAtNul => "texts_are_what_was_written";
    /// Bytes that are not UTF-8 become question marks.
    TakesBytesForText => "bytes_are_what_was_written";
    /// An empty text becomes a missing one.
    TakesEmptyForMissing => "missing_values_are_what_was_written";
    /// A timestamp of 0 becomes the time of now.
    TakesZeroForNow => "timestamps_are_what_was_written";
}
