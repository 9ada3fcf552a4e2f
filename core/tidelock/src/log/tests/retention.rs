//! What is deleted, and what never is.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use proptest::prelude::*;

use super::*;

fn head(position: u64, claim: bool, epoch: Option<u64>) -> EntryHead {
    EntryHead {
        position: Position(position),
        claim,
        abandons: false,
        snapshot: epoch.map(Epoch),
        chunks: Arc::default(),
    }
}

/// One letter for each position from 1 on: `c`laim, `s`tate of the next epoch, `f` more of the same
/// epoch, `n`o state, `a`bandoning, `.` nothing there.
fn heads(log: &str) -> Vec<EntryHead> {
    let mut epoch = 0;
    let mut heads = Vec::new();
    for (position, letter) in (1..).zip(log.chars()) {
        epoch += u64::from(letter == 's');
        match letter {
            '.' => {}
            'c' => heads.push(head(position, true, (epoch > 0).then_some(epoch))),
            's' | 'f' => heads.push(head(position, false, Some(epoch))),
            'n' => heads.push(head(position, false, None)),
            'a' => heads.push(EntryHead { abandons: true, ..head(position, false, Some(epoch)) }),
            other => panic!("{other}"),
        }
    }
    heads
}

#[test]
fn the_plan_keeps_snapshots_and_fences() {
    for (log, retained, expected, why) in [
        ("", 1, vec![], "nothing"),
        ("c", 1, vec![], "the newest is never deleted"),
        ("n", 0, vec![], "the newest is never deleted, also with nothing to retain"),
        ("csss", 1, vec![2, 3], "one snapshot"),
        ("csss", 2, vec![2], "two snapshots"),
        ("csss", 9, vec![], "more retained than there are"),
        ("csfsf", 1, vec![2, 3], "a confirmation does not count"),
        ("csfsf", 2, vec![], "a confirmation does not push its checkpoint out"),
        ("csssc", 1, vec![2, 3], "the entry below the newest claim"),
        ("cssscsss", 1, vec![2, 3, 6, 7], "an old claim and the entry below it stay"),
        ("cccccs", 1, vec![], "claims on claims"),
        ("cscscs", 1, vec![], "each entry is a claim or below one"),
        ("csscasss", 1, vec![2, 6, 7], "what names abandoned data stays"),
        ("cnnsns", 1, vec![2, 3, 4, 5], "entries without state are no snapshots"),
        ("c..s.cfs", 1, vec![4, 7], "what stood below the claim was deleted by hand"),
        ("csssn", 0, vec![2, 3, 4], "nothing retained but the newest"),
    ] {
        let plan: Vec<u64> = prune_plan(&heads(log), retained).iter().map(|position| position.0).collect();
        assert_eq!(plan, expected, "{log} retained {retained}: {why}");
    }
}

proptest! {
    #[test]
    fn no_plan_has_a_claim_or_the_entry_below_or_the_newest(log in "[csfna.]{0,40}", retained in 0_u32..5) {
        let heads = heads(&log);
        let plan = prune_plan(&heads, retained);
        prop_assert!(plan.is_sorted());
        for (position, letter) in (1..).map(Position).zip(log.chars()) {
            if letter == 'c' || letter == 'a' {
                prop_assert!(!plan.contains(&position));
            }
            if letter == 'c' {
                prop_assert!(!plan.contains(&Position(position.0 - 1)));
            }
        }
        if let Some(newest) = heads.last() {
            prop_assert!(!plan.contains(&newest.position));
        }
        // Whatever snapshot is deleted has `retained` newer ones above it that are kept.
        let kept: Vec<_> = heads.iter().filter(|head| !plan.contains(&head.position)).collect();
        for head in heads.iter().filter(|head| head.snapshot.is_some() && plan.contains(&head.position)) {
            let newer: BTreeSet<_> =
                kept.iter().filter(|kept| kept.position > head.position).filter_map(|kept| kept.snapshot).collect();
            prop_assert!(newer.len() >= retained as usize);
        }
    }
}

/// A job that appends, prunes, crashes and starts again, on a store in memory.
struct Run {
    log: Log,
    retained: u32,
    attempt: Position,
    epoch: u64,
    newest: Option<Entry>,
    books: Option<Retention>,
}

impl Run {
    fn new(retained: u32) -> Self {
        Self { log: memory(), retained, attempt: Position(0), epoch: 0, newest: None, books: None }
    }

    async fn append(&mut self, kind: EntryKind, state: Option<State>) {
        let position = self.newest.as_ref().map_or(1, |newest| newest.position.0 + 1);
        if kind == EntryKind::Claim {
            self.attempt = Position(position);
        }
        let mut entry = entry(position, kind, self.attempt.0, self.epoch);
        entry.state = state;
        append(&self.log, &entry).await;
        if let Some(books) = &mut self.books {
            books.note(&entry);
        }
        self.newest = Some(entry);
    }

