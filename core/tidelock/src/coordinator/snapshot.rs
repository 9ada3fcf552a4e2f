//! The state of the job as reports build it up, epoch by epoch, and the entries made of it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::splits::Splits;
use crate::host::{Change, PartChange, Report};
use crate::log::{ChunkRef, INLINE_MAX, PendingState, State};
use crate::protocol::Lists;
use crate::{Epoch, Error, ErrorKind, Position, Result, Segment, SplitState, Uid, WriterId};

/// Where a segment stands in [`Building`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Source { uid: Uid, index: usize },
    Operator { uid: Uid, part: String, index: usize },
    Sink { uid: Uid, epoch: Epoch, index: usize },
}

/// State in the making.
#[derive(Debug, Default)]
pub(super) struct Building {
    pub(super) sources: BTreeMap<Uid, Splits>,
    operators: BTreeMap<Uid, BTreeMap<String, Vec<Segment>>>,
    /// I3: the bodies of everything prepared and not confirmed.
    pending: BTreeMap<Epoch, BTreeMap<Uid, Vec<PendingState>>>,
    /// Reports of epochs that are not applied yet.
    reports: BTreeMap<Epoch, Vec<Report>>,
}

impl Building {
    /// Takes what an entry lists as pending.
    pub(super) fn restore_pending(&mut self, state: &State) {
        self.pending.clear();
        for (uid, pending) in &state.sinks {
            for body in pending {
                let epoch = self.pending.entry(body.epoch).or_default();
                epoch.entry(uid.clone()).or_default().push(body.clone());
            }
        }
    }

    /// Takes the operators of the snapshot that the job starts from.
    pub(super) fn restore_operators(&mut self, operators: BTreeMap<Uid, BTreeMap<String, Vec<Segment>>>) {
        self.operators = operators;
    }

    /// The state of the operators, as of the last applied epoch.
    pub(super) fn operators(&self) -> &BTreeMap<Uid, BTreeMap<String, Vec<Segment>>> {
        &self.operators
    }

    /// Keeps a report until its epoch is stored; what it prepared is pending from now on.
    pub(super) fn report(&mut self, attempt: Position, mut report: Report) {
        let epoch = report.epoch;
        for (uid, prepared) in std::mem::take(&mut report.sinks) {
            let bodies = prepared.into_iter().map(|prepared| PendingState {
                epoch,
                attempt,
                writer: prepared.writer,
                version: prepared.committable.version,
                committable: Segment::Json(prepared.committable.json),
                chunks: prepared.chunks,
            });
            self.pending.entry(epoch).or_default().entry(uid).or_default().extend(bodies);
        }
        self.reports.entry(epoch).or_default().push(report);
    }

    /// Applies all reports up to an epoch, in the order of epochs.
    pub(super) fn apply(&mut self, epoch: Epoch) -> Result<()> {
        let later = self.reports.split_off(&epoch.next());
        for (epoch, reports) in std::mem::replace(&mut self.reports, later) {
            let mut splits: BTreeMap<Uid, Vec<SplitState>> = BTreeMap::new();
            for report in reports {
                for (uid, moved) in report.sources {
                    splits.entry(uid).or_default().extend(moved);
                }
                for (uid, changes) in report.operators {
                    self.change_operator(&uid, changes)?;
                }
            }
            for (uid, source) in &mut self.sources {
                source.apply(epoch, splits.remove(uid).unwrap_or_default())?;
            }
            if let Some(uid) = splits.keys().next() {
                return Err(unknown_uid("source", uid));
            }
        }
        Ok(())
    }

    fn change_operator(&mut self, uid: &Uid, changes: Vec<PartChange>) -> Result<()> {
        let parts = self.operators.get_mut(uid).ok_or_else(|| unknown_uid("operator", uid))?;
        for PartChange { part, change } in changes {
            match change {
                Change::Base(segment) => {
                    parts.insert(part, vec![segment]);
                }
                Change::Delta(segment) => parts.entry(part).or_default().push(segment),
                Change::Remove => {
                    parts.remove(&part);
                }
            }
        }
        Ok(())
    }

