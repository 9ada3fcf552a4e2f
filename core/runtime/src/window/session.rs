//! Session windows.

use std::collections::HashMap;
use std::task::Poll;

use bytes::Bytes;
use foldhash::fast::RandomState;
use tidelock::Result;

use super::panes::{Pane, Panes};
use super::{Merge, Session};
use crate::batch::Millis;
use crate::counters::Counter;
use crate::key::group_of;
use crate::keyed::{KeyOf, Logic, Setting};
use crate::slice::Slice;
use crate::state::{StoredValue, Touch};

pub(super) struct SessionLogic<A: Merge> {
    key: KeyOf<A::In, A::Key>,
    session: Session,
    panes: Panes<A>,
    /// The starts of the sessions of each key.
    starts: HashMap<A::Key, Vec<Millis>, RandomState>,
    late: Counter,
}

impl<A: Merge> SessionLogic<A> {
    pub(super) fn new(key: KeyOf<A::In, A::Key>, session: Session, panes: Panes<A>, late: Counter) -> Self {
        Self { key, session, panes, starts: HashMap::default(), late }
    }

    /// The sessions of a key that a record between `from` and `to` belongs to, with their ends. One that ends where
    /// the record begins is another session: it is over when the watermark reaches that time, and records of that
    /// time may come before and after. Which of them join it must not depend on it.
    fn touching(&mut self, key: &A::Key, from: Millis, to: Millis) -> Vec<(Millis, Millis)> {
        let starts = self.starts.get(key).map_or(&[][..], Vec::as_slice);
        let table = &mut self.panes.table;
        let ends = starts.iter().filter_map(|start| {
            let end = table.with_existing(&(key.clone(), *start), |pane| (pane.end, Touch::Read))?;
            Some((*start, end))
        });
        ends.filter(|(start, end)| *start < to && from < *end).collect()
    }

    /// Makes one session, which begins at `start`, of all that a record touches.
    fn join(&mut self, key: &A::Key, start: Millis, touching: Vec<(Millis, Millis)>) {
        for (other, _) in touching.into_iter().filter(|(other, _)| *other != start) {
            let Some(pane) = self.remove(key, other) else { continue };
            let aggregate = &mut self.panes.aggregate;
            let is_new = self.panes.table.with(&(key.clone(), start), |joined| {
                let is_new = joined.end == Millis::MIN;
                joined.end = joined.end.max(pane.end);
                joined.revision = joined.revision.max(pane.revision);
                aggregate.merge(&mut joined.accumulator, pane.accumulator);
                (is_new, Touch::Changed)
            });
            if is_new {
                self.panes.look_at(pane.end, (key.clone(), start));
            }
        }
    }

    /// Takes a session out.
    fn remove(&mut self, key: &A::Key, start: Millis) -> Option<Pane<A::Accumulator>> {
        self.forget(key, start);
        let take = |pane: &mut Pane<A::Accumulator>| (std::mem::take(pane), Touch::Removed);
        self.panes.table.with_existing(&(key.clone(), start), take)
    }

    fn forget(&mut self, key: &A::Key, start: Millis) {
        if let Some(starts) = self.starts.get_mut(key) {
            starts.retain(|other| *other != start);
            if starts.is_empty() {
                self.starts.remove(key);
            }
        }
    }
}

impl<A: Merge> Logic for SessionLogic<A> {
    type In = A::In;
    type Out = A::Out;
    type Side = A::In;

    fn apply(&mut self, record: A::In, setting: &mut Setting<A::Out, A::In>) -> Result<()> {
        let time = setting.time.expect("invariant: a stream with windows has event time");
        let key = (self.key)(&record);
        let watermark = setting.watermark_of(|| group_of(&key))?;
        let alone = (time, time.saturating_add(self.session.gap));
        let touching = self.touching(&key, alone.0, alone.1);
        let start =
            touching.iter().map(|(start, _)| *start).min().map_or(alone.0, |start| start.min(alone.0));
        let end = touching.iter().map(|(_, end)| *end).max().map_or(alone.1, |end| end.max(alone.1));
        if self.panes.is_over(end, watermark) {
            self.late.add(1);
            setting.side.push(record, Some(time));
            return Ok(());
        }
        let pane_key = (key.clone(), start);
        if !touching.iter().any(|(other, _)| *other == start) {
            self.starts.entry(key.clone()).or_default().push(start);
        }
        self.join(&key, start, touching);
        // A session that had its result goes on, and waits for its new end.
        let reopened = self
            .panes
            .table
            .with_existing(&pane_key, |pane| (std::mem::replace(&mut pane.fired, false), Touch::Changed));
        if reopened == Some(true) {
            self.panes.look_at(end, pane_key.clone());
        }
        self.panes.add(pane_key, end, &record, watermark, &mut setting.out);
        Ok(())
    }

    fn fire(&mut self, setting: &mut Setting<A::Out, A::In>, slice: &mut Slice) -> Result<Poll<()>> {
        let mut gone = Vec::new();
        let fired = self.panes.fire(setting.watermark, &mut setting.out, slice, &mut gone);
        for (key, start) in gone {
            let exists = self.panes.table.with_existing(&(key.clone(), start), |_| ((), Touch::Read));
            if exists.is_none() {
                self.forget(&key, start);
            }
        }
        Ok(fired)
    }

    fn freeze(&mut self, slice: &mut Slice) -> Result<Poll<Option<Bytes>>> {
        self.panes.table.freeze(slice)
    }

    fn load(&mut self, key: &[u8], value: StoredValue<'_>) -> Result<()> {
        let (key, start) = self.panes.load(key, value)?;
        self.starts.entry(key).or_default().push(start);
        Ok(())
    }
}
