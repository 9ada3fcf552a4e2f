//! Everything outside the machines, and what can happen next.

use std::collections::BTreeSet;
use std::rc::Rc;

use tidelock::Epoch;
use tidelock::log::{Closed, EntryKind};
use tidelock::protocol::{Event, SinkIndex, Token};

use super::attempt::Attempt;
use super::log::Log;
use super::marks::{Mark, Marks};
use super::scope::{Defect, Scope};
use super::target::{Name, Pending, Record, State, Target};

/// What the outside world must never see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A record is visible more than once.
    Doubled { sink: usize, split: usize, record: Record },
    /// The job said that it ended, and a record is not visible.
    Lost { sink: usize, split: usize, record: Record },
    /// The job said that it ended, and a record is visible that its end does not cover.
    Torn { sink: usize, split: usize, record: Record },
    /// A target says that prepared data does not exist, though it threw nothing away.
    PreparedDataIsGone(Pending),
    /// A part of an epoch was made visible after another part of it was thrown away.
    CommittedBesideThrownAway { attempt: u64, epoch: u64 },
}

/// One thing that can happen. Attempts are named by their place in [`World::attempts`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Start,
    Crash(usize),
    /// A create request reaches the store.
    Apply(usize, Token),
    /// The store's answer reaches its attempt.
    Answer(usize),
    /// No answer, or a wrong "taken".
    LoseAnswer(usize),
    Recover(usize),
    Sweep(usize),
    /// A sink commits the next committable.
    Commit(usize, SinkIndex),
    /// The same, but no answer comes: it is sent again, and the first request remains under way.
    DelayCommit(usize, SinkIndex),
    LateCommit(SinkIndex, Pending),
    Barrier(usize),
    /// A task closes its epoch: prepares and reports.
    Close(usize, usize),
    TimeOut(usize, u64),
    Stop(usize),
    Cancel(usize),
    Prune(usize),
    Arrive,
    ThrowAway(SinkIndex, Name),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    lost: u8,
    delays: u8,
    timeouts: u8,
    cancels: u8,
    stops: u8,
    throws: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) targets: Vec<Target>,
    pub(crate) attempts: Vec<Rc<Attempt>>,
    /// Commit requests without an answer: applied at any time, any number of times.
    pub(crate) late: BTreeSet<(SinkIndex, Pending)>,
    /// How many records of each split are there.
    pub(crate) arrived: u8,
    left: Left,
    /// What was there when the job first said that it runs: later records must all become visible.
    pub(crate) promised: Option<u8>,
    thrown: BTreeSet<(u64, u64)>,
    pub(crate) halted: bool,
}

impl World {
    pub(crate) fn new(scope: &Scope) -> Self {
        let target = |kind| Target::new(kind, scope.tasks, scope.records);
        Self {
            log: Log::default(),
            targets: scope.sinks.iter().map(|kind| target(*kind)).collect(),
            attempts: Vec::new(),
            late: BTreeSet::new(),
            arrived: scope.there,
            left: Left {
                lost: scope.lost,
                delays: scope.delays,
                timeouts: scope.timeouts,
                cancels: scope.cancels,
                stops: scope.stops,
                throws: scope.throws,
            },
            promised: None,
            thrown: BTreeSet::new(),
            halted: false,
        }
    }

    /// The job is over and all is well, or a person was told what was thrown away.
    pub(crate) fn is_good_end(&self) -> bool {
        let finished = |kind| kind == EntryKind::Closed(Closed::Finished);
        self.halted || self.log.newest().is_some_and(|(_, entry)| finished(entry.kind))
    }

    fn alive(&self) -> impl Iterator<Item = (usize, &Attempt)> {
        self.attempts.iter().enumerate().filter(|(_, attempt)| attempt.alive).map(|(i, a)| (i, &**a))
    }

    /// A claim above an attempt's own stands.
    pub(crate) fn is_outdated(&self, attempt: usize) -> bool {
        let number = self.attempts[attempt].number;
        number > 0 && self.log.entries.range(number + 1..).any(|(_, entry)| entry.is_claim())
    }

