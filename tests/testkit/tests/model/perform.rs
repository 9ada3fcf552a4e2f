//! The edge: how what the machine asks for is done, and what it is told.
//!
//! What only waits for one answer and changes nothing outside is done at once: to read later is to
//! have been answered later, which is explored anyway.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use tidelock::log::{Closed, EntryKind};
use tidelock::protocol::{Action, Draft, End, Event, SinkIndex, Token};
use tidelock::{Epoch, Position};

use super::attempt::{Attempt, Commit, Groups};
use super::log::Entry;
use super::marks::{Mark, Marks};
use super::scope::{Defect, Kind, Scope};
use super::target::{Committable, Name, Pending, State, Transaction};
use super::world::{Violation, World};

type Done = Result<(), Violation>;

impl World {
    fn attempt(&mut self, at: usize) -> &mut Attempt {
        Rc::make_mut(&mut self.attempts[at])
    }

    /// Tells the machine something and does all that it asks for.
    pub(crate) fn feed(&mut self, at: usize, event: Event, scope: &Scope, marks: &mut Marks) -> Done {
        let mut events = VecDeque::from([event]);
        let mut actions = Vec::new();
        while let Some(event) = events.pop_front() {
            self.attempt(at).machine.step(0, event, &mut actions);
            for action in actions.drain(..) {
                self.perform(at, action, &mut events, scope, marks)?;
            }
        }
        self.go_on(at, scope, marks)
    }

    /// Tasks read on, and the machine learns of the end of input and of writers that wait.
    pub(crate) fn go_on(&mut self, at: usize, scope: &Scope, marks: &mut Marks) -> Done {
        self.read_on(at, marks);
        let (arrived, all) = (self.arrived, scope.records);
        let attempt = self.attempt(at);
        if !attempt.alive || attempt.tasks.is_empty() {
            return Ok(());
        }
        if !attempt.input_ended && attempt.tasks.iter().all(|task| task.position == all) {
            attempt.input_ended = true;
            return self.feed(at, Event::InputEnded, scope, marks);
        }
        if !attempt.settle_asked && attempt.tasks.iter().any(|task| task.is_blocked(arrived)) {
            attempt.settle_asked = true;
            marks.hit(Mark::BlockedWriter);
            return self.feed(at, Event::SettleWanted, scope, marks);
        }
        Ok(())
    }

    fn perform(
        &mut self,
        at: usize,
        action: Action,
        events: &mut VecDeque<Event>,
        scope: &Scope,
        marks: &mut Marks,
    ) -> Done {
        match action {
            Action::Look => events.push_back(self.look(at)),
            Action::Append { token, position, draft, .. } => self.ask(at, token, position, &draft, marks),
            Action::ReadBack(position) => events.push_back(self.read_back(at, position, marks)),
            Action::Relist => {
                events.push_back(self.relist(at, marks));
            }
            Action::Recover(_) => {
                let attempt = self.attempt(at);
                attempt.recovering = true;
                // Without a claim, as one mutant has it, it calls itself what its claim would have been.
                if attempt.number == 0 {
                    attempt.number = attempt.newest + 1;
                }
            }
            Action::ResolveStart => events.push_back(self.resolve(at, scope, marks)),
            Action::OpenHost { epoch } => {
                self.open(at, epoch.0, scope, marks);
                events.push_back(Event::Opened);
            }
            Action::Barrier { epoch, last } => {
                let attempt = self.attempt(at);
                let durable = attempt.base.as_ref().map_or(0, |entry| entry.epoch);
                marks.hit_if(epoch.0 > durable + 1, Mark::EpochsOverlap);
                attempt.barrier = epoch.0;
                attempt.last = last;
            }
            Action::Durable { token, position } => self.durable(at, token, position.0, scope, marks),
            Action::Commit { sink, epoch, groups, .. } => {
                if let Some(answer) = self.begin_commit(at, sink, epoch.0, &groups) {
                    events.push_back(answer);
                }
            }
            Action::Confirmed { .. } => {}
            Action::Settled { epoch } => {
                self.attempt(at).settle(epoch.0, scope.defect == Some(Defect::NeverFresh));
            }
            Action::GivenUp { epoch } => {
                self.attempt(at).given_up.insert(epoch.0);
            }
            Action::StopHost => self.attempt(at).tasks.clear(),
            Action::End(end) => {
                marks.hit_if(matches!(end, End::Fenced { .. }), Mark::Fenced);
                marks.hit_if(end == End::WasFinished, Mark::WasFinished);
                marks.hit_if(end == End::Closed(Closed::Finished), Mark::Finished);
                marks.hit_if(end == End::Closed(Closed::Cancelled), Mark::Cancelled);
                marks.hit_if(end == End::Closed(Closed::Stopped), Mark::Stopped);
                events.clear();
                self.end(at, scope, marks);
            }
        }
        Ok(())
    }

