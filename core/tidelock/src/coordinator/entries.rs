//! Entries: made of drafts, asked for, and what follows when one is durable.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use super::run::{Chunking, Running};
use super::snapshot::Place;
use super::start::{self, Inputs, Start, changed_since_open, next_generation};
use super::{splits, work};
use crate::host::Order;
use crate::log::{ChunkRef, Closed, Entry, EntryKind, Lineage, State};
use crate::protocol::{Draft, Event, Head, Lists, Token};
use crate::restore::place_start;
use crate::{Epoch, Error, ErrorKind, Generation, Position, Result, Retry, Stored};

/// The pause before a position is asked for again: doubled each time, jittered.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A store that refused a position so often will not take it: about two minutes.
const ASKED_MAX: u32 = 120;
/// Positions are exported to sources at most this often: it is for monitors only.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(1);

impl Running {
    /// The newest entry is known: check that it can be restored into this graph, before the claim.
    pub(super) fn on_looked(&mut self, entry: Option<Entry>) -> Result<()> {
        // I5: nothing of an earlier claim counts; the next one is made of what is found now.
        self.standing.looked(None);
        self.durables.clear();
        self.building.restore_pending(&State::default());
        if let (Some(entry), Some(chosen)) = (&entry, &self.chosen)
            && chosen.is_obeyed_in(entry)
        {
            self.chosen = None;
        }
        let state = entry.as_ref().and_then(|entry| entry.state.as_ref());
        let restored = self.chosen.as_ref().map(|chosen| chosen.snapshot.state()).or(state);
        if restored.is_some() != self.opened_with_state {
            return Err(changed_since_open());
        }
        let graph = self.graph.uids();
        place_start(restored, state, &graph, &self.config.allow_dropped_state)?;
        let mut lists = Lists::new();
        if let Some(state) = state {
            let pending = state.pending();
            for (index, uid) in (0..).zip(&self.sinks) {
                for body in pending.sinks.get(uid).into_iter().flatten() {
                    lists.entry(body.epoch).or_default().insert(index);
                }
            }
            self.building.restore_pending(&pending);
        }
        let head = entry.map(Arc::new);
        self.events.push_back(Event::Looked(head.as_ref().map(|entry| Head {
            position: entry.position,
            epoch: entry.epoch,
            lists,
            finished: entry.kind == EntryKind::Closed(Closed::Finished) && self.chosen.is_none(),
        })));
        self.standing.looked(head);
        Ok(())
    }

    /// Asks for an entry; large segments become chunks first.
    pub(super) fn append(
        &mut self,
        token: Token,
        position: Position,
        draft: Draft,
        retry: u32,
    ) -> Result<()> {
        if retry >= ASKED_MAX {
            let error =
                Error::new(ErrorKind::Unavailable, "append", "the log's store does not take an entry")
                    .with("position", position);
            return Err(match self.store_error.take() {
                Some(cause) => error.because(cause),
                None => error,
            });
        }
        let pause = self.pause(retry);
        // The machine judged just now whether what the draft lists lives long enough.
        let until = Instant::now() + pause + self.deadlines.append_timeout();
        if draft.kind == EntryKind::Checkpoint {
            self.building.apply(draft.epoch)?;
            if let Some(taken) = self.phases.append_begun(draft.epoch, Instant::now()) {
                self.progress.send_modify(|progress| progress.prepare = taken);
            }
        }
        if matches!(draft.kind, EntryKind::Checkpoint | EntryKind::Start) {
            let large = self.building.large_segments(draft.epoch);
            if !large.is_empty() {
                let (log, attempt) = (self.log.clone(), self.attempt_number());
                let call_timeout = self.deadlines.call_timeout();
                self.work.push(Box::pin(work::write_chunks(log, attempt, token, large, call_timeout)));
                self.chunking = Some(Chunking { token, position, draft, pause, until });
                return Ok(());
            }
        }
        self.ask(Chunking { token, position, draft, pause, until });
        Ok(())
    }

