//! Entries: made of drafts, asked for, and what follows when one is durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::requests::Wanted;
use super::run::Running;
use super::snapshot::Place;
use super::start::{self, Inputs, Start};
use super::work;
use crate::host::Order;
use crate::log::{ChunkRef, Closed, Created, Entry, EntryKind, ReadBack, State};
use crate::protocol::{Draft, Event, Head, Lists, Token};
use crate::restore::place_start;
use crate::{Error, ErrorKind, Position, Result};

/// The pause before a position is asked for again: doubled each time, jittered.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A store that refused a position so often will not take it: about two minutes.
const ASKED_MAX: u32 = 120;

impl Running {
    /// The newest entry is known: check that it can be restored into this graph, before the claim.
    pub(super) fn on_looked(&mut self, entry: Option<Entry>) -> Result<()> {
        // I5: nothing of an earlier claim counts; the next one is made of what is found now.
        let head = entry.map(Arc::new);
        self.standing.looked(head.clone());
        self.requests.looked();
        let restored = self.restoring.looked(head.as_deref())?;
        let state = head.as_ref().and_then(|head| head.state.as_ref());
        place_start(restored, state, &self.graph.uids(), &self.config.allow_dropped_state)?;
        let pending = state.map(State::pending).unwrap_or_default();
        let mut lists = Lists::new();
        for (index, uid) in (0..).zip(&self.sinks) {
            for body in pending.sinks.get(uid).into_iter().flatten() {
                lists.entry(body.epoch).or_default().insert(index);
            }
        }
        self.building.restore_pending(&pending);
        self.events.push_back(Event::Looked(head.map(|head| Head {
            position: head.position,
            epoch: head.epoch,
            lists,
            finished: head.kind == EntryKind::Closed(Closed::Finished) && self.restoring.chosen().is_none(),
        })));
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
            return Err(self.requests.explain(error));
        }
        if let EntryKind::Closed(_) = draft.kind {
            // All that the host had to give is committed. From here on the entry may stand, and whatever fails there
            // must not make the job look as if it had not ended.
            self.link.cut();
        }
        let pause = match retry {
            0 => Duration::ZERO,
            again => self.clocks.pause(PAUSE_MIN..=PAUSE_MAX, again),
        };
        // The machine judged just now whether what the draft lists lives long enough.
        let until = Instant::now() + pause + self.deadlines.append_timeout();
        if draft.kind == EntryKind::Checkpoint {
            self.building.apply(draft.epoch)?;
            if let Some(taken) = self.phases.append_begun(draft.epoch, Instant::now()) {
                self.progress.send_modify(|progress| progress.prepare = taken);
            }
        }
        let wanted = Wanted { token, position, draft, pause, until };
        if matches!(wanted.draft.kind, EntryKind::Checkpoint | EntryKind::Start) {
            let large = self.building.large_segments(wanted.draft.epoch);
            if !large.is_empty() {
                let (log, attempt) = (self.log.clone(), self.attempt_number());
                let call_timeout = self.deadlines.call_timeout();
                self.work.push(Box::pin(work::write_chunks(log, attempt, token, large, call_timeout)));
                self.requests.chunking(wanted);
                return Ok(());
            }
        }
        self.ask(wanted);
        Ok(())
    }

    /// What was written of the large segments is in its place now; with all of it the entry is asked for.
    pub(super) fn on_chunked(&mut self, token: Token, chunks: Vec<(Place, ChunkRef)>, failed: Option<Error>) {
        for (place, chunk) in chunks {
            self.building.replace(&place, chunk);
        }
        let Some(wanted) = self.requests.chunked(token) else { return };
        if let Some(error) = failed {
            self.requests.failed("state could not be stored", error);
            self.events.push_back(Event::Unknown(token));
        } else if Instant::now() >= wanted.until {
            // It took so long that what the entry lists must be judged anew. The chunks are there by now.
            tracing::warn!(epoch = %wanted.draft.epoch, "large state was stored slowly");
            self.events.push_back(Event::Unknown(token));
        } else {
            self.ask(wanted);
        }
    }

    fn ask(&mut self, Wanted { token, position, draft, pause, until }: Wanted) {
        let entry = Arc::new(self.entry(position, &draft));
        self.requests.asked(token, Arc::clone(&entry));
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
        let (lineage, obeyed) = self.standing.lineage(draft.kind, position, self.clocks.wall_ms());
        Entry {
            job: self.config.job.clone(),
            position,
            kind: draft.kind,
            nonce: self.log.nonce(),
            attempt: if draft.kind == EntryKind::Claim { position } else { self.attempt_number() },
            lineage,
            created_at: self.clocks.wall(),
            epoch: draft.epoch,
            obeyed,
            state,
            abandoned: BTreeMap::new(),
        }
    }

    /// The store answered a request.
    pub(super) fn on_appended(&mut self, token: Token, created: Result<Created>) {
        self.events.push_back(match created {
            Ok(Created::Ours(durable)) => {
                self.requests.created(token, durable);
                Event::Created(token)
            }
            Ok(Created::Taken) => Event::Taken(token),
            Err(error) => {
                self.requests.failed("an entry may not have been stored", error);
                Event::Unknown(token)
            }
        });
    }

    /// What stands at the position is known, or nothing is.
    pub(super) fn on_read_back(&mut self, found: Result<ReadBack>) -> Result<()> {
        let event = match found {
            Ok(ReadBack::Ours(durable, nonce)) => Event::FoundOurs(self.requests.found(&nonce, durable)?),
            Ok(ReadBack::Foreign(_)) => Event::FoundForeign,
            Ok(ReadBack::Absent) => Event::FoundNothing,
            Err(error) if error.kind() == ErrorKind::Corrupt => return Err(error),
            Err(error) => {
                self.requests.failed("the log cannot be read now", error);
                Event::FoundNothing
            }
        };
        self.events.push_back(event);
        Ok(())
    }

    /// An entry is durable and ours.
    pub(super) fn durable(&mut self, token: Token, position: Position) -> Result<()> {
        let stands = self.requests.stands(token);
        let (entry, proof) = stands.map_err(|error| error.with("position", position))?;
        self.standing.durable(&entry, proof)?;
        match entry.kind {
            EntryKind::Claim => self.claimed(),
            EntryKind::Start => {
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
        let chosen = self.restoring.chosen().map(|chosen| chosen.snapshot.id());
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
        self.intake.covered(entry.epoch);
        self.waiting.durable(entry);
        self.progress.send_modify(|progress| {
            progress.epoch = entry.epoch;
            progress.checkpoints += 1;
            progress.append = append.unwrap_or(progress.append);
        });
        self.link.order(Order::Completed { epoch: entry.epoch });
        self.acknowledge(now);
    }

    pub(super) fn resolve_start(&mut self) {
        let inputs = Inputs {
            log: self.log.clone(),
            attempt: self.attempt_number(),
            head: self.standing.head().cloned(),
            chosen: self.restoring.chosen().cloned(),
            sources: self.graph.sources.clone(),
            operators: self.graph.operators.iter().cloned().collect(),
            bounds: self.bounds(),
            wall_ms: self.clocks.wall_ms(),
        };
        self.work.push(Box::pin(async { work::Done::StartResolved(start::resolve(inputs).await) }));
    }

    /// The state of the start entry is found.
    pub(super) fn on_start_resolved(&mut self, start: Start) -> Result<()> {
        let Start { epoch, splits, operators, lineage } = start;
        self.building.sources = splits;
        self.building.restore_operators(operators);
        self.standing.begins(lineage)?;
        self.events.push_back(Event::StartResolved { epoch });
        Ok(())
    }
}