    /// A crash, or an end: what was sent may still be applied.
    pub(crate) fn end(&mut self, at: usize, scope: &Scope, marks: &mut Marks) {
        let under_way = std::mem::take(&mut self.attempt(at).commits);
        for (sink, commit) in under_way {
            marks.hit(Mark::CrashWithCommitUnderWay);
            self.late.extend(commit.items.front().map(|item| (sink, *item)));
        }
        self.attempts[at] = Rc::new(Attempt::over(scope));
    }

    // --------------------------------------------------------------------------------------- the log

    fn look(&mut self, at: usize) -> Event {
        let newest = self.log.newest().map(|(position, entry)| (position, Rc::clone(entry)));
        let attempt = self.attempt(at);
        attempt.asked.clear();
        attempt.newest = newest.as_ref().map_or(0, |(position, _)| *position);
        attempt.groups = newest.as_ref().map(|(_, entry)| entry.groups.clone()).unwrap_or_default();
        attempt.positions = newest.as_ref().and_then(|(_, entry)| entry.positions.clone());
        attempt.base = newest.map(|(_, entry)| entry);
        let head = attempt.base.as_ref().map(|entry| entry.head(attempt.newest));
        Event::Looked(head)
    }

    fn relist(&mut self, at: usize, marks: &mut Marks) -> Event {
        let claim = self.attempts[at].newest;
        if self.log.entries.get(&(claim + 1)).is_some_and(|above| above.is_claim()) {
            marks.hit(Mark::ClaimedAbove);
            return Event::ClaimedAbove;
        }
        let newest = self.log.newest().map_or(0, |(position, _)| position);
        marks.hit_if(newest > claim, Mark::ClaimInAGap);
        Event::Relisted { newest: Position(newest) }
    }

    fn ask(&mut self, at: usize, token: Token, position: Position, draft: &Draft, marks: &mut Marks) {
        let attempt = self.attempt(at);
        let mut groups = Groups::new();
        for (epoch, sinks) in &draft.lists {
            for sink in sinks {
                let group = attempt.groups.get(&(epoch.0, *sink)).cloned().unwrap_or_default();
                groups.insert((epoch.0, *sink), group);
            }
            marks.hit_if(attempt.given_up.contains(&epoch.0), Mark::LeftoverOfAFailedCheckpointListed);
        }
        let cut = |task: &Option<u8>| task.unwrap_or_default();
        let positions = match draft.kind {
            EntryKind::Checkpoint => {
                marks.hit_if(draft.lists.is_empty(), Mark::EmptyEpoch);
                attempt.cuts.get(&draft.epoch.0).map(|cuts| cuts.iter().map(cut).collect())
            }
            _ => attempt.positions.clone(),
        };
        let entry = Entry { nonce: (at, token), kind: draft.kind, epoch: draft.epoch.0, groups, positions };
        let entry = Rc::new(entry);
        attempt.asking = Some((token, position.0));
        attempt.asked.push(Rc::clone(&entry));
        self.log.requests.insert((at, token), (position.0, entry));
    }