    /// What was written of the large segments is in its place now; with all of it the entry is asked for.
    pub(super) fn on_chunked(&mut self, token: Token, chunks: Vec<(Place, ChunkRef)>, failed: Option<Error>) {
        for (place, chunk) in chunks {
            self.building.replace(&place, chunk);
        }
        let Some(chunking) = self.chunking.take_if(|waits| waits.token == token) else { return };
        if let Some(error) = failed {
            tracing::warn!(%error, "state could not be stored");
            self.store_error = Some(error);
            self.events.push_back(Event::Unknown(token));
        } else if Instant::now() >= chunking.until {
            // It took so long that what the entry lists must be judged anew. The chunks are there by now.
            tracing::warn!(epoch = %chunking.draft.epoch, "large state was stored slowly");
            self.events.push_back(Event::Unknown(token));
        } else {
            self.ask(chunking);
        }
    }

    fn pause(&mut self, retry: u32) -> Duration {
        if retry == 0 {
            return Duration::ZERO;
        }
        let longest = PAUSE_MIN.saturating_mul(1 << retry.min(16)).min(PAUSE_MAX);
        longest.mul_f64(self.chance.random_range(0.5..1.0))
    }

    fn ask(&mut self, Chunking { token, position, draft, pause, until }: Chunking) {
        let entry = Arc::new(self.entry(position, &draft));
        self.asked.insert(token, Arc::clone(&entry));
        self.work.push(Box::pin(work::append(self.log.clone(), token, entry, pause, until)));
    }

    fn entry(&self, position: Position, draft: &Draft) -> Entry {
        let before = self.standing.below();
        let state = match draft.kind {
            EntryKind::Claim => before.and_then(|entry| entry.state.clone()),
            EntryKind::Start | EntryKind::Checkpoint => Some(self.building.state(&self.sinks, &draft.lists)),
            EntryKind::Confirmation | EntryKind::Closed(_) => {
                let sinks = self.building.pending(&self.sinks, &draft.lists);
                before.and_then(|entry| entry.state.clone()).map(|state| State { sinks, ..state })
            }
        };
        let mut lineage = match before {
            Some(entry) => entry.lineage.clone(),
            None => Lineage { id: position, generation: self.first_generation(), origin: None },
        };
        let mut obeyed = before.map(|entry| entry.obeyed.clone()).unwrap_or_default();
        if draft.kind == EntryKind::Start
            && let Some(new) = &self.new_lineage
        {
            lineage = Lineage { id: position, generation: new.generation, origin: Some(new.origin.clone()) };
            obeyed.push(new.request.clone());
        }
        Entry {
            job: self.config.job.clone(),
            position,
            kind: draft.kind,
            nonce: self.log.nonce(),
            attempt: if draft.kind == EntryKind::Claim { position } else { self.attempt_number() },
            lineage,
            created_at: self.wall(),
            epoch: draft.epoch,
            obeyed,
            state,
            abandoned: std::collections::BTreeMap::new(),
        }
    }

    fn first_generation(&self) -> Generation {
        next_generation(Generation(0), self.wall_ms())
    }

    fn wall_ms(&self) -> u64 {
        u64::try_from(self.wall().as_millisecond()).unwrap_or(0)
    }

    /// An entry is durable and ours.
    pub(super) fn durable(&mut self, token: Token, position: Position) -> Result<()> {
        let entry = self.asked.remove(&token).ok_or_else(|| {
            Error::new(ErrorKind::Bug, "append", "an entry is durable that was not asked for")
                .with("position", position)
        })?;
        self.asked.retain(|_, asked| asked.position > position);
        self.store_error = None;
        self.standing.durable(&entry)?;
        match entry.kind {
            EntryKind::Claim => self.claimed(),
            EntryKind::Start => {
                self.new_lineage = None;
                self.progress.send_modify(|progress| progress.attempt = self.standing.attempt().cloned());
                self.load_books();
            }
            EntryKind::Checkpoint => self.checkpoint_durable(&entry),
            EntryKind::Confirmation | EntryKind::Closed(_) => {}
        }
        self.note_entry(&entry);
        Ok(())
    }