    /// Everything that can happen next.
    pub(crate) fn steps(&self, scope: &Scope, steps: &mut Vec<Step>) {
        steps.clear();
        if self.halted {
            return;
        }
        let may_start = self.attempts.len() < scope.attempts;
        let alive = self.alive().count();
        if may_start && alive < scope.alive {
            steps.push(Step::Start);
        }
        steps.extend(
            self.log
                .requests
                .iter()
                .filter(|(_, (position, _))| !self.log.entries.contains_key(position))
                .map(|((attempt, token), _)| Step::Apply(*attempt, *token)),
        );
        let late = self
            .late
            .iter()
            .filter(|(sink, pending)| self.targets[*sink as usize].would_change(pending, scope.defect));
        steps.extend(late.map(|(sink, pending)| Step::LateCommit(*sink, *pending)));
        if self.arrived < scope.records {
            steps.push(Step::Arrive);
        }
        if alive == 0 && may_start && self.left.throws > 0 {
            self.throws(steps);
        }
        for (at, attempt) in self.alive() {
            self.steps_of(at, attempt, may_start, scope, steps);
        }
    }

    fn throws(&self, steps: &mut Vec<Step>) {
        for (sink, target) in self.targets.iter().enumerate() {
            let prepared = target.transactions.iter().filter(|(_, it)| it.state == State::Prepared);
            steps.extend(prepared.map(|(name, _)| Step::ThrowAway(sink as SinkIndex, *name)));
        }
    }

    fn steps_of(&self, at: usize, attempt: &Attempt, may_start: bool, scope: &Scope, steps: &mut Vec<Step>) {
        if may_start && scope.crashes {
            steps.push(Step::Crash(at));
        }
        if let Some((token, position)) = attempt.asking {
            let stands = self.log.entries.get(&position).map(|entry| entry.nonce);
            if stands.is_some() {
                steps.push(Step::Answer(at));
            }
            if self.left.lost > 0 && stands.is_none_or(|nonce| nonce == (at, token)) {
                steps.push(Step::LoseAnswer(at));
            }
        }
        if attempt.recovering {
            steps.push(Step::Recover(at));
        }
        for sink in attempt.commits.keys() {
            steps.push(Step::Commit(at, *sink));
            if self.left.delays > 0 {
                steps.push(Step::DelayCommit(at, *sink));
            }
        }
        if !attempt.prune_plan.is_empty() {
            steps.push(Step::Prune(at));
        }
        if attempt.tasks.is_empty() {
            return;
        }
        if attempt.machine.may_send_barrier() && attempt.has_something_to_cut(self.arrived) {
            steps.push(Step::Barrier(at));
        }
        for (task, state) in attempt.tasks.iter().enumerate() {
            if state.epoch <= attempt.barrier && !state.is_blocked(self.arrived) {
                steps.push(Step::Close(at, task));
            }
        }
        if self.left.timeouts > 0 {
            let durable = attempt.base.as_ref().map_or(0, |entry| entry.epoch);
            let open = (durable + 1..=attempt.barrier).filter(|epoch| !attempt.given_up.contains(epoch));
            steps.extend(open.map(|epoch| Step::TimeOut(at, epoch)));
        }
        if may_start && self.left.stops > 0 {
            steps.push(Step::Stop(at));
        }
        if may_start && self.left.cancels > 0 {
            steps.push(Step::Cancel(at));
        }
        let none = BTreeSet::new();
        if self.targets.iter().any(|target| target.leftovers(attempt.number, &none).next().is_some()) {
            steps.push(Step::Sweep(at));
        }
    }