    pub(crate) fn apply_create(&mut self, at: usize, token: Token, marks: &mut Marks) {
        if let Some((position, entry)) = self.log.requests.remove(&(at, token)) {
            marks.hit_if(!self.attempts[at].alive, Mark::AppliedAfterItsSenderCrashed);
            let after_closed = self.log.newest().is_some_and(|(_, entry)| {
                matches!(entry.kind, EntryKind::Closed(Closed::Stopped | Closed::Cancelled))
            });
            marks.hit_if(after_closed, Mark::WentOnAfterClosed);
            self.log.entries.insert(position, entry);
        }
    }

    pub(crate) fn answer(&mut self, at: usize, scope: &Scope, marks: &mut Marks) -> Done {
        let Some((token, position)) = self.attempt(at).asking.take() else { return Ok(()) };
        let ours = self.log.entries.get(&position).is_some_and(|entry| entry.nonce == (at, token));
        if !ours {
            self.log.requests.remove(&(at, token)); // Refused: it cannot be applied any more.
        }
        let event = if ours { Event::Created(token) } else { Event::Taken(token) };
        self.feed(at, event, scope, marks)
    }

    pub(crate) fn lose_answer(&mut self, at: usize, scope: &Scope, marks: &mut Marks) -> Done {
        let Some((token, position)) = self.attempt(at).asking.take() else { return Ok(()) };
        let stands = self.log.entries.contains_key(&position);
        marks.hit_if(stands, Mark::TakenByOurOwnRequest);
        let event = if stands { Event::Taken(token) } else { Event::Unknown(token) };
        self.feed(at, event, scope, marks)
    }

    fn read_back(&mut self, at: usize, position: Position, marks: &mut Marks) -> Event {
        match self.log.entries.get(&position.0).map(|entry| entry.nonce) {
            None => Event::FoundNothing,
            Some((author, token)) if author == at => {
                let newest = self.attempts[at].asked.last().map(|entry| entry.nonce.1);
                marks.hit_if(newest > Some(token), Mark::OlderRequestStands);
                Event::FoundOurs(token)
            }
            Some(_) => Event::FoundForeign,
        }
    }

    fn durable(&mut self, at: usize, token: Token, position: u64, scope: &Scope, marks: &mut Marks) {
        let plan = if scope.prune { self.log.prunable(position, scope.defect) } else { BTreeSet::new() };
        let attempt = self.attempt(at);
        attempt.newest = position;
        attempt.prune_plan.extend(plan);
        // What it asked for, not what stands: a mutant may believe in an entry that is not there.
        let asked = std::mem::take(&mut attempt.asked);
        let Some(entry) = asked.into_iter().find(|entry| entry.nonce == (at, token)) else { return };
        let leftover = attempt.given_up.contains(&entry.epoch) && entry.kind == EntryKind::Checkpoint;
        marks.hit_if(leftover, Mark::GivenUpCheckpointStands);
        marks.hit_if(entry.kind == EntryKind::Confirmation, Mark::Confirmation);
        if entry.is_claim() {
            attempt.number = position;
        }
        attempt.positions = entry.positions.clone();
        let covered = entry.epoch;
        attempt.cuts.retain(|epoch, _| *epoch > covered);
        attempt.given_up.retain(|epoch| *epoch > covered);
        attempt.groups.retain(|group, _| group.0 > covered || entry.groups.contains_key(group));
        attempt.base = Some(entry);
    }

    // ----------------------------------------------------------------------------- recovery and start

    pub(crate) fn recover(&mut self, at: usize, scope: &Scope, marks: &mut Marks) -> Done {
        let attempt = self.attempt(at);
        attempt.recovering = false;
        let (number, groups) = (attempt.number, attempt.groups.clone());
        marks.hit_if(!groups.is_empty(), Mark::RecoveredPending);
        let names = groups.values().flatten().filter_map(Pending::name).collect();
        self.sweep(number, &names, marks);
        for ((_, sink), group) in &groups {
            for pending in group {
                if self.targets[*sink as usize].look(pending).is_err() {
                    return self.missing(at, *pending, scope, marks);
                }
            }
        }
        self.feed(at, Event::Recovered, scope, marks)
    }

