//! Broken doubles: one rule of the contract or of the world is broken on purpose, and the simulation
//! must find it. A check that cannot fail is worthless.

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Double {
    /// The store replaces an entry that stands.
    StoreAcceptsSecondCreate,
    /// The store acknowledges an entry that it does not keep.
    StoreLosesWhatItAcknowledged,
    /// The store's listing does not show the newest name.
    StoreListsLate,
    /// The store's folder is pruned to the newest entry: claims go, too (I5).
    StoreForgetsClaims,
    /// A batch's position lies after a record that it does not contain.
    SourceResumesAhead,
    /// A split that appears later is started at the newest record.
    SourceStartsAtLatestAgain,
    /// The sink makes an epoch visible when it is prepared (I1).
    SinkCommitsAtPrepare,
    /// The sink says that it committed what was pending before its start, and did not (I6).
    SinkForgetsPending,
    /// A writer begins again in a slot whose last transaction an entry still lists.
    SinkReusesSlotsEarly,
    /// A writer goes on with its identity although an answer was missing.
    SinkIgnoresReinit,
    /// The names of transactions do not carry the attempt.
    SinkNamesWithoutAttempt,
    /// The sweep aborts what newer attempts made, too.
    SinkSweepsNewer,
    /// The sweep aborts what the snapshot lists, too.
    SinkSweepsPending,
    /// The sink skips what the target threw away (I7).
    SinkSkipsExpired,
    /// A writer goes on with its epoch though the target threw away the beginning of it. Few seeds come to
    /// that in an attempt that nobody fences: a scenario finds it.
    SinkWritesOnInATornEpoch,
    /// The last record before a barrier is sent after it.
    HostLetsBarrierOvertake,
    /// Of what a writer gives back, the first record is dropped.
    HostDropsWhatWasGivenBack,
    /// Settled is told to the writers as soon as the checkpoint is durable.
    HostTellsSettledEarly,
    /// The reports of the host leave out what the writers prepared.
    HostForgetsCommittables,
    /// The host does not tidy when its job has ended. Nobody notices where the job goes on: a scenario does.
    HostTidiesNothing,
    /// The host tidies by a number above all attempts, also those to come. A scenario finds it.
    HostTidiesAsTheNewest,
    /// The table applies what is older than what it has.
    TableIgnoresVersions,
}

impl Double {
    /// All that a few seeds find by themselves.
    pub const ALL: &[Self] = &[
        Self::StoreAcceptsSecondCreate,
        Self::StoreLosesWhatItAcknowledged,
        Self::StoreListsLate,
        Self::StoreForgetsClaims,
        Self::SourceResumesAhead,
        Self::SourceStartsAtLatestAgain,
        Self::SinkCommitsAtPrepare,
        Self::SinkForgetsPending,
        Self::SinkReusesSlotsEarly,
        Self::SinkIgnoresReinit,
        Self::SinkNamesWithoutAttempt,
        Self::SinkSweepsNewer,
        Self::SinkSweepsPending,
        Self::SinkSkipsExpired,
        Self::HostLetsBarrierOvertake,
        Self::HostDropsWhatWasGivenBack,
        Self::HostTellsSettledEarly,
        Self::HostForgetsCommittables,
        Self::TableIgnoresVersions,
    ];
}