    /// Claims and starts: the state of the entry below.
    async fn start(&mut self) {
        self.books = None;
        let below = self.newest.as_ref().and_then(|newest| newest.state.clone());
        self.append(EntryKind::Claim, below.clone()).await;
        let mut settled = below.unwrap_or_else(|| state(vec![], vec![]));
        // I6: what is pending is committed first, from chunks that are there.
        for chunk in settled.sinks.values().flatten().flat_map(|pending| &pending.chunks) {
            self.log.read_chunk(chunk).await.unwrap();
        }
        settled.sinks.values_mut().for_each(Vec::clear);
        self.append(EntryKind::Start, Some(settled)).await;
        self.books = Some(Retention::load(&self.log, self.attempt, self.retained).await.unwrap());
    }

    /// A checkpoint that keeps some chunks of the last one and writes another.
    async fn checkpoint(&mut self, fresh: bool) {
        self.epoch += 1;
        let below = self.newest.as_ref().unwrap().state.clone();
        let mut chunks = segments_of(self.newest.as_ref().unwrap());
        if fresh {
            chunks.clear();
        }
        let attempt = self.attempt;
        chunks.push(self.log.write_chunk(attempt, vec![1; 10].into()).await.unwrap());
        let pending = below.map(|mut state| state.sinks.remove(&uid("out")).unwrap_or_default());
        self.append(EntryKind::Checkpoint, Some(state(chunks, pending.unwrap_or_default()))).await;
    }

    /// A checkpoint whose committable needs a chunk of its own.
    async fn prepare(&mut self) {
        self.epoch += 1;
        let chunk = self.log.write_chunk(self.attempt, vec![3; 10].into()).await.unwrap();
        let prepared = PendingState { chunks: vec![chunk], ..pending(self.epoch, self.attempt.0, 0) };
        let mut listed = self.newest.as_ref().unwrap().state.clone().unwrap();
        listed.sinks.get_mut(&uid("out")).unwrap().push(prepared);
        self.append(EntryKind::Checkpoint, Some(listed)).await;
    }

    /// What was listed is committed.
    async fn confirm(&mut self) {
        let mut state = self.newest.as_ref().unwrap().state.clone().unwrap();
        state.sinks.values_mut().for_each(Vec::clear);
        self.append(EntryKind::Confirmation, Some(state)).await;
    }

    /// A chunk that no entry ever names.
    async fn orphan(&self) {
        self.log.write_chunk(self.attempt, vec![2; 10].into()).await.unwrap();
    }

    async fn prune(&mut self) {
        let books = self.books.as_mut().unwrap();
        while let Some(work) = books.due(&BTreeSet::new()) {
            let outcome = self.log.prune(&work).await;
            books.done(&work, &outcome);
        }
    }

    async fn entries(&self) -> BTreeMap<Position, Entry> {
        let mut entries = BTreeMap::new();
        for position in self.log.positions().await.unwrap() {
            entries.insert(position, self.log.read(position).await.unwrap().unwrap());
        }
        entries
    }

    async fn stored_chunks(&self) -> BTreeSet<String> {
        let folder = self.log.root.clone().join(CHUNKS);
        let listed: Vec<_> = self.log.store.list(Some(&folder)).try_collect().await.unwrap();
        listed.iter().map(|meta| format!("{CHUNKS}/{}", meta.location.filename().unwrap())).collect()
    }

    /// After a prune: exactly what the rules say is there, and all that is retained is whole.
    async fn check(&self, orphans_of_this_attempt: usize) {
        let entries = self.entries().await;
        let heads: Vec<EntryHead> = entries.values().map(EntryHead::from).collect();
        assert_eq!(prune_plan(&heads, self.retained), [], "nothing more to delete");
        let mut referenced = BTreeSet::new();
        for position in retained_positions(&heads, self.retained) {
            for chunk in chunks_of(&entries[&position]) {
                self.log.read_chunk(&chunk).await.unwrap();
                referenced.insert(chunk.name);
            }
        }
        let stored = self.stored_chunks().await;
        let unreferenced: Vec<_> = stored.difference(&referenced).collect();
        assert_eq!(unreferenced.len(), orphans_of_this_attempt, "{unreferenced:?}");
    }
}

/// All chunks that an entry needs.
fn chunks_of(entry: &Entry) -> Vec<ChunkRef> {
    entry.state.iter().flat_map(State::chunks).cloned().collect()
}