    pub(crate) fn sweep(&mut self, number: u64, listed: &BTreeSet<Name>, marks: &mut Marks) {
        for target in &mut self.targets {
            let leftovers: Vec<Name> = target.leftovers(number, listed).collect();
            marks.hit_if(!leftovers.is_empty(), Mark::SweptLeftover);
            leftovers.iter().for_each(|name| target.throw_away(name));
        }
    }

    /// I7: prepared data is gone. Where the target threw it away, a person is told, and that is right.
    fn missing(&mut self, at: usize, pending: Pending, scope: &Scope, marks: &mut Marks) -> Done {
        if !self.is_thrown(&pending) {
            return Err(Violation::PreparedDataIsGone(pending));
        }
        marks.hit(Mark::HaltedWithEvidence);
        self.end(at, scope, marks);
        self.halted = true;
        Ok(())
    }

    fn resolve(&mut self, at: usize, scope: &Scope, marks: &mut Marks) -> Event {
        let first = if scope.latest { self.arrived } else { 0 };
        let again = self.log.entries.values().any(|entry| entry.is_claim() && entry.nonce.0 != at);
        let attempt = self.attempt(at);
        if attempt.positions.is_none() {
            marks.hit_if(again, Mark::ResolvedAgain);
            attempt.positions = Some(vec![first; scope.tasks as usize]);
        }
        Event::StartResolved { epoch: Epoch(attempt.base.as_ref().map_or(0, |entry| entry.epoch)) }
    }

    fn open(&mut self, at: usize, epoch: u64, scope: &Scope, marks: &mut Marks) {
        let arrived = if scope.latest { self.arrived } else { 0 };
        self.promised.get_or_insert(arrived);
        marks.hit_if(self.is_outdated(at), Mark::OpenedBesideANewerAttempt);
        let attempt = self.attempt(at);
        let positions = attempt.positions.clone().unwrap_or_default();
        attempt.open_tasks(epoch, &positions, scope);
        let running = self.attempts.iter().filter(|attempt| attempt.alive && !attempt.tasks.is_empty());
        marks.hit_if(running.count() > 1, Mark::TwoAttemptsRun);
    }

    // ------------------------------------------------------------------------------------- the tasks

    fn read_on(&mut self, at: usize, marks: &mut Marks) {
        let arrived = self.arrived;
        if !self.attempts[at].tasks.iter().any(|task| task.record.is_none() && task.position < arrived) {
            return;
        }
        let mut opened = Vec::new();
        let attempt = Rc::make_mut(&mut self.attempts[at]);
        let (number, last) = (attempt.number, attempt.last.then_some(attempt.barrier));
        for (writer, task) in attempt.tasks.iter_mut().enumerate() {
            let stopped = last.is_some_and(|last| task.epoch > last);
            let nothing_new = task.record.is_some() || task.position >= arrived;
            if stopped || nothing_new || task.is_blocked(arrived) {
                continue;
            }
            task.record = Some(task.position);
            task.position += 1;
            for slots in task.writers.values_mut() {
                if let Some(slot) = slots.iter_mut().find(|slot| slot.holds.is_none()) {
                    slot.holds = Some(task.epoch);
                }
            }
            let written = task.written(number, writer as u32);
            let begun = Transaction { state: State::Open, epoch: task.epoch, record: task.position - 1 };
            opened.extend(written.into_iter().map(|(sink, name)| (sink, name, begun)));
        }
        for (sink, name, begun) in opened {
            let before = self.targets[sink as usize].transactions.insert(name, begun);
            marks.hit_if(before.is_some(), Mark::SlotUsedAgain);
            marks.hit_if(name.fresh > 0, Mark::FreshIdentity);
        }
    }

