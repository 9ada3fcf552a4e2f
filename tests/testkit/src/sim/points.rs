//! Crash points: every step of the protocol that the outside world can see, and what is done to it.
//!
//! The product code has no hooks. A point is derived from a request to the simulated store, target or
//! source, or from an order or news that passes between the coordinator and the host.

use std::collections::BTreeMap;
use std::fmt;

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident: $kind:ident,)*) => {
        /// A step of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point {
            $($(#[$doc])* $name,)*
        }

        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What kind of step it is.
            pub fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }
        }
    };
}

/// What kind of step a [`Point`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A request to the store.
    Store,
    /// A request to a target.
    Target,
    /// A request to a source system.
    Input,
    /// An order or news between coordinator and host.
    Link,
}

points! {
    /// The store is probed for conditional creates.
    Probe: Store,
    /// The log is listed before the claim.
    Look: Store,
    /// An entry is read that this process did not ask for.
    ReadEntry: Store,
    /// The claim is asked for (I5).
    CreateClaim: Store,
    /// The log is listed after a claim was asked for: the re-list of I5, or housekeeping.
    Relist: Store,
    /// The start entry is asked for (I6, I9).
    CreateStart: Store,
    /// A checkpoint entry is asked for.
    CreateCheckpoint: Store,
    /// A confirmation entry is asked for.
    CreateConfirmation: Store,
    /// The closed entry is asked for.
    CreateClosed: Store,
    /// A position that was asked for is read back.
    ReadBack: Store,
    /// A chunk is written.
    WriteChunk: Store,
    /// A chunk is read.
    ReadChunk: Store,
    /// Something is deleted.
    Prune: Store,
    /// A savepoint's file is written.
    Export: Store,
    /// Leftovers are listed (I6).
    Sweep: Target,
    /// A leftover is aborted.
    SweepAbort: Target,
    /// A pending committable is looked at (I7).
    LookPending: Target,
    /// A commit before the writers open.
    RecoveryCommit: Target,
    /// A commit while the job runs.
    Commit: Target,
    /// A writer initialises its identity.
    OpenWriter: Target,
    /// Records are written.
    Write: Target,
    /// What was written is made durable.
    Prepare: Target,
    /// A writer goes on with a fresh identity.
    Reinit: Target,
    /// New splits are looked for.
    Discover: Input,
    /// A split is opened.
    OpenSplit: Input,
    /// Durable positions are told to the source.
    Acknowledge: Input,
    /// `Order::Open`.
    OrderOpen: Link,
    /// `Order::Assign`.
    OrderAssign: Link,
    /// `Order::Barrier`.
    OrderBarrier: Link,
    /// `Order::Settled`.
    OrderSettled: Link,
    /// `Order::EndOfInput`.
    OrderEndOfInput: Link,
    /// `Order::Completed`.
    OrderCompleted: Link,
    /// `News::Opened`.
    NewsOpened: Link,
    /// `News::Report`.
    NewsReport: Link,
    /// `News::SplitFinished`.
    NewsSplitFinished: Link,
    /// `News::NoFreePlace`.
    NewsNoFreePlace: Link,
}

/// What is done at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// The process dies; the step does not happen.
    CrashBefore,
    /// The step happens; the process dies and sees no answer.
    CrashAfter,
    /// The process stands still for so many milliseconds, then the step happens: a zombie, if another
    /// one was started meanwhile.
    PauseBefore(u64),
    /// The step happens; the process stands still and sees the answer when it wakes.
    PauseAfter(u64),
    /// The request never arrives; the requester gets an error.
    LoseRequest,
    /// The step happens; the requester gets an error.
    LoseReply,
    /// The requester gets an error soon; the step happens after so many milliseconds, also when the
    /// requester is dead by then.
    Late(u64),
    /// The client retried by itself: the step happens twice, and the answer is the second one's.
    Twice,
    /// The client retried by itself: the step happens, is answered, and happens again after so many
    /// milliseconds.
    Echo(u64),
    /// The step takes so many milliseconds more.
    Delay(u64),
}

impl Action {
    /// How long it takes.
    pub fn ms(self) -> u64 {
        match self {
            Self::PauseBefore(ms)
            | Self::PauseAfter(ms)
            | Self::Late(ms)
            | Self::Echo(ms)
            | Self::Delay(ms) => ms,
            Self::CrashBefore | Self::CrashAfter | Self::LoseRequest | Self::LoseReply | Self::Twice => 0,
        }
    }

    /// Its name without the duration.
    pub fn name(self) -> &'static str {
        match self {
            Self::CrashBefore => "crash before",
            Self::CrashAfter => "crash after",
            Self::PauseBefore(_) => "pause before",
            Self::PauseAfter(_) => "pause after",
            Self::LoseRequest => "request lost",
            Self::LoseReply => "reply lost",
            Self::Late(_) => "late",
            Self::Twice => "twice",
            Self::Echo(_) => "echo",
            Self::Delay(_) => "delay",
        }
    }
}

/// An action that waits for its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub point: Point,
    /// How many passes of the point are left alone first.
    pub skip: u32,
    /// What.
    pub action: Action,
    /// Only where this process passes; `None`: whoever comes.
    pub process: Option<usize>,
}

impl Fault {
    /// The next time that anybody passes `point`.
    pub fn at(point: Point, action: Action) -> Self {
        Self { point, skip: 0, action, process: None }
    }

    /// Leaves so many passes alone.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Only this process.
    #[must_use]
    pub fn of(mut self, process: usize) -> Self {
        self.process = Some(process);
        self
    }
}

/// How often each action was done at each point, and each state was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hits {
    /// Actions by point.
    pub points: BTreeMap<(Point, &'static str), u64>,
    /// Passes of each point, with and without an action.
    pub passes: BTreeMap<Point, u64>,
    /// States that matter.
    pub states: BTreeMap<&'static str, u64>,
}

impl Hits {
    /// Adds what another run hit.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.points {
            *self.points.entry(*key).or_default() += count;
        }
        for (key, count) in &other.passes {
            *self.passes.entry(*key).or_default() += count;
        }
        for (key, count) in &other.states {
            *self.states.entry(key).or_default() += count;
        }
    }

    /// How often the action with this name was done at a point.
    pub fn of(&self, point: Point, action: &'static str) -> u64 {
        self.points.get(&(point, action)).copied().unwrap_or(0)
    }
}

/// The columns of the table that is printed.
pub const ACTIONS: [&str; 10] = [
    "crash before",
    "crash after",
    "pause before",
    "pause after",
    "request lost",
    "reply lost",
    "late",
    "twice",
    "echo",
    "delay",
];

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<20}{:>9}", "crash point", "passes")?;
        for action in ACTIONS {
            write!(f, "{action:>13}")?;
        }
        writeln!(f)?;
        for point in Point::ALL {
            let passes = self.passes.get(point).copied().unwrap_or(0);
            write!(f, "{:<20}{passes:>9}", format!("{point:?}"))?;
            for action in ACTIONS {
                write!(f, "{:>13}", self.of(*point, action))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "\n{:<58}{:>9}", "state", "reached")?;
        for (state, count) in &self.states {
            writeln!(f, "{state:<58}{count:>9}")?;
        }
        Ok(())
    }
}
