//! The world outside of the processes: time, the network, and what happens to processes.
//!
//! ```text
//!   process ── ask(point, apply) ──> latency ──> apply(&mut State) ──> latency ──> answer
//!                    │                    a request that is under way outlives its process
//!                    └── the fault that waits at this point, if any
//! ```
//!
//! Everything random comes from one seeded generator, everything that happens is an event in one
//! queue, and time is tokio's paused clock: so a run is replayed exactly by its seed.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::doubles::Double;
use super::input::Input;
use super::points::{Action, Fault, Hits, Kind, Point};
use super::store::Objects;
use super::table::Table;
use super::topic::Topic;

/// A process: one attempt to run a job, in the order of their starts.
pub type ProcessId = usize;

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// It stands still until then.
    Paused(u64),
    /// It was killed.
    Dead,
    /// It ended by itself.
    Ended,
}

/// What the world knows of a process.
#[derive(Debug)]
pub struct Process {
    /// How it is.
    pub life: Life,
    /// Its writers were told to open: what is committed now is no recovery.
    pub opened: bool,
    /// It asked for a claim.
    pub claiming: bool,
    /// When it was paused first, if it was.
    pub was_paused: bool,
    /// The log of its job.
    pub root: String,
    /// How it ended.
    pub end: Option<String>,
}

/// Random trouble beside the faults that were planned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Noise {
    /// In how many of 1,000 requests.
    pub per_mille: u32,
    /// Until when, in milliseconds.
    pub until: u64,
}

type Event = Box<dyn FnOnce(&mut State) + Send>;

/// Everything outside of the processes.
pub struct State {
    /// Milliseconds since the beginning.
    pub now: u64,
    /// The one source of chance.
    pub rng: SmallRng,
    /// What waits for its point.
    pub faults: Vec<Fault>,
    /// Trouble that was not planned.
    pub noise: Noise,
    /// What was hit.
    pub hits: Hits,
    /// The processes so far.
    pub processes: Vec<Process>,
    /// What the store holds.
    pub objects: Objects,
    /// The transactional targets.
    pub topics: BTreeMap<String, Topic>,
    /// The targets that keep rows with versions.
    pub tables: BTreeMap<String, Table>,
    /// The source system.
    pub input: Input,
    /// When something went wrong last, and was over.
    pub last_trouble: u64,
    /// What is broken on purpose.
    pub double: Option<Double>,
    /// A wrong that no run may do: the first one counts.
    pub accused: Option<String>,
    queue: BTreeMap<(u64, u64), Event>,
    happened: u64,
    trace: DefaultHasher,
    lines: Option<Vec<String>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("now", &self.now)
            .field("processes", &self.processes)
            .finish_non_exhaustive()
    }
}

/// The world, shared by all who act in it.
#[derive(Debug)]
pub struct World {
    state: Mutex<State>,
    began: Instant,
}

impl World {
    /// A world whose chance comes from `seed`. With `lines` it keeps a readable trace.
    pub fn new(seed: u64, lines: bool) -> Arc<Self> {
        let state = State {
            now: 0,
            rng: SmallRng::seed_from_u64(seed),
            faults: Vec::new(),
            noise: Noise::default(),
            hits: Hits::default(),
            processes: Vec::new(),
            objects: Objects::default(),
            topics: BTreeMap::new(),
            tables: BTreeMap::new(),
            input: Input::default(),
            last_trouble: 0,
            double: None,
            accused: None,
            queue: BTreeMap::new(),
            happened: 0,
            trace: DefaultHasher::new(),
            lines: lines.then(Vec::new),
        };
        Arc::new(Self { state: Mutex::new(state), began: Instant::now() })
    }

    /// The state now. Never held across an await.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.now = u64::try_from((Instant::now() - self.began).as_millis()).unwrap_or(u64::MAX);
        state
    }

    /// The moment on tokio's clock.
    pub fn moment(&self, ms: u64) -> Instant {
        self.began + std::time::Duration::from_millis(ms)
    }
}