    /// Lets a step happen. `Ok(false)`: it leads out of the scope.
    pub(crate) fn take(&mut self, step: &Step, scope: &Scope, marks: &mut Marks) -> Result<bool, Violation> {
        match step {
            Step::Start => {
                self.attempts.push(Rc::new(Attempt::new(scope)));
                self.feed(self.attempts.len() - 1, Event::Begin, scope, marks)?;
            }
            Step::Crash(at) => self.end(*at, scope, marks),
            Step::Apply(at, token) => self.apply_create(*at, *token, marks),
            Step::Answer(at) => self.answer(*at, scope, marks)?,
            Step::LoseAnswer(at) => {
                self.left.lost -= 1;
                self.lose_answer(*at, scope, marks)?;
            }
            Step::Recover(at) => self.recover(*at, scope, marks)?,
            Step::Sweep(at) => {
                let number = self.attempts[*at].number;
                self.sweep(number, &BTreeSet::new(), marks);
            }
            Step::Commit(at, sink) => self.commit(*at, *sink, scope, marks)?,
            Step::DelayCommit(at, sink) => {
                self.left.delays -= 1;
                self.delay_commit(*at, *sink);
            }
            Step::LateCommit(sink, pending) => {
                marks.hit(Mark::LateCommitApplied);
                // It has no one to tell what it could not do.
                let _ = self.targets[*sink as usize].commit(pending, scope.defect);
            }
            Step::Barrier(at) => self.feed(*at, Event::BarrierDue, scope, marks)?,
            Step::Close(at, task) => self.close_epoch(*at, *task, scope, marks)?,
            Step::TimeOut(at, epoch) => {
                self.left.timeouts -= 1;
                self.feed(*at, Event::TimedOut(Epoch(*epoch)), scope, marks)?;
            }
            Step::Stop(at) => {
                self.left.stops -= 1;
                self.feed(*at, Event::StopWanted, scope, marks)?;
            }
            Step::Cancel(at) => {
                self.left.cancels -= 1;
                self.feed(*at, Event::CancelWanted, scope, marks)?;
            }
            Step::Prune(at) => {
                let outdated = self.is_outdated(*at);
                let plan = std::mem::take(&mut Rc::make_mut(&mut self.attempts[*at]).prune_plan);
                self.log.entries.retain(|position, _| !plan.contains(position));
                marks.hit(Mark::Pruned);
                marks.hit_if(outdated, Mark::PruneOfAFencedAttempt);
            }
            Step::Arrive => {
                self.arrived += 1;
                for at in 0..self.attempts.len() {
                    self.go_on(at, scope, marks)?;
                }
            }
            Step::ThrowAway(sink, name) => {
                self.left.throws -= 1;
                let target = &mut self.targets[*sink as usize];
                let epoch = target.transactions.get(name).map_or(0, |transaction| transaction.epoch);
                target.throw_away(name);
                self.thrown.insert((name.attempt, epoch));
            }
        }
        self.tidy(scope, marks);
        self.check(scope)?;
        // An attempt that ends itself wants to be started again.
        let ended = matches!(step, Step::TimeOut(at, _) if !self.attempts[*at].alive);
        let may_start = self.attempts.len() < scope.attempts;
        Ok(!self.nobody_is_left(scope) && (may_start || !ended))
    }

    /// No attempt lives, none may start, and the job is not over: the scope ends here, not the protocol.
    fn nobody_is_left(&self, scope: &Scope) -> bool {
        self.alive().next().is_none() && self.attempts.len() == scope.attempts && !self.is_good_end()
    }

    /// The target threw it away and an attempt found out.
    pub(crate) fn is_thrown(&self, pending: &Pending) -> bool {
        self.thrown.contains(&(pending.attempt, pending.epoch))
    }

    /// Forgets what can never matter again, so that equal states are equal.
    fn tidy(&mut self, scope: &Scope, marks: &mut Marks) {
        if !scope.prune {
            self.log.tidy();
        }
        let Self { targets, attempts, late, .. } = self;
        late.retain(|(sink, pending)| {
            let useless = !targets[*sink as usize].would_change(pending, scope.defect);
            let lives = attempts.iter().any(|it| it.alive && it.number == pending.attempt);
            let passed = useless && pending.name().is_none() && scope.defect != Some(Defect::NotMonotone);
            marks.hit_if(passed, Mark::LateCommitOfAnEpochThatIsPassed);
            // The name of a live writer may hold other data later.
            !(passed || useless && pending.name().is_some() && !lives)
        });
    }

    /// What the outside world sees is right.
    fn check(&self, scope: &Scope) -> Result<(), Violation> {
        let end = self.log.newest().filter(|(_, entry)| matches!(entry.kind, EntryKind::Closed(_)));
        let covered = end.map(|(_, entry)| entry.positions.clone().unwrap_or_default());
        for (sink, target) in self.targets.iter().enumerate() {
            for (split, records) in target.visible.iter().enumerate() {
                let routed = scope.route(split).any(|routed| routed as usize == sink);
                for (record, times) in records.iter().enumerate() {
                    let record = record as Record;
                    if *times > 1 {
                        return Err(Violation::Doubled { sink, split, record });
                    }
                    let Some(covered) = covered.as_ref().and_then(|it| it.get(split)) else { continue };
                    let wanted = routed && self.promised.is_some_and(|first| record >= first);
                    if *times == 0 && wanted && record < *covered {
                        return Err(Violation::Lost { sink, split, record });
                    }
                    if *times > 0 && record >= *covered {
                        return Err(Violation::Torn { sink, split, record });
                    }
                }
            }
        }
        let finished = EntryKind::Closed(Closed::Finished);
        if end.is_some_and(|(_, entry)| entry.kind == finished && covered.is_none()) {
            return Err(Violation::Lost { sink: 0, split: 0, record: 0 });
        }
        Ok(())
    }
}
