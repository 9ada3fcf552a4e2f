//! The loop: whatever happens becomes an event of the machine.
//!
//! What an attempt knows lies in small types, each with its rules at the top of its file. The loop moves between them;
//! how each thing that happens is taken is told where it belongs: [`reports`](super::reports) for reports and splits,
//! [`entries`](super::entries) for the log, [`perform`](super::perform) for what the machine decides.

use std::collections::{BTreeSet, VecDeque};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Coordinator;
use super::books::Pruning;
use super::clocks::{Clocks, millis};
use super::control::{Command, Ended, Progress};
use super::deadlines::Deadlines;
use super::farewell::Farewell;
use super::intake::Intake;
use super::link::Link;
use super::phases::Phases;
use super::requests::Requests;
use super::restoring::Restoring;
use super::schedule::Schedule;
use super::settling::Settling;
use super::snapshot::Building;
use super::standing::Standing;
use super::upkeep::Upkeep;
use super::waiting::Waiting;
use super::work::{Done, Relisted, Work};
use crate::host::{News, Order};
use crate::job::{Graph, JobConfig, Settings};
use crate::log::Log;
use crate::protocol::{Action, End, Event, Limits, Machine, SinkIndex};
use crate::retry::Bounds;
use crate::{Position, Result, Uid};

/// A running attempt.
pub(super) struct Running {
    // What it was given.
    pub(super) config: JobConfig,
    pub(super) deadlines: Deadlines,
    pub(super) log: Log,
    pub(super) graph: Graph,
    /// The sinks by the index that the machine knows them by.
    pub(super) sinks: Vec<Uid>,
    pub(super) clocks: Clocks,
    // The user.
    pub(super) commands: mpsc::Receiver<Command>,
    settings: watch::Receiver<Settings>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) waiting: Waiting,
    pub(super) farewell: Farewell,
    // The loop.
    pub(super) machine: Machine,
    pub(super) events: VecDeque<Event>,
    pub(super) work: FuturesUnordered<Work>,
    pub(super) end: Option<End>,
    // The log.
    pub(super) restoring: Restoring,
    pub(super) standing: Standing,
    pub(super) requests: Requests,
    pub(super) building: Building,
    pub(super) pruning: Pruning,
    /// Sinks that have not yet looked at what is pending, while the attempt recovers.
    pub(super) recovering: BTreeSet<SinkIndex>,
    // Epochs.
    pub(super) link: Link,
    pub(super) schedule: Schedule,
    pub(super) phases: Phases,
    pub(super) intake: Intake,
    pub(super) settling: Settling,
    pub(super) upkeep: Upkeep,
}

impl Running {
    pub(super) fn new(coordinator: Coordinator) -> Self {
        let Coordinator { job, graph, deadlines, orders, news, commands, settings, progress, seed, wall } =
            coordinator;
        let crate::job::Job { config, log, restored, chosen } = job;
        let now = Instant::now();
        let sinks: Vec<Uid> = graph.sinks.keys().cloned().collect();
        let limits = Limits {
            tasks: graph.tasks,
            sinks: u16::try_from(sinks.len()).unwrap_or(u16::MAX),
            epochs_in_flight_max: config.epochs_in_flight_max,
            tolerable_failures: config.settings.tolerable_failures,
            commit_margin: millis(config.commit_margin),
        };
        Self {
            deadlines,
            log,
            sinks,
            clocks: Clocks::new(now, wall, seed),
            commands,
            settings,
            progress,
            waiting: Waiting::default(),
            farewell: Farewell::default(),
            machine: Machine::new(limits),
            events: VecDeque::new(),
            work: FuturesUnordered::new(),
            end: None,
            restoring: Restoring::new(restored.is_some(), chosen),
            standing: Standing::default(),
            requests: Requests::default(),
            building: Building::default(),
            pruning: Pruning::default(),
            recovering: BTreeSet::new(),
            link: Link::new(orders, news),
            schedule: Schedule::new(config.settings.clone(), now),
            phases: Phases::new(config.job.clone()),
            intake: Intake::default(),
            settling: Settling::default(),
            upkeep: Upkeep::new(&config, now),
            config,
            graph,
        }
    }

    pub(super) async fn run(mut self) -> Result<Ended> {
        match self.until_end().await {
            Ok(ended) => Ok(ended),
            Err(error) => Err(self.fenced_or(error).await),
        }
    }

    async fn until_end(&mut self) -> Result<Ended> {
        // Before the claim: a job that could never commit in time fences nobody.
        self.deadlines.check(self.schedule.settings())?;
        self.events.push_back(Event::Begin);
        loop {
            self.drain()?;
            if let Some(end) = self.end.take() {
                return self.finish(end).await;
            }
            let wake = self.wake_at();
            tokio::select! {
                biased;
                Some(done) = self.work.next(), if !self.work.is_empty() => self.on_done(done)?,
                exchanged = self.link.exchange(), if self.link.stands() => {
                    if let Some(news) = exchanged? {
                        self.on_news(news)?;
                    }
                }
                Some(command) = self.commands.recv() => self.on_command(command),
                Ok(()) = self.settings.changed() => self.on_settings(),
                () = tokio::time::sleep_until(wake) => {}
            }
            self.on_time()?;
        }
    }

    /// Feeds waiting events to the machine and performs what it decides, until nothing is left.
    fn drain(&mut self) -> Result<()> {
        let mut actions: Vec<Action> = Vec::new();
        while let Some(event) = self.events.pop_front() {
            let now = self.clocks.now();
            tracing::trace!(?event, "event");
            self.machine.step(now, event, &mut actions);
            for action in actions.drain(..) {
                tracing::trace!(?action, "action");
                self.perform(action)?;
            }
        }
        Ok(())
    }