    pub(crate) fn close_epoch(&mut self, at: usize, task: usize, scope: &Scope, marks: &mut Marks) -> Done {
        let attempt = Rc::make_mut(&mut self.attempts[at]);
        let (number, tasks) = (attempt.number, attempt.tasks.len());
        let state = &mut attempt.tasks[task];
        let epoch = state.epoch;
        let cuts = attempt.cuts.entry(epoch).or_insert_with(|| vec![None; tasks]);
        cuts[task] = Some(state.position);
        let mut prepared = BTreeSet::new();
        if let Some(record) = state.record {
            for (sink, name) in state.written(number, task as u32) {
                if let Some(transaction) = self.targets[sink as usize].transactions.get_mut(&name)
                    && transaction.state == State::Open
                {
                    transaction.state = State::Prepared;
                }
                let pending = Pending { epoch, attempt: number, committable: Committable::End(name) };
                attempt.groups.entry((epoch, sink)).or_default().insert(pending);
                prepared.insert(sink);
            }
            for sink in scope.route(task) {
                if self.targets[sink as usize].kind() == Kind::WriteAhead {
                    let committable = Committable::Apply { writer: task as u32, record };
                    let pending = Pending { epoch, attempt: number, committable };
                    attempt.groups.entry((epoch, sink)).or_default().insert(pending);
                    prepared.insert(sink);
                }
            }
        }
        state.record = None;
        state.epoch += 1;
        self.read_on(at, marks);
        let report = Event::Reported { epoch: Epoch(epoch), task: task as u32, prepared, expires_at: None };
        self.feed(at, report, scope, marks)
    }

    // ----------------------------------------------------------------------------------- the commits

    /// A sink with nothing to commit answers at once.
    fn begin_commit(&mut self, at: usize, sink: SinkIndex, epoch: u64, groups: &[Epoch]) -> Option<Event> {
        let attempt = self.attempt(at);
        let listed = groups.iter().filter_map(|group| attempt.groups.get(&(group.0, sink)));
        let items: VecDeque<Pending> = listed.flatten().copied().collect();
        if items.is_empty() {
            return Some(Event::Committed { sink, epoch: Epoch(epoch) });
        }
        attempt.commits.insert(sink, Commit { epoch, items });
        None
    }

    pub(crate) fn commit(&mut self, at: usize, sink: SinkIndex, scope: &Scope, marks: &mut Marks) -> Done {
        let outdated = self.is_outdated(at);
        let attempt = self.attempt(at);
        let Some(commit) = attempt.commits.get_mut(&sink) else { return Ok(()) };
        let Some(item) = commit.items.pop_front() else { return Ok(()) };
        let done = commit.items.is_empty().then_some(commit.epoch);
        if done.is_some() {
            attempt.commits.remove(&sink);
        }
        let target = &mut self.targets[sink as usize];
        let changes = target.would_change(&item, scope.defect);
        marks.hit_if(outdated && changes, Mark::CommitAfterFencing);
        if target.commit(&item, scope.defect).is_err() {
            return self.missing(at, item, scope, marks);
        }
        if changes && self.is_thrown(&item) {
            let Pending { attempt, epoch, .. } = item;
            return Err(Violation::CommittedBesideThrownAway { attempt, epoch });
        }
        match done {
            Some(epoch) => self.feed(at, Event::Committed { sink, epoch: Epoch(epoch) }, scope, marks),
            None => Ok(()),
        }
    }

    /// No answer came: the writer must go on with a fresh identity once the epoch is settled.
    pub(crate) fn delay_commit(&mut self, at: usize, sink: SinkIndex) {
        let attempt = self.attempt(at);
        let number = attempt.number;
        let Some(item) = attempt.commits.get(&sink).and_then(|commit| commit.items.front()).copied() else {
            return;
        };
        if item.attempt == number {
            attempt.reinit.insert((item.epoch, sink, item.writer()));
        }
        self.late.insert((sink, item));
    }
}