    /// The state as of the last applied epoch, with what `lists` says is pending.
    pub(super) fn state(&self, sinks: &[Uid], lists: &Lists) -> State {
        State {
            sources: self
                .sources
                .iter()
                .map(|(uid, splits)| (uid.clone(), splits.segments().to_vec()))
                .collect(),
            operators: self.operators.clone(),
            sinks: self.pending(sinks, lists),
        }
    }

    /// What is pending for each sink. I4: every sink is named, also with nothing.
    pub(super) fn pending(&self, sinks: &[Uid], lists: &Lists) -> BTreeMap<Uid, Vec<PendingState>> {
        let mut pending: BTreeMap<Uid, Vec<PendingState>> =
            sinks.iter().map(|uid| (uid.clone(), Vec::new())).collect();
        for (epoch, listed) in lists {
            for index in listed {
                let uid = &sinks[usize::from(*index)];
                pending.entry(uid.clone()).or_default().extend_from_slice(self.bodies(*epoch, uid));
            }
        }
        pending
    }

    /// What one sink has pending of one epoch.
    pub(super) fn bodies(&self, epoch: Epoch, uid: &Uid) -> &[PendingState] {
        self.pending.get(&epoch).and_then(|sinks| sinks.get(uid)).map_or(&[], Vec::as_slice)
    }

    /// Forgets what a sink confirmed; returns the writers of `attempt` among it.
    pub(super) fn confirm(&mut self, epochs: &[Epoch], uid: &Uid, attempt: Position) -> Vec<WriterId> {
        let mut writers = Vec::new();
        for epoch in epochs {
            let Some(sinks) = self.pending.get_mut(epoch) else { continue };
            let confirmed = sinks.remove(uid).unwrap_or_default();
            writers.extend(confirmed.iter().filter(|body| body.attempt == attempt).map(|body| body.writer));
            if sinks.is_empty() {
                self.pending.remove(epoch);
            }
        }
        writers
    }

    /// The segments up to `epoch` that are too large for a manifest, with their bytes.
    pub(super) fn large_segments(&self, epoch: Epoch) -> Vec<(Place, Bytes)> {
        let mut large = Vec::new();
        let mut note = |segment: &Segment, place: &dyn Fn() -> Place| {
            if segment.size() > INLINE_MAX {
                match segment {
                    Segment::Json(json) => {
                        large.push((place(), Bytes::copy_from_slice(json.get().as_bytes())))
                    }
                    Segment::Bytes(bytes) => large.push((place(), bytes.clone())),
                    Segment::Chunk(_) => {}
                }
            }
        };
        for (uid, splits) in &self.sources {
            for (index, segment) in splits.segments().iter().enumerate() {
                note(segment, &|| Place::Source { uid: uid.clone(), index });
            }
        }
        for (uid, parts) in &self.operators {
            for (part, segments) in parts {
                for (index, segment) in segments.iter().enumerate() {
                    note(segment, &|| Place::Operator { uid: uid.clone(), part: part.clone(), index });
                }
            }
        }
        for (epoch, sinks) in self.pending.range(..=epoch) {
            for (uid, bodies) in sinks {
                for (index, body) in bodies.iter().enumerate() {
                    note(&body.committable, &|| Place::Sink { uid: uid.clone(), epoch: *epoch, index });
                }
            }
        }
        large
    }

    /// Puts a chunk in the place of a segment. What was confirmed meanwhile has no place any more.
    pub(super) fn replace(&mut self, place: &Place, chunk: ChunkRef) {
        let segment = match place {
            Place::Source { uid, index } => {
                self.sources.get_mut(uid).and_then(|splits| splits.segments_mut().get_mut(*index))
            }
            Place::Operator { uid, part, index } => self
                .operators
                .get_mut(uid)
                .and_then(|parts| parts.get_mut(part))
                .and_then(|segments| segments.get_mut(*index)),
            Place::Sink { uid, epoch, index } => self
                .pending
                .get_mut(epoch)
                .and_then(|sinks| sinks.get_mut(uid))
                .and_then(|bodies| bodies.get_mut(*index))
                .map(|body| &mut body.committable),
        };
        if let Some(segment) = segment {
            *segment = Segment::Chunk(chunk);
        }
    }
}

fn unknown_uid(what: &'static str, uid: &Uid) -> Error {
    Error::new(ErrorKind::Bug, "report", "a task reported a uid that the graph does not have").with(what, uid)
}