impl State {
    /// Records that something happened: the trace by which two runs are compared.
    pub fn note(&mut self, process: ProcessId, what: impl Hash, line: impl FnOnce() -> String) {
        self.happened += 1;
        (self.now, process).hash(&mut self.trace);
        what.hash(&mut self.trace);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>8} ms  #{process}  {}", self.now, line()));
        }
    }

    /// How many things happened so far: a clock that never stands still.
    pub fn happened(&self) -> u64 {
        self.happened
    }

    /// One number for all that happened.
    pub fn trace_hash(&self) -> u64 {
        self.trace.finish()
    }

    /// The readable trace, where it was asked for.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// A wrong was done. The run ends with it.
    pub fn accuse(&mut self, wrong: impl Into<String>) {
        if self.accused.is_none() {
            let wrong = format!("{} (at {} ms)", wrong.into(), self.now);
            if let Some(lines) = &mut self.lines {
                lines.push(format!("{:>8} ms  WRONG  {wrong}", self.now));
            }
            self.accused = Some(wrong);
        }
    }

    /// A state that matters was reached.
    pub fn reached(&mut self, state: &'static str) {
        *self.hits.states.entry(state).or_default() += 1;
    }

    /// Lets something happen later.
    pub fn at(&mut self, ms: u64, event: impl FnOnce(&mut State) + Send + 'static) {
        let sequence = self.happened;
        self.happened += 1;
        self.queue.insert((ms, sequence), Box::new(event));
    }

    /// When the next event is due.
    pub(super) fn next_event(&self) -> Option<u64> {
        self.queue.first_key_value().map(|((ms, _), _)| *ms)
    }

    /// Lets the next event that is due happen.
    pub(super) fn happen(&mut self) -> bool {
        if self.next_event().is_none_or(|ms| ms > self.now) {
            return false;
        }
        if let Some((_, event)) = self.queue.pop_first() {
            event(self);
        }
        true
    }

    /// The process dies. What it sent is still under way.
    pub fn kill(&mut self, process: ProcessId) {
        if !matches!(self.processes[process].life, Life::Dead | Life::Ended) {
            self.processes[process].life = Life::Dead;
            self.note(process, "kill", || "is killed".to_owned());
        }
    }

    /// The process stands still for a while.
    pub fn pause(&mut self, process: ProcessId, ms: u64) {
        if self.processes[process].life == Life::Running {
            self.processes[process].life = Life::Paused(self.now + ms);
            self.processes[process].was_paused = true;
            self.note(process, "pause", || format!("is paused for {ms} ms"));
        }
    }

    /// The process goes on.
    pub fn wake(&mut self, process: ProcessId) {
        if matches!(self.processes[process].life, Life::Paused(_)) {
            self.processes[process].life = Life::Paused(self.now);
        }
    }

    /// Whether the process could still do something.
    pub fn is_alive(&self, process: ProcessId) -> bool {
        matches!(self.processes[process].life, Life::Running | Life::Paused(_))
    }

    /// Whether another process claimed the job after this one did.
    pub fn is_fenced(&self, process: ProcessId) -> bool {
        let owners = self.objects.owners(&self.processes[process].root);
        owners.contains(&process) && owners.last() != Some(&process)
    }

    /// The action for somebody who passes a point.
    fn action_at(&mut self, process: ProcessId, point: Point) -> Option<Action> {
        *self.hits.passes.entry(point).or_default() += 1;
        let planned = self
            .faults
            .iter()
            .position(|fault| fault.point == point && fault.process.is_none_or(|only| only == process));
        let action = match planned {
            Some(index) if self.faults[index].skip == 0 => Some(self.faults.remove(index).action),
            Some(index) => {
                self.faults[index].skip -= 1;
                None
            }
            None => self.noise_at(point),
        };
        let action = action.map(|action| possible(point, action));
        if let Some(action) = action {
            *self.hits.points.entry((point, action.name())).or_default() += 1;
            self.last_trouble = self.last_trouble.max(self.now + action.ms());
            self.note(process, (point, action), || format!("{point:?}: {action:?}"));
        }
        action
    }

    fn noise_at(&mut self, point: Point) -> Option<Action> {
        let troubled = self.now < self.noise.until && self.rng.random_range(0..1000) < self.noise.per_mille;
        // A write that fails ends the attempt: trouble there is planned, or no attempt would last.
        if !troubled || matches!(point, Point::Write | Point::Prepare) {
            return None;
        }
        Some(match self.rng.random_range(0..6) {
            0 => Action::LoseRequest,
            1 => Action::LoseReply,
            2 => Action::Late(self.rng.random_range(1..3000)),
            3 => Action::Twice,
            4 => Action::Echo(self.rng.random_range(1..3000)),
            _ => Action::Delay(self.rng.random_range(1..500)),
        })
    }

    fn latency(&mut self) -> u64 {
        self.rng.random_range(1..4)
    }
}

/// Between coordinator and host nothing is lost: they are one process.
fn possible(point: Point, action: Action) -> Action {
    use Action::{CrashAfter, CrashBefore, Delay, Echo, Late, LoseReply, LoseRequest, Twice};
    match (point.kind(), action) {
        (Kind::Link, LoseRequest | LoseReply | Twice) => Delay(20),
        (Kind::Link, Late(ms) | Echo(ms)) => Delay(ms.min(500)),
        // Records that arrive twice are removed by the sequence numbers of the target's clients.
        (_, Twice | Echo(_)) if point == Point::Write => Delay(20),
        (_, CrashBefore) => CrashBefore,
        (_, CrashAfter) => CrashAfter,
        (_, action) => action,
    }
}

/// The request has no answer: lost, or its answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

/// An answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was answered.
    pub value: T,
    /// The client asked more than once: an earlier request may still arrive.
    pub retried: bool,
}

/// A process's end of the network.
#[derive(Debug, Clone)]
pub struct Client {
    /// The world.
    pub world: Arc<World>,
    /// Whose end it is.
    pub process: ProcessId,
}

enum Verdict {
    Go(Option<Action>),
    /// The process stands still: go on when it is polled again.
    Wait(Option<Action>),
    Dead,
}

