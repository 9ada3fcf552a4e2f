//! Keeps the stored form of an operator's state on one worker: a list of segments, the newest last.
//!
//! ```text
//!   worker   freeze of epoch n ──> Frozen { delta, watermarks } ── queue: the worker never waits ──┐
//!                                                                                                  v
//!   list     [ base ][ segment ][ segment ]...[ segment ]  <──────────── 1. store, and add at the end
//!                     └── a run of neighbours ──┘ ── 3. read, merge bytes, store, beside it all ──┐
//!            [ base ][        merged           ]...[ segment ]  <── 4. put in place of the run ───┘
//!
//!   report n:  first ++ (the delta | the whole list again) ++ watermarks   ──> 2. book ──> coordinator
//! ```
//!
//! 1. What changed in an epoch is stored and added to the list. Small segments travel in the manifest, others are
//!    chunks that are written before the report that names them.
//! 2. The report of the epoch says how the snapshot's part becomes the list. `first` is what the restore left to be
//!    changed, and is empty from the second report on. Where the list only grew since the last report, the delta is
//!    enough; where it was `rearranged`, all of it is told again, beginning with a base, which replaces the part.
//!    The coordinator applies the reports of all epochs in order, also of those whose checkpoint fails, so each
//!    builds on the one before.
//! 3. When enough neighbours of one size have gathered they are merged, one run at a time, from their bytes alone: the
//!    table in memory and the worker are not involved. Meanwhile the list grows behind the run, and nothing else
//!    changes it: the run stays where it is.
//! 4. The result takes the place of the run, and the next report tells of it. A merge that fails changes nothing, and
//!    is tried again with the next segment. The chunks of the run are the log's to delete, when no entry lists them.
//!
//! So neither the list nor what lies in it dead grows for ever; a byte is rewritten about once for each size class.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture};
use tidelock::host::{Change, PartChange};
use tidelock::{Epoch, Result, Segment, Uid};
use tokio::sync::mpsc;

use super::floors::Floors;
use super::parts::{part_name, store_watermarks};
use super::restore::Restored;
use super::storage::{INLINE_BYTES_MAX, Kept, Storage};
use crate::book::{Book, Part};
use crate::counters::Counter;

/// So many segments of about one size are merged into one.
const FANOUT: usize = 8;

/// The base is not rewritten because of less than this.
const REWRITE_BYTES_MIN: u64 = 16 * 1024;

/// What an operator hands over when an epoch closes.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) epoch: Epoch,
    /// The keys that changed; nothing where none did.
    pub(crate) delta: Option<Bytes>,
    /// The watermarks of the worker's groups, where they moved.
    pub(crate) watermarks: Option<Floors>,
}

/// The segments that were merged, and what came out of them.
type Merged = (Range<usize>, Result<Option<Kept>>);

pub(crate) struct Keeper {
    uid: Uid,
    groups: Range<u16>,
    storage: Storage,
    stored: Counter,
    book: Arc<Book>,
    list: Vec<Kept>,
    /// What the first report must change.
    first: Vec<PartChange>,
    /// The list was changed otherwise than by adding to it since the last report.
    rearranged: bool,
    merging: Option<BoxFuture<'static, Merged>>,
}

impl Keeper {
    /// Goes on with what was restored.
    pub(crate) fn new(
        uid: Uid,
        storage: Storage,
        stored: Counter,
        book: Arc<Book>,
        restored: Restored,
    ) -> Self {
        let Restored { groups, kept: list, first, .. } = restored;
        Self { uid, groups, storage, stored, book, list, first, rearranged: false, merging: None }
    }

    /// Reports what is frozen, and merges in between, until the operator is gone.
    pub(crate) async fn run(mut self, mut frozen: mpsc::Receiver<Frozen>) -> Result<()> {
        loop {
            let merging = OptionFuture::from(self.merging.as_mut());
            tokio::select! {
                biased;
                next = frozen.recv() => match next {
                    Some(next) => self.report(next).await?,
                    None => return Ok(()),
                },
                Some((run, merged)) = merging => self.rearrange(run, merged),
            }
            self.merge_if_due();
        }
    }

    async fn report(&mut self, frozen: Frozen) -> Result<()> {
        let mut changes = std::mem::take(&mut self.first);
        let part = part_name(&self.groups);
        if let Some(delta) = frozen.delta {
            let kept = self.storage.store(delta).await;
            self.count(&kept);
            if !self.rearranged {
                let change = Change::Delta(kept.segment.clone());
                changes.push(PartChange { part: part.clone(), change });
            }
            self.list.push(kept);
        }
        if std::mem::take(&mut self.rearranged) {
            changes.extend(self.list.iter().enumerate().map(|(index, kept)| {
                let segment = kept.segment.clone();
                let change = if index == 0 { Change::Base(segment) } else { Change::Delta(segment) };
                PartChange { part: part.clone(), change }
            }));
            if self.list.is_empty() {
                changes.push(PartChange { part, change: Change::Remove });
            }
        }
        if let Some(floors) = frozen.watermarks {
            changes.push(store_watermarks(&self.groups, &floors)?);
        }
        self.book.contribute(frozen.epoch, &self.uid, Part::Operator(changes));
        Ok(())
    }