    fn claimed(&self) {
        tracing::info!(job = %self.config.job, attempt = %self.attempt_number(), "claimed");
        let chosen = self.chosen.as_ref().map(|chosen| chosen.snapshot.id());
        let head = self.standing.head();
        let newest = head.filter(|head| head.state.is_some()).map(|head| head.snapshot_id());
        self.progress.send_modify(|progress| {
            progress.attempt = self.standing.attempt().cloned();
            progress.restored = chosen.or(newest);
        });
    }

    fn checkpoint_durable(&mut self, entry: &Arc<Entry>) {
        let now = Instant::now();
        let append = self.phases.durable(entry.epoch, now);
        self.schedule.completed(entry.epoch, now);
        self.barriers = self.barriers.split_off(&entry.epoch.next());
        self.waiting.durable(entry);
        self.progress.send_modify(|progress| {
            progress.epoch = entry.epoch;
            progress.checkpoints += 1;
            progress.append = append.unwrap_or(progress.append);
        });
        self.outbox.push_back(Order::Completed { epoch: entry.epoch });
        self.acknowledge(now);
    }

    /// I2: what sources learn of durable positions is for monitors; it is never read back.
    fn acknowledge(&mut self, now: Instant) {
        if self.acknowledging || self.acknowledged.is_some_and(|last| now < last + ACKNOWLEDGE_EVERY) {
            return;
        }
        self.acknowledged = Some(now);
        self.acknowledging = true;
        let durable = |splits: &splits::Splits| -> Vec<Stored> {
            splits.unfinished().map(|split| split.split.clone()).collect()
        };
        let sources = self.building.sources.iter();
        let sources = sources.map(|(uid, splits)| (Arc::clone(&self.graph.sources[uid]), durable(splits)));
        self.work.push(Box::pin(work::acknowledge(sources.collect(), self.deadlines.call_timeout())));
    }

    pub(super) fn resolve_start(&mut self) {
        let inputs = Inputs {
            log: self.log.clone(),
            attempt: self.attempt_number(),
            head: self.standing.head().cloned(),
            chosen: self.chosen.clone(),
            sources: self.graph.sources.clone(),
            operators: self.graph.operators.iter().cloned().collect(),
            patience: self.patience(),
            wall_ms: self.wall_ms(),
        };
        self.work.push(Box::pin(async { work::Done::StartResolved(start::resolve(inputs).await) }));
    }

    pub(super) fn on_start_resolved(&mut self, start: Start) {
        let Start { epoch, splits, operators, lineage } = start;
        self.building.sources = splits;
        self.building.restore_operators(operators);
        self.new_lineage = lineage;
        self.events.push_back(Event::StartResolved { epoch });
    }

    pub(super) fn too_many_failures(&mut self, epoch: Epoch) -> Error {
        let error = Error::new(
            ErrorKind::Unavailable,
            "checkpoint",
            "too many checkpoints in a row took too long or could not be stored",
        )
        .with("epoch", epoch)
        .with("timeout", format_args!("{:?}", self.schedule.settings().timeout));
        match self.store_error.take() {
            Some(cause) => error.because(cause),
            None => error,
        }
    }

    pub(super) fn would_expire(&self, epoch: Epoch) -> Error {
        Error::new(
            ErrorKind::Expired,
            "checkpoint",
            "prepared data would expire before it could be committed; nothing is lost: the job restarts from the \
             snapshot before. Checkpoint more often, or let the target keep prepared data for longer",
        )
        .with_retry(Retry::Restart)
        .with("epoch", epoch)
        .with("commit_margin", format_args!("{:?}", self.config.commit_margin))
    }
}
