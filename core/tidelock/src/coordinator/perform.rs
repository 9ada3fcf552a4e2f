//! What the machine decides is done here.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::control::Ended;
use super::run::Running;
use super::waiting::Ready;
use super::work;
use crate::host::{Opening, Order};
use crate::job::OnCancel;
use crate::log::{Closed, Entry, PendingState, SnapshotId, State};
use crate::patience::later;
use crate::protocol::{Action, End, Event, Lists, SinkIndex};
use crate::retry::{Patience, in_time};
use crate::{Epoch, Error, ErrorKind, Position, Result, Retry, WriterId};

impl Running {
    pub(super) fn perform(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Look => {
                let (log, chosen, patience) = (self.log.clone(), self.chosen.clone(), self.patience());
                self.work.push(Box::pin(work::look(log, chosen, patience)));
            }
            Action::Append { token, position, draft, retry } => self.append(token, position, draft, retry)?,
            Action::ReadBack(position) => {
                let asked = self.asked.values().filter(|entry| entry.position == position);
                let ours = asked.map(|entry| entry.nonce.clone()).collect();
                self.work.push(Box::pin(work::read_back(self.log.clone(), position, ours)));
            }
            Action::Relist => {
                let (log, claim, patience) = (self.log.clone(), self.attempt_number(), self.patience());
                self.work.push(Box::pin(work::relist(log, claim, patience)));
            }
            Action::Recover(lists) => self.recover(&lists),
            Action::ResolveStart => self.resolve_start(),
            Action::OpenHost { epoch } => self.open_host(epoch)?,
            Action::Barrier { epoch, last } => {
                let now = Instant::now();
                self.schedule.sent(epoch, now);
                self.barriers.insert(epoch, self.now());
                self.phases.barrier_sent(epoch, now);
                self.waiting.barrier_sent(epoch);
                self.outbox.push_back(Order::Barrier { epoch, last });
            }
            Action::Durable { token, position } => self.durable(token, position)?,
            Action::Commit { sink, position, groups, .. } => self.commit(sink, position, groups)?,
            Action::Confirmed { epoch } => {
                self.durables.retain(|_, durable| durable.epoch() > epoch);
                self.confirmed(epoch);
                for ready in self.waiting.confirmed(epoch) {
                    self.export(ready);
                }
            }
            Action::Settled { epoch } => self.settled(epoch),
            Action::GivenUp { epoch } => {
                self.phases.given_up(epoch);
                self.waiting.given_up(epoch);
                self.progress.send_modify(|progress| progress.failures += 1);
                tracing::warn!(%epoch, "a checkpoint took too long and is given up");
            }
            Action::StopHost => {
                self.outbox.clear();
                self.orders = None;
            }
            Action::End(end) => self.end = Some(end),
        }
        Ok(())
    }

    /// I6: sweep leftovers and look at everything that is pending, all sinks side by side.
    fn recover(&mut self, lists: &Lists) {
        let Some(attempt) = self.standing.attempt().cloned() else { return };
        self.recovering = self.sinks.len();
        if self.sinks.is_empty() {
            self.events.push_back(Event::Recovered);
        }
        for (index, uid) in (0..).zip(self.sinks.clone()) {
            let listed = lists.iter().filter(|(_, sinks)| sinks.contains(&index)).map(|(epoch, _)| *epoch);
            let states = self.bodies(&uid, listed);
            self.progress.send_modify(|progress| progress.recovered += states.len() as u64);
            let control = Arc::clone(&self.graph.sinks[&uid]);
            let (log, attempt, patience) = (self.log.clone(), attempt.of_sink(&uid), self.patience());
            self.work.push(Box::pin(work::recover(log, index, control, attempt, states, patience)));
        }
    }

    /// I6: the sweep is repeated now and then, because a paused older attempt may open something late. By
    /// now nothing of an older attempt is pending, and nothing of this one is touched by it. One at a time.
    pub(super) fn sweep(&mut self) {
        if let Some(attempt) = self.standing.attempt().cloned()
            && self.machine.is_running()
            && !self.sweeping
        {
            self.sweeping = true;
            let sinks = self.graph.sinks.iter();
            let sinks = sinks.map(|(uid, control)| (attempt.of_sink(uid), Arc::clone(control))).collect();
            let patience = self.patience();
            self.work.push(Box::pin(work::sweep(sinks, patience)));
        }
    }

    /// Nothing depends on one sweep: the next one, or the next attempt, finds what is left. But a sink that met an
    /// attempt which is not older cannot say whose the job is. The log can, once this one has ended.
    pub(super) fn on_swept(&mut self, errors: Vec<Error>) -> Result<()> {
        self.sweeping = false;
        for error in errors {
            if error.kind() == ErrorKind::Conflict && error.retry() == Retry::Halt {
                return Err(error);
            }
            tracing::warn!(%error, "leftovers of older attempts were not swept");
        }
        Ok(())
    }

    fn bodies(&self, uid: &crate::Uid, epochs: impl IntoIterator<Item = Epoch>) -> Vec<PendingState> {
        epochs.into_iter().flat_map(|epoch| self.building.bodies(epoch, uid)).cloned().collect()
    }

    fn commit(&mut self, sink: SinkIndex, position: Position, groups: Vec<Epoch>) -> Result<()> {
        let uid = self.sinks[usize::from(sink)].clone();
        // I1: the permit is made from the proof that the entry is durable and ours.
        let permit = self.durables.get(&position).map(|durable| durable.permit(&uid)).ok_or_else(|| {
            Error::new(ErrorKind::Bug, "commit", "no proof that the entry is durable")
                .with("position", position)
        })?;
        let states = self.bodies(&uid, groups.iter().copied());
        let control = Arc::clone(&self.graph.sinks[&uid]);
        let patience = self.patience();
        let call_timeout = match self.machine.commits_pending() {
            true => patience.call_timeout,
            false => self.deadlines.commit_timeout(self.schedule.settings()),
        };
        let (log, patience) = (self.log.clone(), Patience { call_timeout, ..patience });
        self.work.push(Box::pin(work::commit(log, sink, control, permit, groups, states, patience)));
        Ok(())
    }

    fn open_host(&mut self, epoch: Epoch) -> Result<()> {
        let attempt = self
            .standing
            .attempt()
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::Bug, "open", "the job is not claimed"))?;
        let operators = self.building.operators().clone();
        self.open_until = Some(later(Instant::now(), self.deadlines.call_timeout()));
        self.outbox.push_back(Order::Open(Opening { attempt, epoch, operators }));
        Ok(())
    }

    fn settled(&mut self, epoch: Epoch) {
        self.settle_idle_at = None;
        let later = self.reinit.split_off(&epoch.next());
        let mut reinit: BTreeMap<_, Vec<WriterId>> = BTreeMap::new();
        for sinks in std::mem::replace(&mut self.reinit, later).into_values() {
            for (uid, writers) in sinks {
                reinit.entry(uid).or_default().extend(writers);
            }
        }
        self.outbox.push_back(Order::Settled { epoch, reinit });
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

    /// The attempt is over.
    pub(super) async fn finish(&mut self, end: End) -> Result<Ended> {
        let closed = match end {
            End::Closed(closed) => closed,
            End::WasFinished => Closed::Finished,
            End::Fenced { position } => return Err(self.fenced(position)),
            End::TooManyFailures { epoch } => return Err(self.too_many_failures(epoch)),
            End::WouldExpire { epoch } => return Err(self.would_expire(epoch)),
            End::HostBroke { promise } => {
                return Err(
                    Error::new(ErrorKind::Bug, "run", "the host broke a promise").with("promise", promise)
                );
            }
        };
        let was_finished = self.standing.newest().is_none();
        let last = self.standing.below().cloned();
        let last = last.ok_or_else(|| Error::new(ErrorKind::Bug, "end", "the job ended without an entry"))?;
        if let Some(url) = self.stop_savepoint.take() {
            let exported = export(&self.log, &last, &url).await;
            exported
                .map_err(|error| self.only_not(SAVEPOINT_MISSING, &last, error).with("savepoint", url))?;
        }
        if closed == Closed::Cancelled && self.config.on_cancel == OnCancel::Delete {
            let deleting = self.log.delete_below_closed(&last);
            let deleted = in_time("delete snapshots", self.deadlines.call_timeout(), deleting).await;
            deleted.map_err(|error| self.only_not(SNAPSHOTS_LEFT, &last, error))?;
        }
        Ok(Ended { closed, snapshot: last.snapshot_id(), was_finished, unread: BTreeMap::new() })
    }

    /// The closed entry stands, and something after it failed. Whoever would start again for that would run a
    /// job that its user has stopped.
    fn only_not(&self, what: &str, last: &Entry, error: Error) -> Error {
        Error::new(error.kind(), "stop", what)
            .with_retry(Retry::Halt)
            .with("log", self.log.place())
            .with("position", last.position)
            .because(error)
    }
}

const SAVEPOINT_MISSING: &str = "the job is stopped and everything is committed; only the savepoint could not be \
     written: do not start the job again for it, but copy its last entry with `tidelock snapshots copy LOG#POSITION \
     FOLDER`";

const SNAPSHOTS_LEFT: &str = "the job is cancelled and everything is committed; only some of its snapshots could not be \
     deleted: do not start the job again for it, but delete them with `tidelock snapshots delete LOG#POSITION`";

/// Exports an entry whose commits are confirmed: it lists nothing any more.
async fn export(log: &crate::log::Log, entry: &Entry, url: &str) -> Result<SnapshotId> {
    let state = entry
        .state
        .clone()
        .ok_or_else(|| Error::new(ErrorKind::Conflict, "take a savepoint", "the job has no positions yet"))?;
    let sinks = state.sinks.keys().map(|uid| (uid.clone(), Vec::new())).collect();
    log.export(entry, &State { sinks, ..state }, url).await
}
