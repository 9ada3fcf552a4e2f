//! Lets processes and the world go on, one step after the other, on one thread.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;
use tidelock::coordinator::{Control, Ended};
use tidelock::{Error, Result};
use tokio::time::Sleep;

use super::process::{Spec, attempt, log_root};
use super::world::{Client, Life, Process, ProcessId, State, World};

/// Whether a process wants to be polled.
struct Flag {
    woken: AtomicBool,
    driver: Mutex<Waker>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        self.driver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).wake_by_ref();
    }
}

impl Flag {
    fn new() -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), driver: Mutex::new(Waker::noop().clone()) })
    }

    fn arm(&self, driver: &Waker) {
        self.driver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone_from(driver);
    }

    fn take(&self) -> bool {
        self.woken.swap(false, Ordering::Relaxed)
    }
}

struct Running {
    future: Option<BoxFuture<'static, Result<Ended>>>,
    flag: Arc<Flag>,
    control: Arc<Mutex<Option<Control>>>,
    outcome: Option<Result<Ended>>,
}

/// A world with its processes.
pub struct Sim {
    /// The world.
    pub world: Arc<World>,
    running: Vec<Running>,
    alarm: Pin<Box<Sleep>>,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim").field("world", &self.world).finish_non_exhaustive()
    }
}

/// Why the driver came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came<T> {
    /// What was waited for.
    To(T),
    /// The time was over first.
    TimeUp,
}

impl Sim {
    /// A world in which nothing runs yet. To be called on a paused clock.
    pub fn new(seed: u64, lines: bool) -> Self {
        let world = World::new(seed, lines);
        let alarm = Box::pin(tokio::time::sleep_until(world.moment(0)));
        Self { world, running: Vec::new(), alarm }
    }

    /// Starts an attempt in a process of its own.
    pub fn start(&mut self, spec: &Spec) -> ProcessId {
        let mut state = self.world.lock();
        let process = state.processes.len();
        state.processes.push(Process {
            life: Life::Running,
            opened: false,
            claiming: false,
            was_paused: false,
            root: log_root(&spec.config.job),
            end: None,
        });
        state.note(process, "start", || format!("starts {:?} with {} tasks", spec.config.job, spec.tasks));
        drop(state);
        let (control, flag) = (Arc::new(Mutex::new(None)), Flag::new());
        let client = Client { world: Arc::clone(&self.world), process };
        let future = Box::pin(attempt(client, spec.clone(), Arc::clone(&control)));
        self.running.push(Running { future: Some(future), flag, control, outcome: None });
        process
    }

    /// The user's hand on a process, once its job is open.
    pub fn control(&self, process: ProcessId) -> Option<Control> {
        self.running[process].control.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// How a process ended by itself.
    pub fn outcome(&self, process: ProcessId) -> Option<&Result<Ended, Error>> {
        self.running[process].outcome.as_ref()
    }

    /// Goes on until the condition holds, somebody is accused, or so many milliseconds are over.
    ///
    /// # Errors
    /// The accusation.
    pub async fn until(
        &mut self,
        ms: u64,
        mut condition: impl FnMut(&State) -> bool,
    ) -> Result<Came<()>, String> {
        self.drive(ms, |_, state| condition(state).then_some(())).await
    }

    /// Goes on until a future of somebody outside is done, such as a user's command.
    ///
    /// # Errors
    /// The accusation.
    pub async fn during<T>(&mut self, ms: u64, future: impl Future<Output = T>) -> Result<Came<T>, String> {
        let mut future = Box::pin(future);
        let flag = Flag::new();
        let waker = Waker::from(Arc::clone(&flag));
        self.drive(ms, move |driver, _| {
            flag.arm(driver);
            if !flag.take() {
                return None;
            }
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => Some(value),
                Poll::Pending => None,
            }
        })
        .await
    }

    /// Lets so many milliseconds pass.
    ///
    /// # Errors
    /// The accusation.
    pub async fn pass(&mut self, ms: u64) -> Result<(), String> {
        self.until(ms, |_| false).await.map(drop)
    }

    async fn drive<T>(
        &mut self,
        ms: u64,
        mut check: impl FnMut(&Waker, &State) -> Option<T>,
    ) -> Result<Came<T>, String> {
        let limit = self.world.lock().now.saturating_add(ms);
        poll_fn(move |context| {
            loop {
                let moved = self.happen() || self.poll_processes(context.waker());
                let state = self.world.lock();
                if let Some(wrong) = &state.accused {
                    return Poll::Ready(Err(wrong.clone()));
                }
                if let Some(found) = check(context.waker(), &state) {
                    return Poll::Ready(Ok(Came::To(found)));
                }
                if !moved && state.now >= limit {
                    return Poll::Ready(Ok(Came::TimeUp));
                }
                let next = next_moment(&state).map_or(limit, |next| next.min(limit));
                let moment = self.world.moment(next);
                drop(state);
                if !moved {
                    self.alarm.as_mut().reset(moment);
                    if self.alarm.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    /// One event of the world, and everybody who wakes.
    fn happen(&mut self) -> bool {
        let mut state = self.world.lock();
        let now = state.now;
        let mut moved = state.happen();
        for process in 0..state.processes.len() {
            if matches!(state.processes[process].life, Life::Paused(until) if until <= now) {
                state.processes[process].life = Life::Running;
                state.note(process, "wake", || "wakes".to_owned());
                self.running[process].flag.woken.store(true, Ordering::Relaxed);
                moved = true;
            }
        }
        moved
    }

    fn poll_processes(&mut self, driver: &Waker) -> bool {
        let mut moved = false;
        for (process, running) in self.running.iter_mut().enumerate() {
            let life = self.world.lock().processes[process].life;
            let Some(future) = &mut running.future else { continue };
            if life == Life::Dead {
                running.future = None;
                moved = true;
                continue;
            }
            running.flag.arm(driver);
            if life != Life::Running || !running.flag.take() {
                continue;
            }
            moved = true;
            let waker = Waker::from(Arc::clone(&running.flag));
            if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                running.future = None;
                let mut state = self.world.lock();
                // What was killed while it returned is dead: nobody hears what it says.
                if state.is_alive(process) {
                    state.processes[process].life = Life::Ended;
                    let end = match &outcome {
                        Ok(ended) => format!("{:?}", ended.closed),
                        Err(error) => format!("{error:?}"),
                    };
                    state.note(process, "end", || format!("ends: {end}"));
                    state.processes[process].end = Some(end);
                    running.outcome = Some(outcome);
                }
            }
        }
        moved
    }
}

fn next_moment(state: &State) -> Option<u64> {
    let wakes = state.processes.iter().filter_map(|process| match process.life {
        Life::Paused(until) => Some(until),
        _ => None,
    });
    wakes.chain(state.next_event()).min()
}
