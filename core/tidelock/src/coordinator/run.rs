//! The loop: whatever happens becomes an event of the machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Coordinator;
use super::books::Pruning;
use super::control::{Command, Ended, Progress};
use super::deadlines::Deadlines;
use super::phases::Phases;
use super::schedule::Schedule;
use super::snapshot::Building;
use super::standing::Standing;
use super::start::NewLineage;
use super::waiting::Waiting;
use super::work::{Done, Relisted, Work, reinit};
use crate::host::{News, Order, Report};
use crate::job::{Chosen, Graph, JobConfig, Settings};
use crate::log::{Created, Durable, Entry, Log, ReadBack};
use crate::patience::later;
use crate::protocol::{Action, Draft, End, Event, Limits, Machine, Millis, Token};
use crate::retry::Patience;
use crate::{Epoch, Error, ErrorKind, Position, Result, SplitId, Uid, WriterId};

/// A writer that waits for a settled epoch waits at most this long for one where the next checkpoint is
/// far off.
const SETTLE_IDLE_AFTER: Duration = Duration::from_secs(1);

/// A report that waits for discovery: children enter the same snapshot as their parent's end.
#[derive(Debug)]
struct Held {
    report: Report,
    /// How many discovery requests of each source must be answered first.
    needs: BTreeMap<Uid, u64>,
}

/// An append whose large segments are being written as chunks.
#[derive(Debug)]
pub(super) struct Chunking {
    pub(super) token: Token,
    pub(super) position: Position,
    pub(super) draft: Draft,
    pub(super) pause: Duration,
    /// How long what the draft lists was judged to live.
    pub(super) until: Instant,
}