    pub(super) fn attempt_number(&self) -> Position {
        self.standing.number()
    }

    /// How long sources, sinks and the store are waited for.
    pub(super) fn bounds(&mut self) -> Bounds {
        Bounds { jitter_seed: self.clocks.seed(), call_timeout: self.deadlines.call_timeout() }
    }

    fn wake_at(&self) -> Instant {
        let mut wake = self.upkeep.due();
        if self.machine.may_send_barrier() {
            wake = wake.min(self.schedule.barrier_due());
        }
        let timeout = self.schedule.timeout().map(|(_, at)| at);
        let opened = self.link.open_until();
        let at = [
            timeout,
            self.settling.idle_at(),
            opened,
            self.farewell.begin_by(),
            self.pruning.load_again_at(),
        ];
        at.into_iter().flatten().fold(wake, Instant::min)
    }

    /// Whatever the clock makes due.
    fn on_time(&mut self) -> Result<()> {
        let now = Instant::now();
        if self.link.open_until().is_some_and(|until| now >= until) {
            return Err(self.never_opened());
        }
        if self.farewell.begin_by().is_some_and(|until| now >= until) {
            return Err(self.never_began());
        }
        if self.pruning.load_again_at().is_some_and(|at| now >= at) {
            self.load_books();
        }
        if self.machine.may_send_barrier() && now >= self.schedule.barrier_due() {
            self.events.push_back(Event::BarrierDue);
        }
        if let Some((epoch, at)) = self.schedule.timeout()
            && now >= at
        {
            self.schedule.given_up(epoch);
            self.events.push_back(Event::TimedOut(epoch));
        }
        if self.settling.is_idle(now) {
            self.events.push_back(Event::SettleWanted);
        }
        self.keep_up(now);
        Ok(())
    }

    /// Settings that [`Control`](super::Control) let through: they are checked where they are set.
    fn on_settings(&mut self) {
        let settings = self.settings.borrow_and_update().clone();
        self.events.push_back(Event::TolerableFailures(settings.tolerable_failures));
        self.schedule.set(settings);
    }

    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Checkpoint(answer) => {
                self.waiting.for_checkpoint(answer);
                self.schedule.force();
            }
            Command::Savepoint { url, answer } => {
                self.waiting.for_savepoint(url, answer);
                self.schedule.force();
            }
            Command::Stop { savepoint, heard } => {
                self.farewell.stop(savepoint, Instant::now());
                self.events.push_back(Event::StopWanted);
                // Whoever stopped waiting does not mind.
                let _ = heard.send(());
            }
            Command::Cancel => {
                self.farewell.at_once();
                self.events.push_back(Event::CancelWanted);
            }
        }
    }

    fn on_news(&mut self, news: News) -> Result<()> {
        match news {
            News::Opened => self.on_opened(),
            News::Report(report) => self.on_report(report)?,
            News::SplitFinished { uid, id, split } => self.split_finished(&uid, id, split)?,
            News::NoFreePlace => self.events.push_back(Event::SettleWanted),
            News::Failed { uid, error } => {
                return Err(match uid {
                    Some(uid) => error.with("uid", uid),
                    None => error,
                });
            }
        }
        Ok(())
    }

    fn on_opened(&mut self) {
        self.link.opened();
        self.farewell.begun();
        self.events.push_back(Event::Opened);
        self.schedule.open(Instant::now());
        for (uid, splits) in &self.building.sources {
            for split in splits.unfinished() {
                self.link.order(Order::Assign { uid: uid.clone(), split: split.clone() });
            }
        }
        self.want_discovery();
    }

    fn on_done(&mut self, done: Done) -> Result<()> {
        match done {
            Done::Looked(entry) => self.on_looked(entry?)?,
            Done::Chunked { token, chunks, failed } => self.on_chunked(token, chunks, failed),
            Done::Appended { token, created } => self.on_appended(token, created),
            Done::ReadBack(found) => self.on_read_back(found)?,
            Done::Relisted(listed) => {
                let Relisted { newest, claimed_above } = listed?;
                self.events.push_back(match claimed_above {
                    true => Event::ClaimedAbove,
                    false => Event::Relisted { newest },
                });
            }
            Done::Recovered { sink, result } => {
                result.map_err(|error| error.with("uid", &self.sinks[usize::from(sink)]))?;
                self.recovering.remove(&sink);
                if self.recovering.is_empty() {
                    self.events.push_back(Event::Recovered);
                }
            }
            Done::StartResolved(start) => self.on_start_resolved(start?)?,
            Done::Committed { sink, epoch, groups, result, again } => {
                let uid = self.sinks[usize::from(sink)].clone();
                let committed = result.map_err(|error| error.with("uid", &uid).with("up_to_epoch", epoch))?;
                let writers = self.building.confirm(&groups, &uid, self.attempt_number());
                self.settling.committed(epoch, uid, committed, again.then_some(writers));
                self.events.push_back(Event::Committed { sink, epoch });
            }
            Done::Discovered { uid, found } => self.on_discovered(&uid, found)?,
            Done::Exported { position, result, answer } => {
                self.pruning.export_ended(position);
                // Whoever stopped waiting does not mind.
                drop(answer.send(result));
            }
            Done::Swept { errors } => self.on_swept(errors)?,
            Done::BooksLoaded(books) => self.on_books_loaded(books),
            Done::Pruned { work, outcome } => self.on_pruned(&work, &outcome),
            Done::Acknowledged(result) => self.upkeep.acknowledged(result),
        }
        Ok(())
    }
}