    /// Puts what was merged in the place of its parts. Since then the list only grew behind them.
    fn rearrange(&mut self, run: Range<usize>, merged: Result<Option<Kept>>) {
        self.merging = None;
        match merged {
            Ok(merged) => {
                if let Some(kept) = &merged {
                    self.count(kept);
                }
                self.list.splice(run, merged);
                self.rearranged = true;
            }
            Err(error) => tracing::warn!(uid = self.uid.as_str(), %error, "keyed state was not merged"),
        }
    }

    fn count(&self, kept: &Kept) {
        self.stored.add(usize::try_from(kept.segment.size()).unwrap_or(usize::MAX));
    }

    fn merge_if_due(&mut self) {
        if self.merging.is_some() {
            return;
        }
        let sizes: Vec<u64> = self.list.iter().map(|kept| kept.length).collect();
        let Some(run) = due(&sizes) else { return };
        // What was removed must stay removed while something older may have it.
        let keep_removed = run.start > 0;
        let segments: Vec<Segment> = self.list[run.clone()].iter().map(|kept| kept.segment.clone()).collect();
        let (storage, groups) = (self.storage.clone(), self.groups.clone());
        let merge = async move {
            Ok(match storage.merged(&segments, groups, keep_removed).await? {
                Some(bytes) => Some(storage.store(bytes).await),
                None => None,
            })
        };
        self.merging = Some(merge.map(move |merged| (run, merged)).boxed());
    }
}

