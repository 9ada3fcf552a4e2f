//! Snapshots of choice: what counts as settled, and that a savepoint shares nothing.

use std::fs;

use object_store::ObjectStoreExt;

use super::super::savepoint;
use super::*;
use crate::{ErrorKind, Retry};

fn elsewhere(name: &str) -> Log {
    Log::on(Arc::new(InMemory::new()), Path::from(name))
}

async fn objects(log: &Log) -> usize {
    use futures::TryStreamExt;
    log.store.list(None).try_collect::<Vec<_>>().await.unwrap().len()
}

fn checkpoint(position: u64, epoch: u64, pending: Vec<PendingState>) -> Entry {
    Entry { state: Some(state(vec![], pending)), ..entry(position, EntryKind::Checkpoint, 1, epoch) }
}

#[test]
fn an_entry_is_settled_by_a_newer_one_that_no_longer_lists_what_it_listed() {
    let older = checkpoint(5, 2, vec![pending(1, 1, 0), pending(2, 1, 0)]);
    let mut given_up = checkpoint(8, 2, vec![]);
    given_up.abandoned = BTreeMap::from([(uid("out"), vec![pending(2, 1, 0)])]);
    let mut others = given_up.clone();
    others.abandoned = BTreeMap::from([(uid("out"), vec![pending(3, 1, 0)])]);
    let mut changed = pending(2, 1, 0);
    changed.committable = Segment::Bytes(vec![1].into());
    for (newer, expected, why) in [
        (checkpoint(6, 3, vec![]), SettledBy::Yes, "nothing is pending"),
        (checkpoint(6, 3, vec![pending(3, 1, 0)]), SettledBy::Yes, "only newer ones are pending"),
        (checkpoint(6, 3, vec![pending(2, 1, 0)]), SettledBy::NotYet, "one of them is still listed"),
        (checkpoint(6, 3, vec![changed]), SettledBy::NotYet, "its origin names it, not its stored form"),
        (checkpoint(6, 3, vec![pending(2, 7, 0)]), SettledBy::Yes, "another attempt's"),
        (entry(6, EntryKind::Claim, 6, 2), SettledBy::NotYet, "no state says nothing"),
        (given_up, SettledBy::Never, "it was given up, not committed"),
        (others, SettledBy::Yes, "another one was given up"),
    ] {
        assert_eq!(settled_by(&older, &newer), expected, "{why}");
    }
}

#[tokio::test]
async fn a_retained_entry_is_restored_once_it_is_settled() {
    let log = memory();
    small_log(&log).await;
    // Entry 3 lists a committable that entry 4 no longer lists.
    let snapshot = Snapshot::load_from(log.clone(), Some(Position(3))).await.unwrap();
    assert_eq!(snapshot.id().to_string(), "orders#3");
    assert!(snapshot.state().is_settled());
    assert_eq!(snapshot.state().uids().map(Uid::as_str).collect::<Vec<_>>(), ["in", "count", "out"]);

    append(&log, &checkpoint(5, 2, vec![pending(2, 1, 0)])).await;
    append(&log, &checkpoint(6, 3, vec![pending(2, 1, 0), pending(3, 1, 0)])).await;
    let error = Snapshot::load_from(log.clone(), Some(Position(5))).await.expect_err("not settled");
    // Perhaps nobody runs who would settle it: a person decides.
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt));

    let mut given_up = checkpoint(7, 3, vec![]);
    given_up.abandoned = BTreeMap::from([(uid("out"), vec![pending(3, 1, 0)])]);
    append(&log, &given_up).await;
    Snapshot::load_from(log.clone(), Some(Position(5))).await.unwrap();
    let error = Snapshot::load_from(log.clone(), Some(Position(6))).await.expect_err("abandoned");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt));

    let error = Snapshot::load_from(log.clone(), Some(Position(1))).await.expect_err("no positions");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = Snapshot::load_from(log.clone(), Some(Position(99))).await.expect_err("no entry");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = Snapshot::load_from(log, None).await.expect_err("a log is no savepoint");
    assert!(error.to_string().contains("LOG#POSITION"), "{error}");
}

