//! What a seed means: the input, the job, what goes wrong, and what the user does meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidelock::job::{JobConfig, OnCancel};
use tidelock::{JobId, Uid};

use super::input::{Partition, StartAt};
use super::points::{Action, Fault, Kind, Point};
use super::process::Spec;
use super::table::TableConfig;
use super::topic_sink::TopicConfig;
use super::world::Noise;

/// The name of the job of every plan.
pub const JOB: &str = "job";
/// The name of the job that a fork makes.
pub const FORK: &str = "fork";

/// What the user does while the job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Story {
    /// Nothing.
    Run,
    /// Takes a savepoint.
    Savepoint,
    /// Stops with a savepoint and starts again.
    StopAndGo,
    /// Cancels and starts again.
    CancelAndGo,
    /// Cancels; the snapshots are deleted.
    CancelAndDelete,
    /// Rolls back to an older entry, and asks for it again at every start.
    Rollback,
    /// Takes a savepoint, and starts a second job from it while the first one runs.
    Fork,
}

/// What a seed means.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The source system.
    pub partitions: BTreeMap<u32, Partition>,
    /// It throws away what was acknowledged.
    pub trims: bool,
    /// The job.
    pub spec: Spec,
    /// What goes wrong, and where.
    pub faults: Vec<Fault>,
    /// What else goes wrong.
    pub noise: Noise,
    /// What the user does.
    pub story: Story,
    /// When.
    pub story_at: u64,
    /// How long the supervisor waits at most before it starts an attempt, in milliseconds.
    pub pause_max: u64,
}

/// A job id or uid of ours.
pub fn job(name: &str) -> JobId {
    JobId::new(name).expect("invariant: our own names are legal")
}

/// A uid of ours.
pub fn uid(name: &str) -> Uid {
    Uid::new(name).expect("invariant: our own names are legal")
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        // Not the generator of the world: a change in the one leaves the other as it was.
        let rng = &mut SmallRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15);
        let story = story(rng);
        let goes_back = matches!(story, Story::Rollback | Story::Fork);
        let mut plan = Self {
            seed,
            partitions: partitions(rng),
            trims: !goes_back && rng.random(),
            spec: spec(rng, story),
            faults: faults(rng),
            noise: Noise { per_mille: [0, 5, 20, 60][rng.random_range(0..4)], until: 20_000 },
            story,
            story_at: rng.random_range(100..1500),
            pause_max: 1500,
        };
        plan.add_rare_faults(rng);
        // Faults of one point wait for each other; chance decides which comes first.
        for index in (1..plan.faults.len()).rev() {
            plan.faults.swap(index, rng.random_range(0..=index));
        }
        plan
    }

    /// Whether the target may throw away what is open while the job is down.
    pub fn may_lose(&self) -> bool {
        self.spec.topics.iter().any(|topic| topic.timeout_ms < 60_000)
    }

    /// A barrier comes so late that the target throws away the beginning of the epoch while the rest of it
    /// is written.
    fn tear_an_epoch(&mut self, rng: &mut SmallRng) {
        self.spec.config.settings.timeout = Duration::from_secs(60);
        self.partitions.values_mut().for_each(|partition| partition.gap *= 5);
        let longer = self.spec.topics.iter().map(|topic| topic.timeout_ms + 1_000).max().unwrap_or_default();
        self.faults.push(Fault::at(Point::OrderBarrier, Action::Delay(longer)).after(rng.random_range(0..3)));
    }

    /// Points that most runs pass seldom or never get faults of their own where this run does.
    fn add_rare_faults(&mut self, rng: &mut SmallRng) {
        let large = self.partitions.values().any(|partition| partition.ballast > 0)
            || self.spec.topics.iter().any(|topic| topic.padding > 0);
        let exports = matches!(self.story, Story::Savepoint | Story::Fork | Story::StopAndGo);
        let mut add = |point: Point, count: u32, skip: u32, rng: &mut SmallRng| {
            for _ in 0..count {
                let skip = rng.random_range(0..=skip);
                self.faults.push(Fault::at(point, action(rng, point)).after(skip));
            }
        };
        add(Point::CreateClosed, rng.random_range(0..3), 0, rng);
        add(Point::CreateConfirmation, rng.random_range(0..4), 2, rng);
        add(Point::NewsNoFreePlace, rng.random_range(0..2), 2, rng);
        add(Point::RecoveryCommit, rng.random_range(0..2), 0, rng);
        if large {
            add(Point::WriteChunk, rng.random_range(0..7), 6, rng);
            add(Point::ReadChunk, rng.random_range(0..7), 3, rng);
        }
        if exports {
            add(Point::Export, rng.random_range(1..7), 1, rng);
        }
        if rng.random_range(0..3) == 0 {
            add(Point::Reinit, rng.random_range(0..9), 1, rng);
            for skip in 0..4 {
                self.faults
                    .push(Fault::at(Point::Commit, Action::Echo(rng.random_range(1..300))).after(skip));
            }
        }
        if !self.spec.tables.is_empty() {
            self.faults.push(Fault::at(Point::Commit, Action::Late(rng.random_range(100..1000))).after(2));
        }
        if self.may_lose() {
            self.pause_max = 9_000;
            if rng.random() {
                self.tear_an_epoch(rng);
            } else {
                let skip = rng.random_range(0..5);
                self.faults.push(Fault::at(Point::CreateCheckpoint, Action::CrashAfter).after(skip));
            }
        }
    }
}