/// Which neighbours to merge, if any, by their sizes.
fn due(sizes: &[u64]) -> Option<Range<usize>> {
    let (base, rest) = sizes.split_first()?;
    let rest_bytes: u64 = rest.iter().sum();
    if rest_bytes > (*base).max(REWRITE_BYTES_MIN) {
        return Some(0..sizes.len());
    }
    // The newest are the smallest. Where a size class has enough of them, they are merged, and what is
    // smaller with them; one that is merged already waits for others of its new size.
    let fanout = FANOUT as u64;
    let mut class = 0..=INLINE_BYTES_MAX;
    while class.start() <= &rest_bytes {
        let run = rest.iter().rev().take_while(|bytes| *bytes <= class.end()).count();
        let of_class = rest[rest.len() - run..].iter().filter(|bytes| class.contains(bytes)).count();
        if of_class >= FANOUT {
            return Some(sizes.len() - run..sizes.len());
        }
        class = class.end() + 1..=class.end() * fanout;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::task::Poll;

    use futures::TryStreamExt;
    use object_store::ObjectStore as _;
    use object_store::memory::InMemory;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use tidelock::host::News;
    use tidelock::log::Log;
    use tidelock::{Attempt, Generation, JobId, Position};

    use super::super::packed::unpack;
    use super::super::restore::restore;
    use super::super::segment::{Encoder, decode, entries, merge_all};
    use super::super::{Form, Table, Touch};
    use super::*;
    use crate::book::Start;
    use crate::key::group_of;
    use crate::outbox::Outbox;
    use crate::seat::Seat;
    use crate::slice::Slicing;
    use crate::stop::Stop;
    use crate::testing::Snapshot;

    /// What the segments of a snapshot say.
    async fn stored(log: &Log, snapshot: &Snapshot, uid: &Uid) -> BTreeMap<u32, Vec<u8>> {
        let mut segments = Vec::new();
        for segment in snapshot.operators.get(uid).into_iter().flat_map(|parts| parts.values()).flatten() {
            segments.push(unpack(log.read_segment(segment).await.unwrap()).unwrap());
        }
        let Some(whole) = merge_all(&segments).unwrap() else { return BTreeMap::new() };
        let values = entries(&whole).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (decode(entry.key).unwrap(), decode(entry.value.unwrap().bytes).unwrap())
        });
        values.collect()
    }

    /// Random changes and removals over many epochs: after each one the reports so far hold exactly what
    /// the table has, whatever was merged meanwhile.
    #[tokio::test]
    async fn every_snapshot_holds_exactly_the_table_whatever_is_merged() {
        for seed in 0..4 {
            println!("seed {seed}");
            let mut rng = StdRng::seed_from_u64(seed);
            let store = Arc::new(InMemory::new());
            let log = Log::on(Arc::clone(&store) as _, "log".into());
            let (uid, outbox) = (Uid::new("state").unwrap(), Outbox::new(Stop::new()));
            let book = Book::new(0, Arc::clone(&outbox));
            book.add_part();
            let attempt =
                Attempt { job: JobId::new("test").unwrap(), number: Position(1), generation: Generation(1) };
            book.begin(Start { attempt, epoch: Epoch(1) });
            let storage = Storage::new(log.clone(), Position(1));
            let restored = restore(&storage, &BTreeMap::new(), Seat { worker: 0, workers: 1 }).await.unwrap();
            let counted = Counter::default();
            let keeper = Keeper::new(uid.clone(), storage, counted.clone(), book, restored);
            let (frozen, to_keep) = mpsc::channel(64);
            let (news_end, mut news) = mpsc::channel(64);
            tokio::spawn(outbox.forward(news_end));
            tokio::spawn(keeper.run(to_keep));
            let mut table = Table::new(Form::of::<Vec<u8>>(1), group_of as fn(&u32) -> Result<u16>);
            let mut model: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
            let (mut snapshot, mut longest) = (Snapshot::default(), 0);
            for epoch in 1..300 {
                for _ in 0..rng.random_range(0..40) {
                    let key = rng.random_range(0..200);
                    if rng.random_range(0..4) == 0 {
                        model.remove(&key);
                        table.with_existing(&key, |_: &mut Vec<u8>| ((), Touch::Removed));
                    } else {
                        let value = vec![rng.random(); rng.random_range(0..300)];
                        model.insert(key, value.clone());
                        table.with(&key, |slot| {
                            *slot = value;
                            ((), Touch::Changed)
                        });
                    }
                }
                let slice = Slicing::steps(u32::MAX).begin();
                let Poll::Ready(delta) = table.freeze(&mut { slice }).unwrap() else {
                    panic!("one slice is enough")
                };
                frozen.send(Frozen { epoch: Epoch(epoch), delta, watermarks: None }).await.unwrap();
                let Some(News::Report(report)) = news.recv().await else { panic!("no report") };
                snapshot.apply(&[report]);
                assert_eq!(stored(&log, &snapshot, &uid).await, model, "epoch {epoch}");
                let parts = snapshot.operators.get(&uid).into_iter().flat_map(|parts| parts.values());
                longest = longest.max(parts.map(Vec::len).sum());
            }
            assert!(longest > FANOUT, "nothing was ever merged");
            assert!(longest < 60, "{longest} segments");
            let chunks: Vec<u64> = store.list(None).map_ok(|meta| meta.size).try_collect().await.unwrap();
            let (chunks, counted) = (chunks.iter().sum::<u64>(), counted.get());
            assert!(chunks > 0 && counted > chunks, "{chunks} bytes are in chunks, {counted} are counted");
        }
    }

    #[test]
    fn an_empty_segment_is_none() {
        assert!(Encoder::new().finish().is_none());
    }

    #[test]
    fn nothing_is_merged_while_the_list_is_short() {
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[10]), None);
        assert_eq!(due(&[1 << 20, 10, 10, 10]), None);
    }

    #[test]
    fn small_neighbours_are_merged_first() {
        let mut sizes = vec![50 << 20, 30_000, 30_000];
        sizes.extend([1_000; 8]);
        assert_eq!(due(&sizes), Some(3..11));
        assert_eq!(due(&[50 << 20, 9_000, 9_000, 9_000, 9_000, 9_000, 9_000, 9_000, 9_000]), Some(1..9));
    }

    #[test]
    fn the_base_is_rewritten_when_the_rest_outgrows_it() {
        assert_eq!(due(&[100_000, 60_000, 50_000]), Some(0..3));
        assert_eq!(due(&[10, 500, 500]), None);
    }

    /// A long run in figures: a million keys of 50 bytes, a thousand of them changed by each checkpoint.
    #[test]
    fn what_is_written_stays_in_proportion_to_what_changed() {
        let (base, delta) = (50_000_000_u64, 50_000_u64);
        let mut sizes = vec![base];
        let (mut written, mut longest) = (0, 0);
        let checkpoints = 5_000;
        for _ in 0..checkpoints {
            sizes.push(delta);
            written += delta;
            while let Some(run) = due(&sizes) {
                let merged = if run.start == 0 { base } else { sizes[run.clone()].iter().sum() };
                written += merged;
                sizes.splice(run, [merged]);
            }
            longest = longest.max(sizes.len());
        }
        let amplification = written as f64 / (delta * checkpoints) as f64;
        assert!(amplification < 6.0, "{amplification}");
        assert!(longest < 40, "{longest}");
        assert!(sizes.iter().sum::<u64>() <= 2 * base);
    }
}