#[tokio::test]
async fn a_savepoint_shares_nothing_and_can_be_moved() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let log = Log::open(&at("log")).await.unwrap();
    small_log(&log).await;
    let newest = log.newest().await.unwrap().unwrap();
    let id = log.export(&newest, newest.state.as_ref().unwrap(), &at("savepoint")).await.unwrap();
    assert_eq!(id, newest.snapshot_id());
    fs::remove_dir_all(at("log")).unwrap();
    fs::rename(at("savepoint"), at("moved")).unwrap();

    let snapshot = Snapshot::load(&at("moved")).await.unwrap();
    assert_eq!((snapshot.id(), snapshot.entry().created_at), (id, newest.created_at));
    let into = elsewhere("fork");
    let imported = snapshot.import(&into, Position(1)).await.unwrap();
    fs::remove_dir_all(at("moved")).unwrap();
    let mut sizes = Vec::new();
    for segment in imported.segments() {
        sizes.push(into.read_segment(segment).await.unwrap().len());
    }
    assert!(sizes.contains(&100), "the chunk was copied: {sizes:?}");
}

#[tokio::test]
async fn a_savepoint_needs_a_folder_of_its_own() {
    let log = memory();
    small_log(&log).await;
    let newest = log.newest().await.unwrap().unwrap();
    let state = newest.state.clone().unwrap();
    let to = elsewhere("savepoint");
    log.export_to(&newest, &state, &to).await.unwrap();
    let before = objects(&to).await;
    let error = log.export_to(&newest, &state, &to).await.expect_err("not empty");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(objects(&to).await, before);
    Snapshot::load_from(to, None).await.unwrap();

    // Somebody else's file is reason enough: a folder with two owners is deleted by one of them.
    let shared = elsewhere("shared");
    shared.store.put(&Path::from("shared/notes.txt"), "mine".into()).await.unwrap();
    let error = log.export_to(&newest, &state, &shared).await.expect_err("not empty");
    assert_eq!((error.kind(), objects(&shared).await), (ErrorKind::Config, 1));

    let unsettled = log.read(Position(3)).await.unwrap().unwrap();
    let listed = unsettled.state.clone().unwrap();
    log.export_to(&unsettled, &listed, &elsewhere("other")).await.expect_err("it lists a committable");
}

#[tokio::test]
async fn a_savepoint_of_damaged_state_is_not_made() {
    let log = memory();
    small_log(&log).await;
    let newest = log.newest().await.unwrap().unwrap();
    let state = newest.state.clone().unwrap();
    let chunk = state.segments().find_map(|segment| match segment {
        Segment::Chunk(chunk) => Some(chunk.clone()),
        _ => None,
    });
    let object = log.chunk_object(&chunk.unwrap().name).unwrap();
    log.store.put(&object, vec![8; 100].into()).await.unwrap();
    let to = elsewhere("savepoint");
    let error = log.export_to(&newest, &state, &to).await.expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(objects(&to).await, 0);
    let error = Snapshot::load_from(to, None).await.expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_snapshot_whose_chunks_were_pruned_is_refused_before_a_claim() {
    let log = memory();
    small_log(&log).await;
    let state = log.newest().await.unwrap().unwrap().state.unwrap();
    let name = savepoint::chunk_names(&state).into_iter().next().unwrap();
    log.prune(&PruneWork { entries: vec![], chunks: vec![name.clone()] }).await.unwrap();
    let log = log.clone().with_places(move |_| Ok(log.clone()));
    let error = log.find_snapshot("log#4").await.unwrap().load().await.expect_err("a chunk is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&name), "{error}");
    log.find_snapshot("log#2").await.unwrap().load().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_that_is_pruned_after_it_was_looked_at_is_named() {
    let log = memory();
    small_log(&log).await;
    let snapshot = Snapshot::load_from(log.clone(), Some(Position(4))).await.unwrap();
    snapshot.check_whole().await.unwrap();
    let chunks = savepoint::chunk_names(snapshot.state()).into_iter().collect();
    log.prune(&PruneWork { entries: vec![], chunks }).await.unwrap();
    let error = snapshot.import(&log, Position(5)).await.expect_err("pruned");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt));
    for part in ["was pruned", "snapshot=orders#4", "Nothing was rolled back"] {
        assert!(error.to_string().contains(part), "{part} is missing in: {error}");
    }
}

#[tokio::test]
async fn every_chunk_is_copied_once() {
    let log = memory();
    let chunk = log.write_chunk(Position(1), vec![7; 100].into()).await.unwrap();
    let mut twice = entry(1, EntryKind::Checkpoint, 1, 1);
    twice.state = Some(state(vec![chunk.clone(), chunk], vec![]));
    append(&log, &twice).await;
    let to = elsewhere("savepoint");
    log.export_to(&twice, twice.state.as_ref().unwrap(), &to).await.unwrap();
    assert_eq!(objects(&to).await, 2, "a manifest and a chunk");
}