fn segments_of(entry: &Entry) -> Vec<ChunkRef> {
    let segments = entry.state.iter().flat_map(State::segments);
    segments
        .filter_map(|segment| match segment {
            Segment::Chunk(chunk) => Some(chunk.clone()),
            _ => None,
        })
        .collect()
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Crash,
    Checkpoint { fresh: bool },
    Prepare,
    Confirm,
    Orphan,
    Prune,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Crash),
        6 => any::<bool>().prop_map(|fresh| Step::Checkpoint { fresh }),
        4 => Just(Step::Prepare),
        2 => Just(Step::Confirm),
        1 => Just(Step::Orphan),
        3 => Just(Step::Prune),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_job_that_prunes_and_crashes_keeps_what_it_must_and_nothing_else(
        steps in steps(),
        retained in 1_u32..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new(retained);
            let (mut orphans, mut fences_seen) = (0, BTreeMap::new());
            run.start().await;
            for step in steps {
                match step {
                    Step::Crash => {
                        run.start().await;
                        orphans = 0;
                    }
                    Step::Checkpoint { fresh } => run.checkpoint(fresh).await,
                    Step::Prepare => run.prepare().await,
                    Step::Confirm => run.confirm().await,
                    Step::Orphan => {
                        run.orphan().await;
                        orphans += 1;
                    }
                    Step::Prune => {
                        // I5: a fence that was there once is there for ever, unchanged.
                        let entries = run.entries().await;
                        let heads: Vec<EntryHead> = entries.values().map(EntryHead::from).collect();
                        fences_seen.extend(fences(&heads).into_iter().map(|at| (at, entries[&at].clone())));
                        run.prune().await;
                        run.check(orphans).await;
                        let entries = run.entries().await;
                        for (position, fence) in &fences_seen {
                            assert_eq!(entries.get(position), Some(fence));
                        }
                    }
                }
            }
            run.start().await;
            run.prune().await;
            run.check(0).await;
        });
    }
}

#[tokio::test]
async fn a_pinned_entry_keeps_its_chunks_until_it_is_released() {
    let mut run = Run::new(1);
    run.start().await;
    run.checkpoint(true).await;
    let pinned = run.newest.clone().unwrap();
    run.checkpoint(true).await;
    let pins = BTreeSet::from([pinned.position]);
    let books = run.books.as_mut().unwrap();
    let work = books.due(&pins).expect("the start is let go");
    assert_eq!(work, PruneWork { entries: vec![Position(2)], chunks: vec![] });
    let outcome = run.log.prune(&work).await;
    books.done(&work, &outcome);
    assert_eq!(books.due(&pins), None);
    assert!(run.log.read(pinned.position).await.unwrap().is_some());
    run.log.read_chunk(&chunks_of(&pinned)[0]).await.unwrap();
    run.prune().await;
    assert_eq!(run.log.read(pinned.position).await.unwrap(), None);
    run.check(0).await;
}

#[tokio::test]
async fn a_prune_that_failed_is_tried_again() {
    let mut run = Run::new(1);
    run.start().await;
    run.checkpoint(true).await;
    run.checkpoint(true).await;
    let books = run.books.as_mut().unwrap();
    let work = books.due(&BTreeSet::new()).unwrap();
    assert_eq!(books.due(&BTreeSet::new()), None, "one at a time");
    books.done(&work, &Err(crate::Error::new(crate::ErrorKind::Unavailable, "delete", "no answer")));
    assert_eq!(books.due(&BTreeSet::new()), Some(work.clone()));
    // It was done although the answer was lost: deleting what is gone is fine.
    run.log.prune(&work).await.unwrap();
    run.log.prune(&work).await.unwrap();
    run.books.as_mut().unwrap().done(&work, &Ok(()));
    run.check(0).await;
}

#[tokio::test]
async fn cancelling_with_delete_leaves_the_closed_entry_and_the_fences() {
    let mut run = Run::new(3);
    for _ in 0..2 {
        run.start().await;
        run.checkpoint(true).await;
        run.checkpoint(false).await;
    }
    run.append(EntryKind::Closed(Closed::Cancelled), None).await;
    let closed = run.newest.clone().unwrap();
    let fence = run.entries().await[&Position(4)].clone();
    // A newer attempt starts before the deletion goes on: nothing of it is touched.
    run.start().await;
    run.checkpoint(true).await;
    run.log.delete_below_closed(&closed).await.unwrap();
    let entries = run.entries().await;
    let left: Vec<u64> = entries.keys().map(|position| position.0).collect();
    assert_eq!(left, [1, 4, 5, closed.position.0, 10, 11, 12]);
    assert_eq!(entries[&Position(4)], fence);
    run.log.read_chunk(&chunks_of(&entries[&Position(12)])[0]).await.unwrap();
    assert_eq!(run.stored_chunks().await.len(), 1);
}

#[tokio::test]
async fn leftovers_of_many_attempts_that_never_pruned_are_found() {
    let mut run = Run::new(2);
    for _ in 0..10 {
        run.start().await;
        for _ in 0..20 {
            run.checkpoint(true).await;
        }
    }
    assert!(run.entries().await.len() > 200);
    run.start().await;
    run.prune().await;
    run.check(0).await;
}

#[tokio::test]
async fn a_fenced_attempt_has_no_books() {
    let log = memory();
    append(&log, &entry(1, EntryKind::Claim, 1, 0)).await;
    append(&log, &entry(2, EntryKind::Start, 1, 0)).await;
    assert!(Retention::load(&log, Position(1), 1).await.is_ok(), "its owner has");
    append(&log, &entry(3, EntryKind::Claim, 3, 0)).await;
    let error = Retention::load(&log, Position(1), 1).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Fenced);
}