impl Client {
    /// Asks something outside: `apply` is done there when the request arrives.
    ///
    /// # Errors
    /// [`NoAnswer`] where request or answer was lost; then nobody knows whether it was or will be done.
    pub async fn ask<T: Send + 'static>(
        &self,
        point: Point,
        apply: impl FnMut(&mut State) -> T + Send + 'static,
    ) -> Result<Answer<T>, NoAnswer> {
        let action = self.enter(point).await;
        let (reply, answer) = oneshot::channel();
        send(&mut self.world.lock(), self.process, point, action, apply, reply);
        match answer.await {
            Ok(answer) => answer,
            // Nobody answers: the process was killed, and is dropped before it could learn of it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Passes a point that is no request: what is to be done after it is returned for [`Client::leave`].
    pub async fn enter(&self, point: Point) -> Option<Action> {
        let action = match self.verdict(Some(point)) {
            Verdict::Go(action) => return action,
            Verdict::Dead => std::future::pending().await,
            Verdict::Wait(action) => action,
        };
        yield_once().await;
        action
    }

    /// Ends the passing of a point that is no request.
    pub async fn leave(&self, action: Option<Action>) {
        match action {
            Some(Action::CrashAfter) => {
                self.world.lock().kill(self.process);
                std::future::pending().await
            }
            Some(Action::PauseAfter(ms)) => {
                self.world.lock().pause(self.process, ms);
                yield_once().await;
            }
            _ => {}
        }
    }

    fn verdict(&self, point: Option<Point>) -> Verdict {
        let mut state = self.world.lock();
        match state.processes[self.process].life {
            // Parts of a process that run on in the same instant send nothing any more.
            Life::Dead | Life::Ended => return Verdict::Dead,
            Life::Paused(_) => return Verdict::Wait(None),
            Life::Running => {}
        }
        match point.and_then(|point| state.action_at(self.process, point)) {
            Some(Action::CrashBefore) => {
                state.kill(self.process);
                Verdict::Dead
            }
            Some(Action::PauseBefore(ms)) => {
                state.pause(self.process, ms);
                Verdict::Wait(None)
            }
            action => Verdict::Go(action),
        }
    }
}

/// Lets the driver see that the process is paused; a paused process is not polled before it wakes.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

type Reply<T> = oneshot::Sender<Result<Answer<T>, NoAnswer>>;

/// Puts a request on its way, with whatever happens to it.
fn send<T: Send + 'static>(
    state: &mut State,
    process: ProcessId,
    point: Point,
    action: Option<Action>,
    mut apply: impl FnMut(&mut State) -> T + Send + 'static,
    reply: Reply<T>,
) {
    let (now, there, back) = (state.now, state.latency(), state.latency());
    let gives_up = now + state.rng.random_range(5..200);
    let mut arrive = move |state: &mut State| {
        let late = !state.is_alive(process);
        if late {
            state.reached("a request arrived after its process died");
        }
        state.note(process, point, || format!("{point:?}{}", if late { " (dead)" } else { "" }));
        apply(state)
    };
    let error = move |state: &mut State, reply: Reply<T>| {
        state.at(gives_up, move |_| drop(reply.send(Err(NoAnswer))));
    };
    match action {
        Some(Action::CrashAfter) => state.at(now + there, move |state| {
            arrive(state);
            state.kill(process);
            drop(reply);
        }),
        Some(Action::PauseAfter(ms)) => state.at(now + there, move |state| {
            let value = arrive(state);
            state.pause(process, ms);
            drop(reply.send(Ok(Answer { value, retried: false })));
        }),
        Some(Action::LoseRequest) => error(state, reply),
        Some(Action::LoseReply) => {
            state.at(now + there, move |state| drop(arrive(state)));
            error(state, reply);
        }
        Some(Action::Late(ms)) => {
            state.at(now + ms, move |state| drop(arrive(state)));
            error(state, reply);
        }
        Some(Action::Twice) => state.at(now + there, move |state| {
            arrive(state);
            state.at(state.now + there, move |state| {
                let value = arrive(state);
                answer_at(state, state.now + back, Answer { value, retried: true }, reply);
            });
        }),
        Some(Action::Echo(ms)) => state.at(now + there, move |state| {
            let value = arrive(state);
            answer_at(state, state.now + back, Answer { value, retried: true }, reply);
            state.at(state.now + ms, move |state| drop(arrive(state)));
        }),
        Some(Action::Delay(_) | Action::CrashBefore | Action::PauseBefore(_)) | None => {
            let more = if let Some(Action::Delay(ms)) = action { ms } else { 0 };
            state.at(now + there + more, move |state| {
                let value = arrive(state);
                answer_at(state, state.now + back, Answer { value, retried: false }, reply);
            });
        }
    }
}

fn answer_at<T: Send + 'static>(state: &mut State, ms: u64, answer: Answer<T>, reply: Reply<T>) {
    state.at(ms, move |_| drop(reply.send(Ok(answer))));
}
