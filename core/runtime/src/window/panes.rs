//! The windows of all keys that are open: one pane for each key and window, stored by itself, so that a
//! checkpoint writes the windows that changed and no others.

use std::collections::BTreeMap;
use std::task::Poll;

use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result};

use super::{Aggregate, Window};
use crate::batch::Millis;
use crate::key::group_of;
use crate::keyed::Emit;
use crate::slice::Slice;
use crate::state::{Form, StoredValue, Table, Touch, decode};

/// A window of a key: the key and the window's start.
pub(super) type PaneKey<K> = (K, Millis);

/// What is stored for a pane. The accumulator comes last: the rest can be read where it is of an older
/// version.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pane<S> {
    pub(super) end: Millis,
    /// How many results it had.
    pub(super) revision: u32,
    /// Its result is out, and no record came since that it waits for.
    pub(super) fired: bool,
    pub(super) accumulator: S,
}

impl<S: Default> Default for Pane<S> {
    fn default() -> Self {
        Self { end: Millis::MIN, revision: 0, fired: false, accumulator: S::default() }
    }
}

type GroupOf<K> = fn(&PaneKey<K>) -> Result<u16>;
type PaneTable<K, S> = Table<PaneKey<K>, Pane<S>, GroupOf<K>>;

/// State belongs to the key, whatever the window.
fn group_of_key<K: Serialize>(pane: &PaneKey<K>) -> Result<u16> {
    group_of(&pane.0)
}

pub(super) struct Panes<A: Aggregate> {
    pub(super) aggregate: A,
    pub(super) table: PaneTable<A::Key, A::Accumulator>,
    /// When to look at a pane: at its end, and when its lateness is over.
    due: BTreeMap<Millis, Vec<PaneKey<A::Key>>>,
    /// Those that are due and were not looked at yet.
    firing: std::vec::IntoIter<PaneKey<A::Key>>,
    pub(super) lateness: Millis,
}

impl<A: Aggregate> Panes<A> {
    pub(super) fn new(aggregate: A, lateness: Millis) -> Self {
        let table = Table::new(Form::of::<A::Accumulator>(A::STATE_VERSION), group_of_key as GroupOf<A::Key>);
        Self { aggregate, table, due: BTreeMap::new(), firing: Vec::new().into_iter(), lateness }
    }

    /// Whether a window with this end takes no records any more.
    pub(super) fn is_over(&self, end: Millis, watermark: Millis) -> bool {
        end.saturating_add(self.lateness) <= watermark
    }

    /// Looks at a pane when the watermark reaches `at`.
    pub(super) fn look_at(&mut self, at: Millis, pane: PaneKey<A::Key>) {
        self.due.entry(at).or_default().push(pane);
    }

    /// Adds a record to a pane, which is made where it does not exist. A pane whose end has passed has
    /// a new result at once.
    pub(super) fn add(
        &mut self,
        pane_key: PaneKey<A::Key>,
        end: Millis,
        record: &A::In,
        watermark: Millis,
        out: &mut Emit<A::Out>,
    ) {
        let aggregate = &mut self.aggregate;
        let is_new = self.table.with(&pane_key, |pane| {
            let is_new = pane.end == Millis::MIN;
            pane.end = end;
            aggregate.add(&mut pane.accumulator, record);
            if end <= watermark {
                fire(aggregate, &pane_key, pane, out);
            }
            (is_new, Touch::Changed)
        });
        if is_new {
            let at = if end <= watermark { end.saturating_add(self.lateness) } else { end };
            self.look_at(at, pane_key);
        }
    }

    /// Fires and removes what is due, until the slice is over. Adds the panes that are gone to `gone`.
    pub(super) fn fire(
        &mut self,
        watermark: Millis,
        out: &mut Emit<A::Out>,
        slice: &mut Slice,
        gone: &mut Vec<PaneKey<A::Key>>,
    ) -> Poll<()> {
        loop {
            while let Some(pane_key) = self.firing.next() {
                match self.fire_one(&pane_key, watermark, out) {
                    Some(again) => self.look_at(again, pane_key),
                    None => gone.push(pane_key),
                }
                if slice.step() {
                    return Poll::Pending;
                }
            }
            match self.due.first_entry() {
                Some(entry) if *entry.key() <= watermark => self.firing = entry.remove().into_iter(),
                _ => return Poll::Ready(()),
            }
        }
    }

    /// Fires and removes a pane if it is due. Returns when to look at it again; `None` where it is gone.
    fn fire_one(
        &mut self,
        pane_key: &PaneKey<A::Key>,
        watermark: Millis,
        out: &mut Emit<A::Out>,
    ) -> Option<Millis> {
        let (aggregate, lateness) = (&mut self.aggregate, self.lateness);
        let look_again = self.table.with_existing(pane_key, |pane| {
            if pane.end > watermark {
                // A session that went on.
                return (Some(pane.end), Touch::Read);
            }
            let fires = !pane.fired;
            if fires {
                fire(aggregate, pane_key, pane, out);
            }
            let over = pane.end.saturating_add(lateness);
            match (over <= watermark, fires) {
                (true, _) => (None, Touch::Removed),
                (false, true) => (Some(over), Touch::Changed),
                (false, false) => (Some(over), Touch::Read),
            }
        });
        look_again.flatten()
    }

    /// Takes a restored pane. Returns its key.
    pub(super) fn load(&mut self, key: &[u8], value: StoredValue<'_>) -> Result<PaneKey<A::Key>> {
        let pane_key: PaneKey<A::Key> = decode(key)?;
        let pane = self.decode(value)?;
        let at = if pane.fired { pane.end.saturating_add(self.lateness) } else { pane.end };
        self.look_at(at, pane_key.clone());
        self.table.restore(pane_key.clone(), pane);
        Ok(pane_key)
    }

    fn decode(&self, value: StoredValue<'_>) -> Result<Pane<A::Accumulator>> {
        if value.version == A::STATE_VERSION {
            return decode(value.bytes);
        }
        let read = postcard::take_from_bytes(value.bytes);
        let ((end, revision, fired), rest) = read.map_err(|error| {
            Error::new(ErrorKind::Corrupt, "restore", "a stored window is damaged").because(error)
        })?;
        let accumulator = self.aggregate.upgrade(value.version, rest)?;
        Ok(Pane { end, revision, fired, accumulator })
    }
}

fn fire<A: Aggregate>(
    aggregate: &mut A,
    (key, start): &PaneKey<A::Key>,
    pane: &mut Pane<A::Accumulator>,
    out: &mut Emit<A::Out>,
) {
    let window = Window { start: *start, end: pane.end, revision: pane.revision };
    out.push(aggregate.finish(key, window, &pane.accumulator), Some(pane.end - 1));
    pane.revision += 1;
    pane.fired = true;
}