fn story(rng: &mut SmallRng) -> Story {
    match rng.random_range(0..16) {
        0..3 => Story::Run,
        3..5 => Story::Savepoint,
        5..8 => Story::StopAndGo,
        8 => Story::CancelAndGo,
        9..11 => Story::CancelAndDelete,
        11..14 => Story::Rollback,
        _ => Story::Fork,
    }
}

fn partitions(rng: &mut SmallRng) -> BTreeMap<u32, Partition> {
    let count = rng.random_range(1..=5);
    // Large positions are stored in chunks, too, which later entries share.
    let ballast = if rng.random_range(0..5) == 0 { 9_000 } else { 0 };
    let partition = |split: u32, rng: &mut SmallRng| {
        let records = rng.random_range(0..=120);
        let parent = (split > 0 && rng.random_range(0..4) == 0).then(|| rng.random_range(0..split));
        Partition {
            appears: if rng.random_range(0..3) == 0 { rng.random_range(0..2000) } else { 0 },
            at_once: rng.random_range(0..=records),
            records,
            gap: rng.random_range(1..=30),
            parent,
            trimmed: 0,
            ballast,
        }
    };
    (0..count).map(|split| (split, partition(split, rng))).collect()
}

fn spec(rng: &mut SmallRng, story: Story) -> Spec {
    let mut config = JobConfig::new(job(JOB), "simulated");
    config.settings.interval = Duration::from_millis(rng.random_range(5..200));
    config.settings.pause_min = Duration::from_millis(rng.random_range(0..20));
    config.settings.timeout = Duration::from_millis(rng.random_range(200..3000));
    config.settings.tolerable_failures = rng.random_range(0..4);
    config.epochs_in_flight_max = rng.random_range(1..=4);
    config.retained = rng.random_range(1..=3);
    config.commit_margin = Duration::from_millis(rng.random_range(100..1000));
    config.discovery_interval = Duration::from_millis(rng.random_range(50..1000));
    config.sweep_interval = Duration::from_millis(rng.random_range(500..5000));
    if story == Story::CancelAndDelete {
        config.on_cancel = OnCancel::Delete;
    }
    // Fewer slots than the contract asks for make writers wait; one is the least that can work.
    let slots = rng.random_range(1..=config.epochs_in_flight_max + config.settings.tolerable_failures + 1);
    let timeout_ms = if rng.random_range(0..6) == 0 { rng.random_range(1200..8000) } else { 24 * 3_600_000 };
    // Large committables are stored in chunks.
    let padding = if rng.random_range(0..6) == 0 { 17_000 } else { 0 };
    let topic = |name: &str| TopicConfig {
        uid: uid(name),
        topic: format!("{JOB}-{name}"),
        slots,
        timeout_ms,
        padding,
    };
    let topics = if rng.random_range(0..3) == 0 { vec![topic("a"), topic("b")] } else { vec![topic("a")] };
    let table = TableConfig { uid: uid("rows"), table: format!("{JOB}-rows") };
    Spec {
        config,
        tasks: rng.random_range(1..=3),
        start: if rng.random_range(0..8) == 0 { StartAt::Latest } else { StartAt::Earliest },
        batch_max: rng.random_range(1..=20),
        topics,
        tables: if rng.random_range(0..3) == 0 { vec![table] } else { Vec::new() },
        skew_ms: 0,
    }
}

fn faults(rng: &mut SmallRng) -> Vec<Fault> {
    let fault = |rng: &mut SmallRng| {
        let point = Point::ALL[rng.random_range(0..Point::ALL.len())];
        // Most points are passed seldom in a run, so most faults wait for the first passes.
        let skip = [0, 0, 0, 1, 1, 2, 4, 10][rng.random_range(0..8)];
        Fault::at(point, action(rng, point)).after(skip)
    };
    // Some runs in peace, or the deep states would be reached seldom.
    let most = [4, 16, 40][rng.random_range(0..3)];
    (0..rng.random_range(0..=most)).map(|_| fault(rng)).collect()
}

fn action(rng: &mut SmallRng, point: Point) -> Action {
    let pause = [50, 500, 3000, 15_000][rng.random_range(0..4)];
    let late = [20, 300, 2000, 20_000][rng.random_range(0..4)];
    match rng.random_range(0..if point.kind() == Kind::Link { 8 } else { 16 }) {
        0 | 1 => Action::CrashBefore,
        2 | 3 => Action::CrashAfter,
        4 | 5 => Action::PauseBefore(pause),
        6 | 7 => Action::PauseAfter(pause),
        8 | 9 => Action::LoseRequest,
        10 | 11 => Action::LoseReply,
        12 | 13 => Action::Late(late),
        14 => Action::Twice,
        _ => Action::Echo(late),
    }
}
