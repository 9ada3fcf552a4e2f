//! A supervisor: starts attempts of a job until it is finished, and gives up for no reason that a
//! restart could mend.

use rand::RngExt;
use tidelock::coordinator::Ended;
use tidelock::job::{OnCancel, StartFrom};
use tidelock::log::Closed;
use tidelock::{Error, ErrorKind, Result, Retry};

use super::drive::Sim;
use super::process::Spec;
use super::world::{Life, ProcessId};

/// What a supervisor has found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It goes on.
    Going,
    /// The job ended so.
    Ended(Closed),
    /// The job halted, and rightly so: the target threw away what an entry listed.
    Halted,
}

/// The supervisor of one job.
#[derive(Debug)]
pub struct Keeper {
    /// What it starts.
    pub spec: Spec,
    /// The processes of this job.
    pub processes: Vec<ProcessId>,
    /// What it has found out.
    pub kept: Kept,
    /// How long it waits at most before it starts an attempt, in milliseconds.
    pub pause_max: u64,
    heard: Vec<ProcessId>,
    start_at: Option<u64>,
    /// The process that closed the job.
    closed_by: Option<ProcessId>,
    /// An attempt was told to go back.
    goes_back: bool,
}

impl Keeper {
    /// A supervisor that starts its first attempt at once.
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            processes: Vec::new(),
            kept: Kept::Going,
            pause_max: 1500,
            heard: Vec::new(),
            start_at: Some(0),
            closed_by: None,
            goes_back: false,
        }
    }

    /// Starts an attempt, with a parallelism and a clock of its own.
    pub fn start(&mut self, sim: &mut Sim) -> ProcessId {
        {
            let mut state = sim.world.lock();
            self.spec.tasks = state.rng.random_range(1..=3);
            self.spec.skew_ms = state.rng.random_range(-3_600_000..3_600_000);
            if self.processes.iter().any(|process| state.is_alive(*process)) {
                state.reached("an attempt was started while another one was alive");
            }
        }
        let process = sim.start(&self.spec);
        self.adopt(process);
        process
    }

    /// Looks after a process that somebody else started.
    pub fn adopt(&mut self, process: ProcessId) {
        self.processes.push(process);
        self.start_at = None;
    }

    fn owner(&self, sim: &Sim) -> Option<ProcessId> {
        let root = super::process::log_root(&self.spec.config.job);
        sim.world.lock().objects.owners(&root).last().copied()
    }

    /// Whether nothing more will happen.
    pub fn is_over(&self, sim: &Sim) -> bool {
        let state = sim.world.lock();
        self.kept != Kept::Going && !self.processes.iter().any(|process| state.is_alive(*process))
    }

    /// The newest process that runs.
    pub fn running(&self, sim: &Sim) -> Option<ProcessId> {
        let state = sim.world.lock();
        self.processes.iter().rev().find(|process| state.processes[**process].life == Life::Running).copied()
    }

    /// Looks after the job once. Called whenever something may have changed.
    ///
    /// # Errors
    /// Where an attempt ended in a way that is not right.
    pub fn look(&mut self, sim: &mut Sim) -> Result<(), String> {
        for process in self.processes.clone() {
            if self.heard.contains(&process) {
                continue;
            }
            if let Some(outcome) = sim.outcome(process).cloned_outcome() {
                self.heard.push(process);
                self.hear(sim, process, outcome)?;
            }
        }
        if self.closed_by.is_some() && self.owner(sim) != self.closed_by {
            // A process that was paused when the job was closed woke and opened it again.
            self.closed_by = None;
            self.kept = Kept::Going;
        }
        if self.kept != Kept::Going || self.running(sim).is_some() {
            return Ok(());
        }
        let (now, pause) = {
            let mut state = sim.world.lock();
            // A supervisor does not know whether a process that does not answer is dead or paused.
            (state.now, state.rng.random_range(0..self.pause_max))
        };
        match self.start_at {
            None => self.start_at = Some(now + pause),
            Some(at) if at <= now => drop(self.start(sim)),
            Some(_) => {}
        }
        Ok(())
    }

    /// When it wants to look again.
    pub fn next_look(&self) -> Option<u64> {
        self.start_at.filter(|_| self.kept == Kept::Going)
    }

    fn hear(
        &mut self,
        sim: &mut Sim,
        process: ProcessId,
        outcome: Result<Ended, Heard>,
    ) -> Result<(), String> {
        match outcome {
            // It closed the job, and another attempt opened it again at once: that one's end counts.
            Ok(_) if sim.world.lock().is_fenced(process) => Ok(()),
            Ok(ended) => {
                if !ended.was_finished {
                    self.closed_by = Some(process);
                }
                self.kept = Kept::Ended(ended.closed);
                Ok(())
            }
            Err(heard) if self.refuses_to_go_back(&heard) => {
                // Refused, and rightly so: the entry was pruned, or is not settled. A person chooses again.
                sim.world.lock().reached("a rollback was refused");
                self.spec.config.start_from = StartFrom::Newest;
                Ok(())
            }
            Err(heard) if heard.operation == "stop" => {
                // Closed, and only what follows could not be done: nobody starts the job again for that.
                sim.world.lock().reached("a job was closed, and what follows that failed");
                self.closed_by = Some(process);
                self.kept = Kept::Ended(match self.spec.config.on_cancel {
                    OnCancel::Retain => Closed::Stopped,
                    OnCancel::Delete => Closed::Cancelled,
                });
                Ok(())
            }
            Err(heard) if heard.retry != Retry::Halt => Ok(()),
            Err(heard) if heard.kind == ErrorKind::Fenced && self.owner(sim) == Some(process) => {
                Err(format!("the owner of the job takes itself for fenced: {}", heard.text))
            }
            Err(heard) if heard.kind == ErrorKind::Fenced => {
                sim.world.lock().reached("an attempt was fenced");
                Ok(())
            }
            Err(_) if sim.world.lock().is_fenced(process) => {
                // What a zombie finds wrong is not for a person to mend. It could not read the log either.
                sim.world.lock().reached("a zombie halted before it learned that it is fenced");
                Ok(())
            }
            Err(heard) if heard.kind == ErrorKind::Expired && self.lost_what_is_listed(sim) => {
                sim.world.lock().reached("the job halted: the target threw away what an entry lists");
                self.kept = Kept::Halted;
                Ok(())
            }
            Err(heard) => Err(format!("the job halted: {}", heard.text)),
        }
    }

    /// The snapshot that was asked for is not settled, or a running attempt pruned it, perhaps after it was
    /// looked at. An attempt that was paused since may still ask for it when the others do no longer.
    fn refuses_to_go_back(&mut self, heard: &Heard) -> bool {
        self.goes_back |= self.spec.config.start_from != StartFrom::Newest;
        let gone = heard.kind == ErrorKind::NotFound || heard.operation == "load a snapshot";
        self.goes_back && gone && heard.retry == Retry::Halt
    }

    fn lost_what_is_listed(&self, sim: &Sim) -> bool {
        let state = sim.world.lock();
        let root = super::process::log_root(&self.spec.config.job);
        self.spec.topics.iter().any(|topic| {
            state.topics.get(&topic.topic).is_some_and(|target| {
                target.thrown_away.iter().any(|gone| state.objects.still_lists(&root, &topic.uid, gone))
            })
        })
    }
}

/// What a supervisor hears of an error.
struct Heard {
    kind: ErrorKind,
    retry: Retry,
    operation: &'static str,
    text: String,
}

trait ClonedOutcome {
    fn cloned_outcome(self) -> Option<Result<Ended, Heard>>;
}

impl ClonedOutcome for Option<&Result<Ended, Error>> {
    fn cloned_outcome(self) -> Option<Result<Ended, Heard>> {
        Some(match self? {
            Ok(ended) => Ok(ended.clone()),
            Err(error) => Err(Heard {
                kind: error.kind(),
                retry: error.retry(),
                operation: error.operation(),
                text: format!("{error:?}"),
            }),
        })
    }
}
