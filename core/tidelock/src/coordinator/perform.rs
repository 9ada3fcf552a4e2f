//! What the machine decides is done here.

use std::sync::Arc;

use tokio::time::Instant;

use super::run::Running;
use super::splits::Splits;
use super::waiting::Ready;
use super::work;
use crate::host::{Opening, Order};
use crate::log::{Entry, PendingState, SnapshotId, State};
use crate::patience::later;
use crate::protocol::{Action, Event, Lists, SinkIndex};
use crate::retry::Bounds;
use crate::{Epoch, Error, ErrorKind, Position, Result, SinkAttempt, Uid};

impl Running {
    pub(super) fn perform(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Look => {
                let (log, bounds) = (self.log.clone(), self.bounds());
                let chosen = self.restoring.chosen().cloned();
                self.work.push(Box::pin(work::look(log, chosen, bounds)));
            }
            Action::Append { token, position, draft, retry } => self.append(token, position, draft, retry)?,
            Action::ReadBack(position) => {
                let ours = self.requests.nonces();
                self.work.push(Box::pin(work::read_back(self.log.clone(), position, ours)));
            }
            Action::Relist => {
                let (log, claim, bounds) = (self.log.clone(), self.attempt_number(), self.bounds());
                self.work.push(Box::pin(work::relist(log, claim, bounds)));
            }
            Action::Recover(lists) => self.recover(&lists)?,
            Action::ResolveStart => self.resolve_start(),
            Action::OpenHost { epoch } => self.open_host(epoch)?,
            Action::Barrier { epoch, last } => {
                let now = Instant::now();
                self.schedule.sent(epoch, now);
                self.intake.barrier_sent(epoch, self.clocks.now());
                self.phases.barrier_sent(epoch, now);
                self.waiting.barrier_sent(epoch);
                self.link.order(Order::Barrier { epoch, last });
            }
            Action::Durable { token, position } => self.durable(token, position)?,
            Action::Commit { sink, position, groups, .. } => self.commit(sink, position, groups)?,
            Action::Confirmed { epoch } => self.confirmed(epoch),
            Action::Settled { epoch } => {
                let reinit = self.settling.settled(epoch);
                self.link.order(Order::Settled { epoch, reinit });
            }
            Action::GivenUp { epoch } => {
                self.phases.given_up(epoch);
                self.waiting.given_up(epoch);
                self.progress.send_modify(|progress| progress.failures += 1);
                tracing::warn!(%epoch, "a checkpoint took too long and is given up");
            }
            Action::StopHost => self.link.cut(),
            Action::End(end) => self.end = Some(end),
        }
        Ok(())
    }

    /// I6: sweep leftovers and look at everything that is pending, all sinks side by side.
    fn recover(&mut self, lists: &Lists) -> Result<()> {
        let attempt = self.standing.claimed("recover")?.clone();
        self.recovering = (0..).take(self.sinks.len()).collect();
        if self.sinks.is_empty() {
            self.events.push_back(Event::Recovered);
        }
        for (index, uid) in (0..).zip(self.sinks.clone()) {
            let listed = lists.iter().filter(|(_, sinks)| sinks.contains(&index)).map(|(epoch, _)| *epoch);
            let states = self.bodies(&uid, listed);
            self.progress.send_modify(|progress| progress.recovered += states.len() as u64);
            let control = Arc::clone(&self.graph.sinks[&uid]);
            let (log, bounds) = (self.log.clone(), self.bounds());
            let chunks = Some(log.chunk_store(attempt.number));
            let attempt = SinkAttempt { chunks, ..attempt.of_sink(&uid) };
            self.work.push(Box::pin(work::recover(log, index, control, attempt, states, bounds)));
        }
        Ok(())
    }

    fn bodies(&self, uid: &crate::Uid, epochs: impl IntoIterator<Item = Epoch>) -> Vec<PendingState> {
        epochs.into_iter().flat_map(|epoch| self.building.bodies(epoch, uid)).cloned().collect()
    }

    fn commit(&mut self, sink: SinkIndex, position: Position, groups: Vec<Epoch>) -> Result<()> {
        let uid = self.sinks[usize::from(sink)].clone();
        // I1: the permit is made from the proof that the entry is durable and ours.
        let permit = self.standing.permit(position, &uid)?;
        let permit = permit.with_chunks(self.log.chunk_store(self.attempt_number()));
        let states = self.bodies(&uid, groups.iter().copied());
        let control = Arc::clone(&self.graph.sinks[&uid]);
        let bounds = self.bounds();
        let call_timeout = match self.machine.commits_pending() {
            true => bounds.call_timeout,
            false => self.deadlines.commit_timeout(self.schedule.settings()),
        };
        let (log, bounds) = (self.log.clone(), Bounds { call_timeout, ..bounds });
        self.work.push(Box::pin(work::commit(log, sink, control, permit, groups, states, bounds)));
        Ok(())
    }

    fn open_host(&mut self, epoch: Epoch) -> Result<()> {
        let attempt = self.standing.claimed("open")?.clone();
        let operators = self.building.operators().clone();
        let reached = |(uid, splits): (&Uid, &Splits)| Some((uid.clone(), splits.reached()?));
        let reached = self.building.sources.iter().filter_map(reached).collect();
        let until = later(Instant::now(), self.deadlines.call_timeout());
        self.link.open(Opening { attempt, epoch, operators, reached }, until);
        Ok(())
    }

    /// Every sink committed, and said so.
    fn confirmed(&mut self, epoch: Epoch) {
        let now = Instant::now();
        self.standing.confirmed(epoch);
        if let Some(taken) = self.phases.confirmed(epoch, now) {
            self.progress.send_modify(|progress| progress.commit = taken);
        }
        if !self.machine.is_settled() {
            self.settling.confirmed(now);
        }
        for ready in self.waiting.confirmed(epoch) {
            self.export(ready);
        }
    }

    fn export(&mut self, ready: Ready) {
        let log = self.log.clone();
        self.pruning.export_began(ready.entry.position);
        self.work.push(Box::pin(async move {
            let Ready { entry, url, answer } = ready;
            let result = export(&log, &entry, &url).await;
            work::Done::Exported { position: entry.position, result, answer }
        }));
    }
}

/// Exports an entry whose commits are confirmed: it lists nothing any more.
pub(super) async fn export(log: &crate::log::Log, entry: &Entry, url: &str) -> Result<SnapshotId> {
    let state = entry
        .state
        .clone()
        .ok_or_else(|| Error::new(ErrorKind::Conflict, "take a savepoint", "the job has no positions yet"))?;
    let sinks = state.sinks.keys().map(|uid| (uid.clone(), Vec::new())).collect();
    log.export(entry, &State { sinks, ..state }, url).await
}
