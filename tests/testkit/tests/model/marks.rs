//! States that matter: the exploration counts how often it came to each, so that none is thought to be
//! covered that is not.

/// A state or step that a scope must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    TwoAttemptsRun,
    CrashWithCommitUnderWay,
    AppliedAfterItsSenderCrashed,
    ClaimInAGap,
    ClaimedAbove,
    Fenced,
    OlderRequestStands,
    TakenByOurOwnRequest,
    GivenUpCheckpointStands,
    RecoveredPending,
    SweptLeftover,
    OpenedBesideANewerAttempt,
    CommitAfterFencing,
    LateCommitApplied,
    LateCommitOfAnEpochThatIsPassed,
    EpochsOverlap,
    LeftoverOfAFailedCheckpointListed,
    EmptyEpoch,
    Confirmation,
    BlockedWriter,
    SlotUsedAgain,
    FreshIdentity,
    Pruned,
    PruneOfAFencedAttempt,
    Cancelled,
    Stopped,
    WentOnAfterClosed,
    HaltedWithEvidence,
    ResolvedAgain,
    WasFinished,
    Finished,
}

const MARKS: usize = Mark::Finished as usize + 1;

/// How often each mark was come to.
#[derive(Debug, Clone)]
pub(crate) struct Marks([u64; MARKS]);

impl Marks {
    pub(crate) fn new() -> Self {
        Self([0; MARKS])
    }

    pub(crate) fn hit(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    pub(crate) fn hit_if(&mut self, condition: bool, mark: Mark) {
        self.0[mark as usize] += u64::from(condition);
    }

    pub(crate) fn times(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }
}