/// A running attempt.
pub(super) struct Running {
    pub(super) config: JobConfig,
    pub(super) deadlines: Deadlines,
    pub(super) log: Log,
    pub(super) graph: Graph,
    /// The sinks by the index that the machine knows them by.
    pub(super) sinks: Vec<Uid>,
    /// Whether the graph was built for a job with state.
    pub(super) opened_with_state: bool,
    pub(super) chosen: Option<Arc<Chosen>>,
    pub(super) orders: Option<mpsc::Sender<Order>>,
    pub(super) outbox: VecDeque<Order>,
    news: mpsc::Receiver<News>,
    commands: mpsc::Receiver<Command>,
    settings: watch::Receiver<Settings>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) chance: SmallRng,
    began: Instant,
    wall: jiff::Timestamp,
    pub(super) machine: Machine,
    pub(super) events: VecDeque<Event>,
    pub(super) work: FuturesUnordered<Work>,
    /// What is known of the log.
    pub(super) standing: Standing,
    /// Entries that are asked for at the position above [`Standing::below`], by request: empty once one of them
    /// is known to stand.
    pub(super) asked: BTreeMap<Token, Arc<Entry>>,
    pub(super) chunking: Option<Chunking>,
    /// I1: proofs of the entries whose commits are not confirmed.
    pub(super) durables: BTreeMap<Position, Durable>,
    /// What the start entry begins, from the moment when its state is found until it is durable.
    pub(super) new_lineage: Option<NewLineage>,
    pub(super) building: Building,
    pub(super) recovering: usize,
    held: VecDeque<Held>,
    /// When the barriers were sent that no durable entry covers yet.
    pub(super) barriers: BTreeMap<Epoch, Millis>,
    input_ended: bool,
    pub(super) reinit: BTreeMap<Epoch, BTreeMap<Uid, BTreeSet<WriterId>>>,
    pub(super) schedule: Schedule,
    pub(super) phases: Phases,
    pub(super) waiting: Waiting,
    pub(super) pruning: Pruning,
    pub(super) stop_savepoint: Option<String>,
    pub(super) settle_idle_at: Option<Instant>,
    next_discovery: Instant,
    next_sweep: Instant,
    pub(super) sweeping: bool,
    /// The host opens until then, or not at all.
    pub(super) open_until: Option<Instant>,
    pub(super) acknowledged: Option<Instant>,
    pub(super) acknowledging: bool,
    pub(super) store_error: Option<Error>,
    pub(super) end: Option<End>,
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
            log,
            deadlines,
            sinks,
            opened_with_state: restored.is_some(),
            chosen: chosen.map(Arc::new),
            orders: Some(orders),
            outbox: VecDeque::new(),
            news,
            commands,
            settings,
            progress,
            chance: SmallRng::seed_from_u64(seed),
            began: now,
            wall,
            machine: Machine::new(limits),
            events: VecDeque::new(),
            work: FuturesUnordered::new(),
            standing: Standing::default(),
            asked: BTreeMap::new(),
            chunking: None,
            durables: BTreeMap::new(),
            new_lineage: None,
            building: Building::default(),
            recovering: 0,
            held: VecDeque::new(),
            barriers: BTreeMap::new(),
            input_ended: false,
            reinit: BTreeMap::new(),
            schedule: Schedule::new(config.settings.clone(), now),
            phases: Phases::new(config.job.clone()),
            waiting: Waiting::default(),
            pruning: Pruning::default(),
            stop_savepoint: None,
            settle_idle_at: None,
            next_discovery: later(now, config.discovery_interval),
            next_sweep: later(now, config.sweep_interval),
            sweeping: false,
            open_until: None,
            acknowledged: None,
            acknowledging: false,
            store_error: None,
            end: None,
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
                sent = send_first(self.orders.as_ref(), &self.outbox), if !self.outbox.is_empty() => {
                    if sent {
                        self.outbox.pop_front();
                    } else {
                        return Err(host_ended());
                    }
                }
                news = self.news.recv(), if self.orders.is_some() => match news {
                    Some(news) => self.on_news(news)?,
                    None => return Err(host_ended()),
                },
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
            let now = self.now();
            tracing::trace!(?event, "event");
            self.machine.step(now, event, &mut actions);
            for action in actions.drain(..) {
                tracing::trace!(?action, "action");
                self.perform(action)?;
            }
        }
        Ok(())
    }

    pub(super) fn now(&self) -> Millis {
        millis(self.began.elapsed())
    }

    /// The wall clock, as it was at the beginning plus the time since: for people and for generations.
    pub(super) fn wall(&self) -> jiff::Timestamp {
        jiff::SignedDuration::try_from(self.began.elapsed())
            .ok()
            .and_then(|elapsed| self.wall.checked_add(elapsed).ok())
            .unwrap_or(self.wall)
    }

    pub(super) fn attempt_number(&self) -> Position {
        self.standing.number()
    }

    /// How long sources, sinks and the store are waited for.
    pub(super) fn patience(&mut self) -> Patience {
        Patience { jitter_seed: self.chance.random(), call_timeout: self.deadlines.call_timeout() }
    }

    fn wake_at(&self) -> Instant {
        let mut wake = self.next_discovery.min(self.next_sweep);
        if self.machine.may_send_barrier() {
            wake = wake.min(self.schedule.barrier_due());
        }
        let timeout = self.schedule.timeout().map(|(_, at)| at);
        let at = [timeout, self.settle_idle_at, self.open_until, self.pruning.load_again_at()];
        at.into_iter().flatten().fold(wake, Instant::min)
    }

    /// Whatever the clock makes due.
    fn on_time(&mut self) -> Result<()> {
        let now = Instant::now();
        if self.open_until.is_some_and(|until| now >= until) {
            return Err(self.never_opened());
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
        if self.settle_idle_at.is_some_and(|at| now >= at) {
            self.settle_idle_at = None;
            self.events.push_back(Event::SettleWanted);
        }
        if now >= self.next_discovery {
            self.next_discovery = later(now, self.config.discovery_interval);
            if self.machine.is_running() {
                self.building.sources.values_mut().for_each(super::splits::Splits::want_discovery);
                self.pump_discovery();
            }
        }
        if now >= self.next_sweep {
            self.next_sweep = later(now, self.config.sweep_interval);
            self.sweep();
        }
        Ok(())
    }

    /// Settings that [`Control`](super::Control) let through: they are checked where they are set.
    fn on_settings(&mut self) {
        let settings = self.settings.borrow_and_update().clone();
        self.events.push_back(Event::TolerableFailures(settings.tolerable_failures));
        self.schedule.set(settings);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Checkpoint(answer) => {
                self.waiting.for_checkpoint(answer);
                self.schedule.force();
            }
            Command::Savepoint { url, answer } => {
                self.waiting.for_savepoint(url, answer);
                self.schedule.force();
            }
            Command::Stop { savepoint } => {
                // Nobody who asks for less takes it away: a signal right behind it, say.
                self.stop_savepoint = savepoint.or(self.stop_savepoint.take());
                self.events.push_back(Event::StopWanted);
            }
            Command::Cancel => self.events.push_back(Event::CancelWanted),
        }
    }

    fn on_news(&mut self, news: News) -> Result<()> {
        match news {
            News::Opened => self.on_opened(),
            News::Report(report) => self.on_report(report)?,
            News::SplitFinished { uid, id } => self.split_finished(&uid, id)?,
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
        self.open_until = None;
        self.events.push_back(Event::Opened);
        self.schedule.open(Instant::now());
        for (uid, splits) in &mut self.building.sources {
            for split in splits.unfinished() {
                self.outbox.push_back(Order::Assign { uid: uid.clone(), split: split.clone() });
            }
            splits.want_discovery();
        }
        self.pump_discovery();
    }

    fn split_finished(&mut self, uid: &Uid, id: SplitId) -> Result<()> {
        let splits = self.building.sources.get_mut(uid).ok_or_else(|| {
            Error::new(ErrorKind::Bug, "report", "the host finished a split of a source that the graph lacks")
                .with("source", uid)
        })?;
        if splits.finish(id) {
            self.pump_discovery();
        }
        Ok(())
    }

    fn on_report(&mut self, report: Report) -> Result<()> {
        if report.attempt != self.attempt_number() {
            return Err(Error::new(ErrorKind::Bug, "report", "a task of another attempt reported")
                .with("attempt", self.attempt_number())
                .with("reported_by", report.attempt));
        }
        let mut needs = BTreeMap::new();
        for (uid, moved) in &report.sources {
            for split in moved.iter().filter(|split| split.finished) {
                self.split_finished(uid, split.id.clone())?;
            }
            if moved.iter().any(|split| split.finished)
                && let Some(splits) = self.building.sources.get(uid)
            {
                needs.insert(uid.clone(), splits.discoveries_wanted());
            }
        }
        if let Some(uid) = report.sinks.keys().find(|uid| !self.sinks.contains(uid)) {
            return Err(Error::new(
                ErrorKind::Bug,
                "report",
                "a task prepared data for a sink that the graph lacks",
            )
            .with("sink", uid));
        }
        self.held.push_back(Held { report, needs });
        self.release_reports();
        Ok(())
    }

    /// Hands reports to the machine, in the order of their arrival, once discovery has answered.
    fn release_reports(&mut self) {
        let answered = |held: &Held, building: &Building| {
            held.needs.iter().all(|(uid, wanted)| {
                building.sources.get(uid).is_none_or(|splits| splits.discoveries_answered() >= *wanted)
            })
        };
        while self.held.front().is_some_and(|held| answered(held, &self.building)) {
            let Some(Held { report, .. }) = self.held.pop_front() else { break };
            // What remains was counted from the return of `prepare`, by a clock that may be another
            // process's. The barrier was sent before that, so its time can only err towards caution; the
            // report's arrival could not, because reports are delayed and processes stand still.
            let sent = self.barriers.get(&report.epoch).copied().unwrap_or_default();
            let index = |uid: &Uid| {
                self.sinks.iter().position(|sink| sink == uid).and_then(|index| index.try_into().ok())
            };
            let prepared = report.sinks.iter().filter(|(_, prepared)| !prepared.is_empty());
            let expires = report.sinks.values().flatten().filter_map(|prepared| prepared.expires_in).min();
            self.events.push_back(Event::Reported {
                epoch: report.epoch,
                task: report.task,
                prepared: prepared.filter_map(|(uid, _)| index(uid)).collect(),
                expires_at: expires.map(|expires| sent.saturating_add(millis(expires))),
            });
            self.building.report(self.attempt_number(), report);
        }
    }

    /// Asks every source that wants it and is not being asked, and notices the end of input.
    pub(super) fn pump_discovery(&mut self) {
        let mut wanted = Vec::new();
        for (uid, splits) in &mut self.building.sources {
            if let Some(known) = splits.begin_discovery(false) {
                wanted.push((uid.clone(), known));
            }
        }
        for (uid, known) in wanted {
            let control = Arc::clone(&self.graph.sources[&uid]);
            let patience = self.patience();
            self.work.push(Box::pin(super::work::discover(uid, control, known, patience)));
        }
        let sources = &self.building.sources;
        let exhausted = !sources.is_empty() && sources.values().all(super::splits::Splits::is_exhausted);
        if exhausted && !self.input_ended {
            self.input_ended = true;
            self.outbox.push_back(Order::EndOfInput);
            self.events.push_back(Event::InputEnded);
        }
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
                self.recovering -= 1;
                if self.recovering == 0 {
                    self.events.push_back(Event::Recovered);
                }
            }
            Done::StartResolved(start) => self.on_start_resolved(start?),
            Done::Committed { sink, epoch, groups, result, again } => {
                let uid = self.sinks[usize::from(sink)].clone();
                let committed = result.map_err(|error| error.with("uid", &uid).with("epoch", epoch))?;
                let writers = self.building.confirm(&groups, &uid, self.attempt_number());
                let reinit = reinit(committed, again, writers);
                if !reinit.is_empty() {
                    self.reinit.entry(epoch).or_default().entry(uid).or_default().extend(reinit);
                }
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
            Done::Acknowledged(result) => {
                self.acknowledging = false;
                if let Err(error) = result {
                    tracing::warn!(%error, "positions were not exported to the source; nothing depends on it");
                }
            }
        }
        Ok(())
    }

    fn on_discovered(
        &mut self,
        uid: &Uid,
        found: Result<crate::Discovery<crate::StoredSplit>>,
    ) -> Result<()> {
        let next = self.machine.next_epoch();
        if let Some(splits) = self.building.sources.get_mut(uid) {
            let new =
                found.and_then(|found| splits.found(found, next)).map_err(|error| error.with("uid", uid))?;
            let assign = |split| Order::Assign { uid: uid.clone(), split };
            self.outbox.extend(new.into_iter().map(assign));
        }
        self.release_reports();
        self.pump_discovery();
        Ok(())
    }

    fn on_appended(&mut self, token: Token, created: Result<Created>) {
        self.events.push_back(match created {
            Ok(Created::Ours(durable)) => {
                self.durables.insert(durable.position(), durable);
                Event::Created(token)
            }
            Ok(Created::Taken) => Event::Taken(token),
            Err(error) => {
                tracing::warn!(%error, "an entry may not have been stored");
                self.store_error = Some(error);
                Event::Unknown(token)
            }
        });
    }

    fn on_read_back(&mut self, found: Result<ReadBack>) -> Result<()> {
        let event = match found {
            Ok(ReadBack::Ours(durable, nonce)) => {
                let token =
                    self.asked.iter().find(|(_, entry)| entry.nonce == nonce).map(|(token, _)| *token);
                self.durables.insert(durable.position(), durable);
                Event::FoundOurs(token.ok_or_else(|| {
                    Error::new(
                        ErrorKind::Bug,
                        "read back",
                        "an entry has a nonce of ours that was not asked with",
                    )
                })?)
            }
            Ok(ReadBack::Foreign(_)) => Event::FoundForeign,
            Ok(ReadBack::Absent) => Event::FoundNothing,
            Err(error) if error.kind() == ErrorKind::Corrupt => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the log cannot be read now");
                self.store_error = Some(error);
                Event::FoundNothing
            }
        };
        self.events.push_back(event);
        Ok(())
    }

    fn never_opened(&self) -> Error {
        Error::new(
            ErrorKind::Unavailable,
            "open",
            "the host did not open its readers, operators and writers in time: a sink, a source or a restore hangs",
        )
        .with("call_timeout", format_args!("{:?}", self.deadlines.call_timeout()))
    }

    pub(super) fn confirmed(&mut self, epoch: Epoch) {
        let now = Instant::now();
        if let Some(taken) = self.phases.confirmed(epoch, now) {
            self.progress.send_modify(|progress| progress.commit = taken);
        }
        if !self.machine.is_settled() {
            self.settle_idle_at.get_or_insert(now + SETTLE_IDLE_AFTER);
        }
    }
}

/// Milliseconds, as the machine counts them.
pub(super) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// Sends a copy of the first waiting order when the host has room. `false`: the host is gone.
async fn send_first(orders: Option<&mpsc::Sender<Order>>, outbox: &VecDeque<Order>) -> bool {
    let (Some(orders), Some(first)) = (orders, outbox.front()) else { return true };
    match orders.reserve().await {
        Ok(permit) => {
            permit.send(first.clone());
            true
        }
        Err(_) => false,
    }
}

/// Indefinite, and no proof of a defect: whoever was to tell may have ended first.
fn host_ended() -> Error {
    Error::new(ErrorKind::Other, "run", "the host ended without telling why")
}
